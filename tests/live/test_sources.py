"""What klosdbg shows of KLOS, beside what QEMU's monitor, gdb, nm and objdump say of the same."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pytest
from klosdbg.targets.qmp import Qmp
from tests.live.driver import KLOS, klosdbg, needs_klos, stub
from tests.live.patience import PATIENCE
from tests.live.tiny import needs_qemu

pytestmark = [pytest.mark.qemu, needs_qemu, needs_klos, pytest.mark.xdist_group("klos")]

needs_gdb = pytest.mark.skipif(
    shutil.which("gdb") is None, reason="gdb is not installed: apt install gdb"
)

Document = dict[str, Any]
GENERAL = ("eax", "ebx", "ecx", "edx", "esi", "edi", "ebp", "esp")


@dataclass(frozen=True)
class Seen:
    """One guest at ``klos_ready``: klosdbg's documents by command, the monitor's text, gdb's."""

    ours: dict[str, Document]
    registers: str
    gdb: str

    def printed(self, name: str) -> int:
        """Read a number off ``info registers``."""
        found = re.search(rf"\b{name}=([0-9a-f]+)", self.registers, re.IGNORECASE)
        assert found
        return int(found[1], 16)


COMMANDS = (
    "regs", "sregs", "cr", "gdt", "gdt --all", "ldt", "ldt --all", "idt", "tss", "iomap", "gdt 3",
    "dis", "mem klos_info 128", "mem esp", "mem esp 56", "sel cs", "sel dsos", "port 0xe9/4",
    "klos",
)  # fmt: skip


@pytest.fixture(scope="module")
def seen() -> Iterator[Seen]:
    """Boot once; ask klosdbg, then the monitor, then gdb, all of the same stopped guest."""
    with stub("-kernel", str(KLOS), "-append", "seed=7", "-m", "64", running=False) as place:
        chosen = [word for command in COMMANDS for word in ("-c", command)]
        options = ("--json", "--qmp", place["qmp"], "--symbols", str(KLOS))
        result = klosdbg("attach", place["gdb"], *options, "-c", "until klos_ready", *chosen)
        assert (result.code, result.err) == (0, "")
        documents = [json.loads(line) for line in result.out.splitlines()]
        ours = dict(zip(("until", *COMMANDS), documents, strict=True))
        with closing(Qmp(place["qmp"])) as qmp:
            registers = qmp.monitor("info registers")
        yield Seen(ours, registers, ask_gdb(place["gdb"].removeprefix("unix:")))


def ask_gdb(path: str) -> str:
    """Let gdb print registers, memory and code; empty without gdb."""
    if shutil.which("gdb") is None:
        return ""
    asked = ("info registers", "x/128xb &klos_info", "x/14xw $esp", "x/8i $pc", "disconnect")
    commands = [word for command in (f"target remote {path}", *asked) for word in ("-ex", command)]
    silent = ["-iex", "set debuginfod enabled off", "-iex", "set pagination off"]
    line = ["gdb", "-nx", "-batch", *silent, *commands, str(KLOS)]
    return subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE).stdout


def test_registers_are_those_of_the_monitor(seen: Seen) -> None:
    """Every register that both know."""
    regs = seen.ours["regs"]
    for name in (*GENERAL, "eip"):
        assert regs[name] == seen.printed(name)
    for name in ("cr0", "cr2", "cr3", "cr4", "efer"):
        assert int(regs[name], 16) == seen.printed(name)
    assert regs["eflags"] == seen.printed("efl")
    assert regs["cpl"] == seen.printed("cpl") == 3
    for name in ("gdtr", "idtr"):
        base, limit = re.findall(rf"{name[:3].upper()}= +([0-9a-f]+) ([0-9a-f]+)", seen.registers)[
            0
        ]
        assert regs[name] == {"base": hex(int(base, 16)), "limit": int(limit, 16)}


