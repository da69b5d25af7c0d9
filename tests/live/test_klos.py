"""klosdbg on the real KLOS: self-description, lists, mailbox, self-tests, figure 4."""

import json
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from klosdbg.errors import CommandError
from klosdbg.klos.abi import KlosInfo
from klosdbg.klos.layout import members
from tests.build import make
from tests.live.driver import driving
from tests.live.tiny import needs_qemu

GUEST = Path(__file__).parents[2] / "guest"
IMAGE = GUEST / "build" / "klos.elf"
READY = "until klos_ready"

pytestmark = [pytest.mark.qemu, needs_qemu]

Document = dict[str, Any]


@dataclass
class Ran:
    """How a run ended: its documents by schema name, exit code, and what it said."""

    documents: list[Document]
    code: int
    said: str

    def named(self, name: str) -> Document:
        return next(d for d in self.documents if d["schema"] == f"klosdbg/{name}/1")


def klosdbg(*commands: str, image: Path = IMAGE, options: tuple[str, ...] = ()) -> Ran:
    """Run commands on a fresh guest."""
    before, _, after = " ".join(options).partition("-- ")
    line = [sys.executable, "-m", "klosdbg", "run", "--headless", "--json", "--image", str(image)]
    line += before.split()
    for command in commands:
        line += ["-c", command]
    line += ["--", *after.split()] if after else []
    ran = subprocess.run(line, capture_output=True, text=True, timeout=600)
    return Ran([json.loads(row) for row in ran.stdout.splitlines()], ran.returncode, ran.stderr)


@pytest.fixture(scope="module", autouse=True)
def built() -> None:
    make(GUEST)


@pytest.fixture(scope="module")
def booted() -> Ran:
    """Boot once and show everything that reads."""
    shown = ("gdt", "ldt", "klos", "ps", "threads", "services", "handlers --all", "frames")
    return klosdbg(READY, *shown)


@pytest.fixture(scope="module")
def stripped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stripped") / "klos.elf"
    subprocess.run(["objcopy", "--strip-all", IMAGE, path], check=True)
    return path


@cache
def symbol(name: str) -> int:
    listing = subprocess.check_output(["nm", IMAGE], text=True)
    return next(int(r.split()[0], 16) for r in listing.splitlines() if r.split()[-1] == name)


def slots(run: Ran) -> list[Document]:
    """Both tables' entries, each run of equal entries once for every slot."""
    entries = [*run.named("gdt")["entries"], *run.named("ldt")["entries"]]
    return [entry for entry in entries for _ in range(entry["count"])]


def test_one_code_segment_and_one_dsos(booted: Ran) -> None:
    """What the tables hold is what the paper allows them to hold."""
    assert booted.code == 0, booted.said
    klos = booted.named("klos")
    present = [slot for slot in slots(booted) if slot["present"]]
    code = [s for s in present if s["kind"] == "code" and s["dpl"] == 3]
    assert [(s["readable"], s["selector"] | 3) for s in code] == [(False, klos["csos"])]
    data = {s["selector"] | 3: s for s in present if s["kind"] == "data" and s["dpl"] == 3}
    assert data.pop(klos["dsapp"])["last_byte"] == klos["app_top"] - 1
    assert [(selector, s["base"], s["last_byte"]) for selector, s in data.items()] == [
        (klos["dsos"], 0, 0xFFFFFFFF)
    ]
    assert data[klos["dsos"]]["name"] == "dsos"


def test_every_check_holds(booted: Ran) -> None:
    """The guest says the truth about itself."""
    checks = booted.named("klos")["checks"]
    assert [check for check in checks if check["result"] != "ok"] == []
    assert len(checks) > 30


