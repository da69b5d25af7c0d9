"""What gdb itself shows with the extension: printers, stops at events, a line at each stop."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.live.driver import KLOS, assert_fits, klosdbg, needs_klos, stub
from tests.live.serving import gdb, serving
from tests.live.test_gdb_extension import needs_gdb_python
from tests.live.tiny import needs_qemu, symbols

pytestmark = [pytest.mark.qemu, needs_qemu, needs_klos, needs_gdb_python]

OTHERS = """
#include <stdint.h>
struct desc_struct { uint16_t limit0, base0;  /* as Linux has it */
    uint16_t base1 : 8, type : 4, s : 1, dpl : 2, p : 1;
    uint16_t limit1 : 4, avl : 1, l : 1, d : 1, g : 1, base2 : 8; };
struct gatedesc { uint32_t off_15_0 : 16, cs : 16;  /* as xv6 has it */
    uint32_t args : 5, rsv1 : 3, type : 4, s : 1, dpl : 2, p : 1, off_31_16 : 16; };
struct descriptor { int length, kind; };  /* another thing of that name */
struct desc_struct code = {0xffff, 0, 0, 0xb, 1, 0, 1, 0xf, 0, 0, 1, 1, 0};
struct gatedesc trap = {0x1234, 8, 0, 0, 0xf, 0, 3, 1, 0xc010};
struct descriptor other = {18, 1};
int main(void) { return code.p + trap.p + other.kind; }
"""


@pytest.fixture(scope="module")
def line() -> str:
    return klosdbg("gdb-init").out.strip()


@pytest.fixture
def klos() -> Iterator[str]:
    with serving("run", "--headless", "--append", "seed=1", "-c", "until klos_ready") as path:
        yield path


def alone(*words: str, cwd: Path | None = None) -> str:
    """Run gdb without a guest."""
    ran = subprocess.run(
        ["gdb", "-nx", "-q", "-batch", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        cwd=cwd,
    )
    return ran.stdout


def test_descriptors_are_printed_as_sel_shows_them(klos: str, line: str) -> None:
    said = gdb(klos, "p gdt[3]", "p $1", "p/r gdt[3]", "p gdt[0]", "p idt[14]", "p idt[8]",
               "p *(struct tss *) $tr_base", "klos sel 0x1b", "info pretty-printer",
               "disable pretty-printer global klosdbg", "p gdt[3]", image=KLOS,
               line=line)  # fmt: skip
    shown = re.findall(r"^\$\d = (.*)", said, re.MULTILINE)
    assert f"\n  {shown[0]}\n" in said, "sel says the same"
    assert shown[1] == shown[0], "a value of the history has no address"
    assert "limit_low = 65535" in shown[2]
    assert shown[3] == "empty"
    assert "selector 0x0008" in shown[4]
    assert "<Event14_Ring0Stub>" in shown[4]
    assert shown[5].startswith("task-gate")
    assert re.match(r"32-bit TSS, ring 0 stack 0010:[0-9a-f]{8}, ", shown[6])
    assert re.search(r"klosdbg\n +descriptor\n +gate\n +tss\n", said)
    assert "limit_low = 65535" in shown[7]


def test_other_kernels_types_and_others_of_the_same_name(line: str, tmp_path: Path) -> None:
    source = tmp_path / "others.c"
    source.write_text(OTHERS)
    subprocess.run(["gcc", "-g", "-o", tmp_path / "others", source], check=True)
    words = ("p code", "p trap", "p other", "start", "next")
    asked = [word for command in words for word in ("-ex", command)]
    said = alone(str(tmp_path / "others"), "-ex", line, *asked)
    assert "$1 = code, dpl 0, r-x, base 0x0, last byte 0xffffffff, accessed" in said
    assert "$2 = trap-gate, dpl 3, to selector 0x0008, offset 0xc0101234" in said
    assert "$3 = {length = 18, kind = 1}" in said
    assert "klos" not in said.partition("$3")[2], "a program is no guest"


def test_gdb_stops_at_an_event_where_the_expression_holds(klos: str, line: str) -> None:
    said = gdb(klos, 'klos break event 0x30 if process == "pong" and depth == 1',
               "info breakpoints", "c", "klos ps", "delete 1", "info breakpoints",
               'klos b event 11 if vektor == 1', "klos b event", "complete klos break ev",
               "help klos break event", image=KLOS, line=line)  # fmt: skip
    assert r'stop only if $klos_event(48, "process == \"pong\" and depth == 1")' in said
    assert "hit Breakpoint 1" in said
    assert re.search(r"\* +3  pong +running", said)
    assert "No breakpoints" in said
    assert "did you mean vector" in said
    assert "arguments are required: VECTOR" in said
    assert "\nklos break event\n" in said
    assert "example: b event 11" in said
    assert "Python Exception" not in said


def test_on_qemus_own_stub_it_stops_as_well(line: str) -> None:
    with stub("-kernel", str(KLOS), running=False) as sockets:
        said = gdb(sockets["gdb"][5:], "break *klos_ready", "c", "delete",
                   'klos b event 48 if process == "ping"', "c", image=KLOS,
                   line=line)  # fmt: skip
    assert "hit Breakpoint 2" in said or "Breakpoint 2, " in said
    assert re.search(r"klos: ring 0, 0008:[0-9a-f]{8}.*at event 48, ping 2/2, dsos 0x", said)


def test_a_line_at_each_stop(klos: str, line: str) -> None:
    said = gdb(klos, "show klos stop-line", "stepi", "hbreak *event_timer", "c",
               "echo @off\\n", "set klos stop-line off", "stepi", "klos s", image=KLOS,
               line=line)  # fmt: skip
    lines = re.findall("^klos: .*", said, re.MULTILINE)
    assert "line at a stop is on." in said
    assert re.match(r"klos: ring 3, 001b:[0-9a-f]{8} <klos_ready\+0x5>, system 1/1, dsos", lines[1])
    assert "<event_timer>, in event 32, " in lines[2]
    assert "klos: " not in said.partition("@off")[2]
    assert_fits("\n".join(lines))


def test_where_cs_has_a_base_the_line_says_so(line: str) -> None:
    loop = symbols()["loop"]
    with stub(running=False) as sockets, serving("serve", sockets["gdb"]) as path:
        said = gdb(path, f"break *{loop:#x}", "c", line=line)
    assert f"{loop - 0x100000:08x} (linear {loop:#010x})" in said


def test_an_old_python_and_no_guest_end_in_one_line(line: str, tmp_path: Path) -> None:
    old = alone("-ex", "python import sys; sys.version_info = (3, 9, 2)", "-ex", line)
    assert old == "klosdbg: this gdb has Python 3.9, 3.11 is needed\n"
    asked = ("klos gdt", "klos b event 11", "p $klos_sel(8)", 'p $klos_event(11, "cpl == 3")')
    for command in asked:
        said = alone("-ex", line, "-ex", command, cwd=tmp_path)
        assert said == "klosdbg: gdb is not connected to a guest: 'target remote' first\n"