def test_hidden_parts_are_those_of_the_monitor(seen: Seen) -> None:
    """Selector, base, limit and attributes of the six segment registers, LDTR and TR."""
    row = re.compile(r"^(ES|CS|SS|DS|FS|GS|LDT|TR) *= *(\w+) (\w+) (\w+) (\w+)", re.MULTILINE)
    shown = {m[0].lower(): [int(n, 16) for n in m[1:]] for m in row.findall(seen.registers)}
    shown["ldtr"] = shown.pop("ldt")
    ours = {register["name"]: register for register in seen.ours["sregs"]["registers"]}
    assert ours.keys() == shown.keys()
    for name, register in ours.items():
        values = [register["selector"], int(register["base"], 16), register["limit"]]
        assert [*values, register["flags"]] == shown[name], name
        assert register["differences"] == [], name


@needs_gdb
def test_registers_are_those_of_gdb(seen: Seen) -> None:
    """gdb reads the ``g`` packet, klosdbg the monitor."""
    printed = dict(re.findall(r"^(\w+) +(0x[0-9a-f]+)", seen.gdb, re.MULTILINE))
    regs = seen.ours["regs"]
    assert [regs[name] for name in GENERAL] == [int(printed[name], 16) for name in GENERAL]
    assert regs["eip"] == int(printed["eip"], 16)
    for name in ("cs", "ss", "ds", "es", "fs", "gs"):
        assert regs["segments"][name]["selector"] == int(printed[name], 16)


@needs_gdb
def test_memory_is_that_of_gdb(seen: Seen) -> None:
    """Bytes of a structure, and the stack."""
    at_symbol = re.findall(
        r"^0x\w+ <klos_info.*?>:((?:\s+0x[0-9a-f]{2})+)$", seen.gdb, re.MULTILINE
    )
    structure = "".join(word[2:] for row in at_symbol for word in row.split())
    assert structure == seen.ours["mem klos_info 128"]["bytes"]
    stack = seen.ours["mem esp 56"]
    assert seen.ours["mem esp"] == stack, "a dump without a size ends where memory ends"
    rows = re.findall(r"^0x\w+(?: <.*?>)?:((?:\s+0x[0-9a-f]{8})+)$", seen.gdb, re.MULTILINE)
    words = [int(word, 16).to_bytes(4, "little").hex() for row in rows for word in row.split()]
    assert "".join(words) == stack["bytes"]
    assert stack["address"] == seen.ours["regs"]["esp"]


@needs_gdb
def test_code_is_that_of_gdb(seen: Seen) -> None:
    """The same instructions at the same addresses, the current one marked."""
    shown = re.findall(r"^(?:=>|  ) (0x[0-9a-f]+)(?: <.*?>)?:\s+(\w+)", seen.gdb, re.MULTILINE)
    ours = seen.ours["dis"]["instructions"]
    assert [i["address"] for i in ours[:8]] == [int(address, 16) for address, _ in shown]
    assert ours[0]["current"]
    assert ours[0]["symbol"] == "klos_ready"


def test_code_is_that_of_objdump(seen: Seen) -> None:
    """Address and bytes of each instruction."""
    start = seen.ours["dis"]["instructions"][0]["address"]
    window = [f"--start-address={start}", f"--stop-address={start + 200}"]
    text = subprocess.check_output(["objdump", "-d", "-w", *window, str(KLOS)], text=True)
    rows = re.findall(r"^([0-9a-f]+):\t((?:[0-9a-f]{2} )+)", text, re.MULTILINE)
    listed = [(int(address, 16), raw.replace(" ", "")) for address, raw in rows]
    ours = [(i["address"], i["raw"]) for i in seen.ours["dis"]["instructions"]]
    assert ours == listed[: len(ours)]


def test_symbols_are_those_of_nm(seen: Seen) -> None:
    """Each address that is shown with a symbol has the one that nm gives."""
    listing = subprocess.check_output(["nm", str(KLOS)], text=True).splitlines()
    known = {words[2]: int(words[0], 16) for row in listing if len(words := row.split()) == 3}
    stop = seen.ours["until"]
    assert (stop["symbol"], stop["linear"]) == ("klos_ready", known["klos_ready"])
    assert stop["eip"] == stop["linear"]
    gates = seen.ours["idt"]["entries"]
    stubs = [gate for gate in gates if gate["kind"] == "interrupt-gate"]
    assert len(stubs) > 200
    for gate in stubs:
        assert known[gate["symbol"]] == gate["offset"]
    assert seen.ours["mem klos_info 128"]["symbol"] == "klos_info"
    assert seen.ours["mem klos_info 128"]["address"] == known["klos_info"]