def test_a_stripped_image_is_found(booted: Ran, stripped: Path) -> None:
    """Without symbols, with its own file in the way, everything is shown all the same."""
    loader = f"-- -device loader,file={stripped},addr=0x10000,force-raw=on"
    at_ready = f"until {symbol('klos_ready'):#x}"
    lists = ("ps", "threads", "services", "handlers", "frames")
    found = klosdbg(at_ready, "gdt", "ldt", "klos", *lists, image=stripped, options=(loader,))
    assert found.code == 0, found.said
    klos = found.named("klos")
    assert (klos["found"], klos["address"]) == ("scan", symbol("klos_info"))
    assert {check["result"] for check in klos["checks"]} == {"ok"}
    names = [p["name"] for p in booted.named("ps")["processes"]]
    assert [p["name"] for p in found.named("ps")["processes"]] == names
    assert roles(found) == roles(booted)


def roles(run: Ran) -> set[str]:
    return {slot["name"] for slot in slots(run) if slot.get("name")}


def test_roles_are_known_without_symbols(stripped: Path) -> None:
    """Before anything else has found KLOS."""
    at_ready = f"until {symbol('klos_ready'):#x}"
    found = klosdbg(at_ready, "sel dsos", "klos", image=stripped)
    assert found.named("sel")["selector"] == found.named("klos")["dsos"]
    assert found.code == 0, found.said


def test_before_it_has_booted() -> None:
    """At the entry point the fields are there, and the lists say what to do."""
    early = klosdbg("klos", "ps")
    assert early.named("klos")["checks"] == []
    assert early.named("klos")["found"] == "scan"
    assert early.code == 1
    assert "until klos_ready" in early.said


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [("gdt_limit", 0x1234, "gdt_limit"), ("return_gate", 0xC0100000, "return_gate")],
)
def test_a_lie_is_found(field: str, value: int, named: str) -> None:
    """A field that the processor contradicts is named, and the exit code says so."""
    offset = next(m.offset for m in members(KlosInfo) if m.name == field)
    lied = klosdbg(READY, f"set klos_info+{offset} {value}", "klos")
    assert lied.code == 1
    wrong = [check for check in lied.named("klos")["checks"] if check["result"] == "wrong"]
    assert named in {check["name"] for check in wrong}
    assert value in {check["klos"] for check in wrong}


