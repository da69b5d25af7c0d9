"""A KLOS image without symbols and without ``klos_info``, by a profile: everything works on it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from klosdbg.errors import DataError
from klosdbg.klos.profile import parse_profile
from klosdbg.wire.symbols import Image, SymbolTable
from tests.build import make
from tests.live.driver import Driver, klosdbg
from tests.live.klos import GUEST, IMAGE
from tests.live.profiles import profile, profiled, strip
from tests.live.tiny import needs_qemu

pytestmark = [pytest.mark.qemu, needs_qemu]


@pytest.fixture(scope="module")
def symbols() -> SymbolTable:
    make(GUEST)
    return SymbolTable((Image(IMAGE.read_bytes(), str(IMAGE)),))


@pytest.fixture(scope="module")
def anonymous(symbols: SymbolTable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return strip(IMAGE, tmp_path_factory.mktemp("anonymous") / "other.elf")


@pytest.fixture(scope="module")
def other(symbols: SymbolTable, anonymous: Path) -> Iterator[Driver]:
    with profiled(anonymous, profile(symbols)) as driver:
        driver.line("until klos_ready")
        yield driver


def test_without_the_profile_there_is_no_klos(anonymous: Path) -> None:
    """It is not found by itself."""
    ran = klosdbg("run", "--headless", "--image", str(anonymous), "-c", "dsos")
    assert ran.code == 1
    assert "no KLOS found" in ran.err


def test_where_dsos_is(other: Driver) -> None:
    """The facts are read from the live guest, and the sites decoded from its code."""
    dsos = other.models("dsos")
    assert len(dsos["sites"]) == 65
    assert {site["selector"] for site in dsos["sites"]} == {dsos["selector"]}
    assert dsos["sites"][0]["instruction"] == f"mov eax, {dsos['selector']:#x}"
    assert dsos["descriptor"]["last_byte"] == 0xFFFFFFFF


@pytest.mark.parametrize("how", ["probe", "mailbox", "call"])
def test_relocations(other: Driver, how: str) -> None:
    """Triggered in every way, they are shown from the log, and an audit finds nothing."""
    moves = other.models(f"dsos trigger 10 --how {how}")["relocations"]
    assert len(moves) == 10
    assert moves[-1]["new"] == other.models("dsos")["selector"]
    assert other.models("dsos audit")["findings"] == []


def test_what_a_profile_does_not_say_is_unknown(symbols: SymbolTable, anonymous: Path) -> None:
    """'klos' compares what was told, and finds nothing wrong."""
    document = profile(symbols)
    del document["facts"]["gate_selector"]
    with profiled(anonymous, document) as driver:
        driver.line("until klos_ready")
        checks = {check["name"]: check["result"] for check in driver.models("klos")["checks"]}
        assert checks.pop("gate_selector") == "unknown"
        assert set(checks.values()) == {"ok"}
        assert len(driver.models("ps")["processes"]) >= 3
        assert driver.models("threads")["threads"]


def test_attacks_gadgets_and_watch(other: Driver) -> None:
    """The rest of what klosdbg does with DSOS."""
    (row,) = other.models("attack guess")["tests"]
    assert row["held"]
    assert other.models("attack guess --rounds 200")["rounds"] >= 200
    kinds = {gadget["kind"] for gadget in other.models("dsos gadgets")["gadgets"]}
    assert "middle" in kinds
    other.line("mailbox start touch 99999999")
    assert len(other.line("dsos watch --events 5 --json").splitlines()) == 5
    each = other.line("dsos audit --at-every-relocation 5 --json").splitlines()
    found = [finding for line in each for finding in json.loads(line)["findings"]]
    assert (len(each), [f for f in found if f["severity"] != "note"]) == (5, [])


def test_a_planted_fault_is_found(symbols: SymbolTable, anonymous: Path) -> None:
    """A site of the profile that holds something else, in a guest that is moving nothing."""
    with profiled(anonymous, profile(symbols)) as driver:
        driver.line("until klos_ready")
        site = driver.models("dsos")["sites"][3]
        driver.line(f"set {site['address']:#x} 0x1237")
        found = driver.models("dsos audit")["findings"]
    assert [(f["rule"], f["where"].split(" at ")[0]) for f in found] == [
        ("site-wrong", "site service 3")
    ]


def test_what_cannot_be_checked_is_said(symbols: SymbolTable, anonymous: Path) -> None:
    """The least that a profile can say: an audit tells what it left out."""
    document = profile(symbols)
    document["arrays"], document["sites"] = {}, []
    with profiled(anonymous, document) as driver:
        driver.line("until klos_ready")
        found = driver.models("dsos audit")["findings"]
        assert {f["rule"] for f in found} == {"not-checked"}
        assert {f["severity"] for f in found} == {"note"}
        assert len(found) == 4


def test_entries_of_another_layout(symbols: SymbolTable, anonymous: Path) -> None:
    """Fields at other offsets: threads told by a thread's number and state alone."""
    document = profile(symbols)
    fields = {"tid": 0, "pid": [4, 2], "state": 8, "context": 60}
    document["arrays"]["threads"]["fields"] = fields
    with profiled(anonymous, document) as driver:
        driver.line("until klos_ready")
        threads = driver.models("threads")["threads"]
        assert {thread["pid"] for thread in threads} >= {1, 2, 3}
        assert {thread["os_stack_top"] for thread in threads} == {0}
        assert [thread["current"] for thread in threads].count(True) == 1
        assert driver.models("dsos audit")["findings"] == []