@pytest.mark.parametrize("table", ["gdt", "ldt"])
def test_runs_are_their_slots(seen: Seen, table: str) -> None:
    """``--all`` is the same table with each run written out."""
    short, whole = seen.ours[table], seen.ours[f"{table} --all"]
    assert len(whole["entries"]) == 8192
    assert len(short["entries"]) < 20
    written_out = [
        entry | {"index": index, "count": 1, "selector": index << 3 | (4 if table == "ldt" else 0)}
        for entry in short["entries"]
        for index in range(entry["index"], entry["index"] + entry["count"])
    ]
    assert whole["entries"] == written_out
    assert {k: v for k, v in short.items() if k != "entries"} == {
        k: v for k, v in whole.items() if k != "entries"
    }


def test_one_entry_is_the_same_alone(seen: Seen) -> None:
    """``gdt 3`` is the fourth entry of ``gdt --all``; ``sel cs`` leads to it."""
    (alone,) = seen.ours["gdt 3"]["entries"]
    assert alone == seen.ours["gdt --all"]["entries"][3]
    followed = seen.ours["sel cs"]
    assert (followed["index"], followed["rpl"], "cs" in followed["held_by"]) == (3, 3, True)
    assert followed["descriptor"]["raw"] == alone["raw"]
    assert followed["name"] == alone["name"] == "csos"


def test_dsos_is_the_slot_that_klos_names(seen: Seen) -> None:
    """``sel dsos`` follows the selector of the self-description."""
    followed = seen.ours["sel dsos"]
    assert followed["selector"] == seen.ours["klos"]["dsos"]
    assert {"ds", "es", "ss"} <= set(followed["held_by"])
    assert followed["descriptor"]["last_byte"] == 0xFFFFFFFF


FIELDS = {"index", "count", "selector", "raw", "kind", "name", "dpl", "present"}
SEGMENT = {"base", "limit", "last_byte", "type", "db", "l", "g", "avl"}
ACCESS = {"readable", "writable", "conforming", "expand_down", "accessed"}
GATE = {"target_selector", "offset", "params", "bits"}


def test_entries_have_the_fields_of_their_kind(seen: Seen) -> None:
    """The schema that other programs rely on."""
    for table in ("gdt", "ldt", "idt"):
        document = seen.ours[table]
        assert document["schema"] == f"klosdbg/{table}/1"
        assert {"table", "base", "limit", "entries"} <= document.keys()
        for entry in document["entries"]:
            assert FIELDS | fields_of(entry["kind"]) <= entry.keys(), entry["kind"]
            assert re.fullmatch("0x[0-9a-f]{16}", entry["raw"])


def fields_of(kind: str) -> set[str]:
    """The fields that a kind of descriptor adds."""
    if kind in ("code", "data"):
        return SEGMENT | ACCESS
    if kind.endswith("-gate"):
        return GATE
    return {"base", "limit", "last_byte"} if kind.startswith(("tss", "ldt")) else set()


def test_the_tss_allows_what_the_port_command_allows(seen: Seen) -> None:
    """``tss``, ``iomap`` and ``port`` tell one story."""
    tss, iomap = seen.ours["tss"], seen.ours["iomap"]
    assert tss["ports"] == iomap["ports"]
    assert tss["iomap_base"] == iomap["iomap_base"]
    assert seen.ours["port 0xe9/4"]["allowed"] is any(a <= 0xE9 <= b - 3 for a, b in tss["ports"])
    assert (tss["base"], tss["limit"]) == (
        int(seen.ours["regs"]["segments"]["tr"]["base"], 16),
        seen.ours["regs"]["segments"]["tr"]["limit"],
    )