def test_another_system_is_no_klos() -> None:
    """On a machine without KLOS the command says what it looked for."""
    ran = subprocess.run(
        [sys.executable, "-m", "klosdbg", "run", "--headless", "--image", "none", "-c", "klos"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 1
    assert "no KLOS found" in ran.stderr
    assert len(ran.stderr.splitlines()) == 1


def test_processes_and_threads(booted: Ran) -> None:
    """Processes of their own address spaces, and each thread belongs to one."""
    processes = {p["pid"]: p for p in booted.named("ps")["processes"]}
    assert len(processes) >= 3
    assert len({p["cr3"] for p in processes.values()}) == len(processes)
    threads = booted.named("threads")["threads"]
    assert {t["pid"] for t in threads} == set(processes)
    assert [t["symbol"] for t in threads if t["current"]] == ["klos_ready"]


def test_services_and_handlers(booted: Ran) -> None:
    """Fifty services at least, and a stub for each vector."""
    services = booted.named("services")
    assert len(services["services"]) >= 50
    assert services["service_table"] == [s["function"] for s in services["services"]]
    handlers = booted.named("handlers")["handlers"]
    assert [h["vector"] for h in handlers] == list(range(256))
    assert handlers[8]["gate"] == "task-gate"
    assert {h["vector"] for h in handlers if h["dpl"] == 3} >= {3, 4, 48}


def test_frames_add_up(booted: Ran) -> None:
    """Every page frame has an owner, and the processes own what they say."""
    frames = booted.named("frames")
    assert sum(owner["frames"] for owner in frames["owners"]) == frames["total"]
    owned = {owner["pid"]: owner["frames"] for owner in frames["owners"]}
    for process in booted.named("ps")["processes"]:
        if "system" not in process["name"]:
            assert owned[process["pid"]] == process["frames"]


def test_the_mailbox_answers() -> None:
    """Requests are served by the running guest, and say what was written."""
    ran = klosdbg(READY, "mailbox ping 42", "mailbox relocate 2", "klos", "ldt", "gdt")
    assert ran.code == 0, ran.said
    ping, relocate = (d for d in ran.documents if d["schema"] == "klosdbg/mailbox/1")
    assert (ping["status"], ping["result"]) == ("done", 42)
    assert [w["field"] for w in ping["written"]] == [
        "mailbox.command",
        "mailbox.argument",
        "mailbox.status",
    ]
    klos = ran.named("klos")
    assert relocate["result"] == klos["dsos"]
    assert klos["relocations"] >= 2
    named = [s for s in slots(ran) if s["name"] == "dsos"]
    assert [s["selector"] | 3 for s in named] == [klos["dsos"]]


def test_touching_absent_selectors_moves_dsos() -> None:
    """Three absent selectors, one relocation."""
    ran = klosdbg(READY, "mailbox touch 3", "klos")
    assert ran.code == 0, ran.said
    assert ran.named("mailbox")["result"] == 1
    assert ran.named("klos")["np_faults"] == 3


def test_an_application_runs_to_its_end() -> None:
    """Starting and waiting are asked by name; its arguments come along."""
    ran = klosdbg(READY, "mailbox run touch 3", "klos", "ps --all")
    assert ran.code == 0, ran.said
    assert ran.named("mailbox")["status"] == "done"
    assert ran.named("klos")["np_faults"] == 3


def test_the_next_instruction_after_the_end_of_an_event() -> None:
    """The far call that ends an event never comes back: next is what the event resumes."""
    ran = klosdbg(READY, "b handler_return", "c", "n")
    before, after = [d for d in ran.documents if d["schema"] == "klosdbg/stop/1"][-2:]
    assert before["instruction"].startswith("lcall")
    assert (after["reason"], after["cpl"]) == ("step", 3)
    assert ran.code == 0


def test_what_the_guest_refuses() -> None:
    """A request that it does not know fails in its own words."""
    ran = klosdbg(READY, "mailbox nonsense", "mailbox ping 1")
    assert ran.code == 1
    assert ran.named("mailbox")["status"] == "error"
    assert "no such command" in ran.said


def test_a_request_times_out() -> None:
    """An application that never ends leaves the guest stopped and the command failed."""
    with driving(IMAGE) as driver:
        driver.line(READY)
        driver.session.timeout = 1.0
        with pytest.raises(CommandError, match="did not answer 'run ping' within 1 s") as caught:
            driver.line("mailbox run ping")
        assert caught.value.exit_code == 1
        assert not driver.session.control.running


@pytest.mark.parametrize("command", ["selftest", "attacks"])
def test_nothing_fails(command: str) -> None:
    """Every self-test and attack ends as expected on this processor."""
    ran = klosdbg(command)
    assert ran.code == 0, ran.said
    tests = ran.named(command)["tests"]
    assert [t for t in tests if t["result"] not in ("pass", "not-enforced")] == []
    assert len(tests) >= 16
    assert all(t["reason"] for t in tests)


def test_figure_4_in_instructions() -> None:
    """Where the clock counts instructions, the trap takes the fewest."""
    ran = klosdbg("bench-services", options=("--deterministic",))
    assert ran.code == 0, ran.said
    bench = ran.named("bench-services")
    assert bench["counter"] == "instructions"
    best = bench["best"]
    assert best["trap"] == min(best.values())
    assert all(ticks > 0 for row in ("best", "average", "worst") for ticks in bench[row].values())


def test_figure_4_on_the_host() -> None:
    """On the host's own processor Design B is the quickest."""
    make(GUEST / "hostprobe")
    ran = klosdbg("bench-services --native")
    if ran.code and "modify_ldt is not permitted" in ran.said:
        pytest.skip(ran.said)
    assert ran.code == 0, ran.said
    native = ran.named("bench-services")["native"]
    assert native["design_b"] < min(native["syscall"], native["int80"])