def test_the_option(symbols: SymbolTable, anonymous: Path, tmp_path: Path) -> None:
    """``--profile FILE`` on the command line."""
    path = tmp_path / "other.yaml"
    path.write_text(yaml.safe_dump(profile(symbols)))
    words = ("run", "--headless", "--image", str(anonymous), "--profile", str(path))
    ran = klosdbg(*words, "-c", "until klos_ready", "-c", "dsos audit", "-c", "dsos --json")
    assert (ran.code, ran.err) == (0, "")
    assert json.loads(ran.out.splitlines()[-1])["sites"]


BAD: list[tuple[str, str]] = [
    ("[]", "a mapping of names is wanted"),
    ("{profile: 2}", "'profile: 1' is the format"),
    ("{profile: 1, facts: {}}", "csos, dsapp, dsos"),
    ("{profile: 1, secrets: 1}", "'secrets' is unknown"),
    ("a: [", "no YAML"),
    ("!!python/object/apply:os.system ['true']", "no YAML"),
    ("{profile: 1, facts: {dsos: {at: 3, width: 3}}}", "missing"),
]
GOOD = "csos: 27, dsapp: 35, app_top: 3221225472, os_text_start: 1, os_text_end: 2"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        *BAD,
        (f"{{profile: 1, facts: {{{GOOD}, dsos: {{at: 3, width: 3}}}}}}", "width: 1, 2, 4 or 8"),
        (f"{{profile: 1, facts: {{{GOOD}, dsos: '3 + x'}}}}", "neither a number nor symbol"),
        (f"{{profile: 1, facts: {{{GOOD}, dsos: true}}}}", "a number from 0"),
        (f"{{profile: 1, facts: {{{GOOD}, dsos: 7}}, sites: [{{}}]}}", "'immediate'"),
        (f"{{profile: 1, facts: {{{GOOD}, dsos: 7}}, arrays: {{threads: {{}}}}}}", "missing"),
        (f"{{profile: 1, facts: {{{GOOD}, dsos: 7, magic: 1}}}}", "'magic' is unknown"),
    ],
)
def test_a_profile_that_makes_no_sense(text: str, why: str) -> None:
    """One line that names the file and the place in it."""
    with pytest.raises(DataError, match=r"profile bad\.yaml: ") as caught:
        parse_profile(text.encode(), "bad.yaml")
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_profile_that_is_not_there(tmp_path: Path) -> None:
    """Exit code 2, and one line."""
    ran = klosdbg("run", "--headless", "--profile", str(tmp_path / "none.yaml"), "-c", "dsos")
    assert ran.code == 2
    assert ran.err.startswith("klosdbg: cannot read the profile")
