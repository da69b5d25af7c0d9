# The two commands that matter: make demo, make test. Each does all its own set-up.

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
LOWEST := .venv-lowest
CLIENTS := .venv-clients
CLIENT_TESTS := $(wildcard tests/live/test_gdb_*.py tests/live/test_server*.py) \
    $(addprefix tests/live/test_,three_clients.py sources.py protocol_traps.py guest_machine.py)

.PHONY: setup setup-test demo test test-on test-lowest test-clients soak check guest guest-iso \
    probe golden docs clean

setup: $(STAMP)
	@scripts/system-packages demo

setup-test: $(STAMP)
	@scripts/system-packages test

$(STAMP): pyproject.toml
	@scripts/system-packages demo
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

guest: probe
	@$(MAKE) --no-print-directory -C guest
	@$(MAKE) --no-print-directory -s -C guest/hostprobe

probe:
	@$(MAKE) --no-print-directory -s -C guest/probe

guest-iso:
	@$(MAKE) --no-print-directory -C guest iso

demo: setup guest
	@scripts/demo

test: setup-test guest
	$(BIN)/python -m pytest -n 2 --dist loadgroup $(ARGS)

# make test-on SUITE=trixie
test-on:
	@scripts/test-on "$$SUITE" ARGS="$$ARGS"

# What boots no guest, with the lowest version of each library that pyproject.toml allows.
test-lowest: $(LOWEST)/.installed
	$(LOWEST)/bin/python -m pytest -n 2 tests/unit tests/wire tests/golden tests/contract $(ARGS)

$(LOWEST)/.installed: pyproject.toml scripts/lowest.py
	@scripts/system-packages test
	$(PYTHON) -m venv $(LOWEST)
	$(PYTHON) -m scripts.lowest > $(LOWEST)/constraints.txt
	$(LOWEST)/bin/pip install --quiet --disable-pip-version-check --editable '.[dev]' \
	    --constraint $(LOWEST)/constraints.txt
	@touch $@

# With the gdb and the lldb that pyproject.toml names, which are newer than the system's.
test-clients: $(CLIENTS)/.installed setup-test guest
	PATH="$(CURDIR)/$(CLIENTS)/bin:$$PATH" $(CLIENTS)/bin/python -m pytest -n 2 --dist loadgroup \
	    $(CLIENT_TESTS) $(ARGS)

$(CLIENTS)/.installed: pyproject.toml
	@scripts/system-packages test
	$(PYTHON) -m venv $(CLIENTS)
	$(CLIENTS)/bin/pip install --quiet --disable-pip-version-check --editable '.[dev,clients]'
	@for client in gdb lldb; do $(CLIENTS)/bin/$$client --version | head -n 1; done
	@touch $@

soak: setup guest
	$(BIN)/python -m tests.soak 60

check: setup guest
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

golden: setup
	KLOSDBG_GOLDEN=write $(BIN)/python -m pytest -q tests/golden

docs: setup
	$(BIN)/python -m scripts.reference > docs/commands.md

clean:
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
	$(MAKE) -C guest clean
	$(MAKE) -C guest/probe clean
	$(MAKE) -C guest/hostprobe clean
