"""gdb's watch, rwatch and awatch through the server, and where they are refused."""

import json
import re
import shutil
from collections.abc import Iterator

import pytest
from klosdbg.wire.symbols import Image, SymbolTable
from tests.live.driver import KLOS, needs_klos, stub
from tests.live.patience import PATIENCE
from tests.live.serving import Raw, gdb, serving
from tests.live.tiny import needs_qemu, symbols

pytestmark = [pytest.mark.qemu, needs_qemu, needs_klos]
needs_gdb = pytest.mark.skipif(shutil.which("gdb") is None, reason="no gdb: apt install gdb")

TABLE = SymbolTable((Image(KLOS.read_bytes(), str(KLOS)),))


@pytest.fixture(scope="module")
def klos() -> Iterator[str]:
    """Serve KLOS, stopped where it is ready."""
    with serving("run", "--headless", "--append", "seed=1", "-c", "until klos_ready") as path:
        yield path


def place(name: str) -> int:
    found = TABLE.address(name)
    assert found is not None
    return found


@needs_gdb
def test_gdb_watches_writes_reads_and_both(klos: str) -> None:
    ticks = "klos_info.tick_count"
    said = gdb(klos, f"watch {ticks}", *["c"] * 200, "delete", f"rwatch {ticks}", "c", "delete",
               f"awatch {ticks}", "c", "delete", image=KLOS)  # fmt: skip
    old = [int(value) for value in re.findall(r"^Old value = (\d+)$", said, re.MULTILINE)]
    new = [int(value) for value in re.findall(r"^New value = (\d+)$", said, re.MULTILINE)]
    assert len(old) >= 200
    assert all(after == before + 1 for before, after in zip(old[:200], new[:200], strict=True))
    assert old[1:200] == new[:199], "no tick is lost, and none is missed"
    assert f"Hardware read watchpoint 2: {ticks}" in said
    assert f"Hardware access (read/write) watchpoint 3: {ticks}" in said


def test_what_the_processor_touches_by_itself_is_refused(klos: str) -> None:
    """The tables, the TSS and the stacks of ring 0, whichever byte of their pages."""
    client = Raw(klos)
    stack = place("core_stack_top")
    for address, why in (
        (place("gdt") + 0x18, b"the GDT"),
        (place("ldt"), b"the LDT"),
        (place("idt") + 0x800, b"the IDT"),
        (place("idt") - 2, b"the IDT"),
        (stack - 4, b"the stack of"),
        (stack - 0x1800, b"the stack of"),
    ):
        for kind in b"234":
            reply = client.ask(b"Z%c,%x,4" % (kind, address))
            assert reply.startswith(b"E.%#x cannot be watched: %b" % (address, why)), reply
            assert b"\n" not in reply
            assert client.ask(b"z%c,%x,4" % (kind, address)) == b"OK"
    tss = json.loads(client.monitor("klos tss --json"))["base"]
    assert b"the TSS" in client.ask(b"Z2,%x,1" % (tss + 4))
    client.close()


def test_where_and_how_much(klos: str) -> None:
    client, observer = Raw(klos), Raw(klos)
    info = place("klos_info")
    assert observer.ask(b"Z2,%x,4" % info).startswith(b"E.this client observes")
    for size in (0, 65, 1 << 32):
        assert client.ask(b"Z2,%x,%x" % (info, size)).startswith(b"E.64 watchpoints")
    assert [client.ask(b"Z2,%x,4" % (info + 4 * i)) for i in range(64)] == [b"OK"] * 64
    assert client.ask(b"Z2,%x,4" % info) == b"OK", "twice is once"
    assert client.ask(b"Z2,%x,4" % (info + 4 * 64)).startswith(b"E.64 watchpoints")
    client.close()
    observer.monitor("klos control")
    observer.send(b"vCont;c")
    observer.socket.settimeout(0.5)
    with pytest.raises(TimeoutError):
        observer.receive()
    observer.socket.settimeout(PATIENCE)
    observer.socket.sendall(b"\x03")
    assert observer.receive().startswith(b"T02"), "what the other set is gone"
    observer.close()


def test_a_page_that_also_holds_a_table_is_refused() -> None:
    """The tiny guest keeps its counter beside its GDT, and runs in ring 0."""
    with stub(running=False) as sockets, serving("serve", sockets["gdb"]) as path:
        client = Raw(path)
        assert client.ask(b"Z0,%x,1" % symbols()["loop"]) == b"OK"
        client.stop(b"vCont;c")
        assert b"the GDT" in client.ask(b"Z2,%x,4" % symbols()["counter"])
        assert b"the stack of ring 0" in client.ask(b"Z4,%x,4" % (symbols()["stack_top"] - 4))
        client.close()


@needs_gdb
def test_gdb_says_why_it_cannot_watch(klos: str) -> None:
    """Its own word for any refusal is that there are too many; the guest stays where it is."""
    wanted = f"watch *(int *) {place('gdt'):#x}"
    said = gdb(klos, wanted, "c", "stepi", "p $eip", "delete", "stepi", "p $eip", image=KLOS)
    assert said.count(f"klosdbg: {place('gdt'):#x} cannot be watched: the GDT is in its page") == 2
    assert "You may have requested too many" not in said
    before, after = re.findall(r"^\$\d = .*(0x[0-9a-f]+)", said, re.MULTILINE)
    assert before != after


def test_null_selectors_and_real_mode_have_no_tables() -> None:
    """At the reset the hidden parts of LDTR, TR and GDTR say base 0, limit ffff."""
    with stub(running=False) as sockets, serving("serve", sockets["gdb"]) as path:
        client = Raw(path)
        for packet in (b"Z2,8000,2", b"Z2,ffff,1", b"Z2,10000,4", b"Z3,3000,4"):
            assert client.ask(packet) == b"OK"
        assert b"the IVT" in client.ask(b"Z2,3fc,4")
        client.close()
