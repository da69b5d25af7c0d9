"""A guest of two processors: each is a thread of gdb's, with registers and memory of its own."""

import re
import shutil

import pytest
from tests.live.driver import stub
from tests.live.serving import Raw, gdb, serving
from tests.live.tiny import needs_qemu, symbols

pytestmark = [pytest.mark.qemu, needs_qemu]

LOOP, COUNTER = symbols()["loop"], symbols()["counter"]
UNMAPPED = 0x400000


@pytest.mark.skipif(shutil.which("gdb") is None, reason="no gdb: apt install gdb")
def test_gdb_sees_every_processor() -> None:
    """The second waits for its start-up where the BIOS left it, without paging."""
    with stub("-smp", "2", running=False) as sockets, serving("serve", sockets["gdb"]) as path:
        said = gdb(path, f"break *{LOOP:#x}", "c", "info threads", "p $cr0 >> 31 & 1", "thread 2",
                   "p $cr0 >> 31 & 1", "p $cpl", "info registers esp gdtr_limit", "stepi",
                   "thread 2", f"x/xb {UNMAPPED:#x}", "thread 1", "p $cs", "stepi", "p $eip",
                   f"x/xb {UNMAPPED:#x}")  # fmt: skip
    assert re.search(rf'^\* 1 +Thread 1 "processor 0" .* {LOOP:#010x}', said, re.MULTILINE)
    assert re.search(r'^  2 +Thread 2 "processor 1" \(halted\)', said, re.MULTILINE)
    assert "$1 = 1\n" in said
    assert "$2 = 0\n" in said
    assert "$3 = 0\n" in said
    assert re.search(r"^gdtr_limit +0x37 ", said, re.MULTILINE)
    assert "thread 2 does not run" in said
    assert "$4 = 8\n" in said
    assert re.search(rf"\$5 = .* {LOOP + 7:#x}\n", said), "past the breakpoint, and a step more"
    assert len(re.findall(rf"^{UNMAPPED:#x}:\t0x00$", said, re.MULTILINE)) == 1
    assert f"Cannot access memory at address {UNMAPPED:#x}" in said


def test_registers_of_each_by_packet() -> None:
    with stub("-smp", "3", running=False) as sockets, serving("serve", sockets["gdb"]) as path:
        client = Raw(path)
        client.ask(b"Z0,%x,1" % LOOP)
        assert re.match(rb"T05thread:1;", client.stop(b"vCont;c"))
        assert client.ask(b"qfThreadInfo") == b"m1,2,3"
        eips = {}
        for number in (1, 2, 3):
            assert client.ask(b"Hg%x" % number) == b"OK"
            eips[number] = int.from_bytes(bytes.fromhex(client.ask(b"p8").decode()), "little")
            assert client.ask(b"P0=00000000").startswith(b"E") == (number != 1)
        assert eips[1] == LOOP
        assert eips[2] == eips[3] != LOOP
        assert client.ask(b"Hg4") == b"E03"
        client.close()
