"""Conditions of breakpoints that the server evaluates: what gdb compiles, and what it saves."""

import re
import shutil
from collections.abc import Iterator

import pytest
from tests.live.driver import stub
from tests.live.patience import until
from tests.live.serving import Raw, gdb, serving
from tests.live.tiny import image, needs_qemu, symbols

pytestmark = [pytest.mark.qemu, needs_qemu]
needs_gdb = pytest.mark.skipif(shutil.which("gdb") is None, reason="no gdb: apt install gdb")

LOOP, COUNTER = symbols()["loop"], symbols()["counter"]
VALUE = f"*(int *) {COUNTER:#x}"
UNEQUAL = (
    f"{VALUE} != 30",
    f"{VALUE} * 2 - 60",
    f"({VALUE} - 45) / 4 != -3",
    f"({VALUE} - 45) % 4 * 1000 + {VALUE} != -2970",
    f"(unsigned) ({VALUE} - 46) / 4 != 0x3ffffffc",
    f"({VALUE} << 3 | 1) != 241",
    f"(-{VALUE} >> 1) * 1000 + {VALUE} != -14970",
    f"(signed char) ({VALUE} + 226) != 0",
    f"(unsigned char) ({VALUE} ^ 0xff) != 225",
    f"~{VALUE} != -31",
    f"!({VALUE} >= 30 && {VALUE} <= 30 || {VALUE} == -1)",
    f"{VALUE} < 30 ? 1 : {VALUE} > 30",
    f"*(short *) {COUNTER:#x} != 30 || *(unsigned char *) {COUNTER:#x} != 30",
    f"$eip != {LOOP:#x} || $cs != 8 || $cs_base != 0x100000 || {VALUE} != 30",
)


@needs_gdb
def test_what_gdb_compiles_means_what_gdb_means() -> None:
    """Each expression is 0 for the first time when the counter is 30, as gdb reckons."""
    for where in ("target", "host"):
        with stub(running=False) as sockets, serving("serve", sockets["gdb"]) as path:
            look = [f"set breakpoint condition-evaluation {where}"]
            for expression in UNEQUAL:
                look += [f"tbreak *{LOOP:#x} if !({expression})", "c", f"p {VALUE}"]
                look += [f"set var {VALUE} = 0"]
            said = gdb(path, *look, image=image())
        assert re.findall(r"^\$\d+ = (\d+)$", said, re.MULTILINE) == ["30"] * len(UNEQUAL), where


@needs_gdb
def test_false_conditions_are_not_reported() -> None:
    """The client hears of one stop instead of a hundred, with a packet or two for each."""
    packets = {}
    for where in ("host", "target"):
        with stub(running=False) as sockets, serving("serve", sockets["gdb"]) as path:
            said = gdb(path, f"set breakpoint condition-evaluation {where}", "set debug remote 1",
                       f"break *{LOOP:#x} if {VALUE} == 100", "c", "set debug remote 0",
                       f"p {VALUE}", image=image())  # fmt: skip
        assert said.count("Breakpoint 1, ") == 1
        assert "$1 = 100\n" in said
        packets[where] = said.count("Sending packet")
    assert packets["host"] > 200
    assert packets["target"] < 40


def encoded(code: str) -> bytes:
    return b"Z0,%x,1;X%x,%b" % (LOOP, len(code) // 2, code.encode())


def counted(client: Raw) -> int:
    return int.from_bytes(bytes.fromhex(client.ask(b"m%x,4" % COUNTER).decode()), "little")


def test_the_guest_stops_where_a_condition_has_no_value() -> None:
    """Division by zero, memory that is not mapped, a loop without an end, an empty stack."""
    no_value = ("22012200 05 27", "2430000000 19 27", "21 0000 27", "29 27", "2201 21 0000 27")
    with stub(running=False) as sockets, serving("serve", sockets["gdb"]) as path:
        client = Raw(path)
        client.ask(b"qSupported:swbreak+")
        assert client.ask(encoded("220127")) == b"OK"
        assert b"swbreak" in client.stop(b"vCont;c")
        for code in no_value:
            before = counted(client)
            assert client.ask(encoded(code.replace(" ", ""))) == b"OK"
            assert b"swbreak" in client.stop(b"vCont;c")
            assert counted(client) == before + 1, code
        assert client.ask(encoded("220027") + b"X3,220127") == b"OK", "any of them may hold"
        assert b"swbreak" in client.stop(b"vCont;c")
        client.close()


def test_an_interrupt_stops_a_guest_whose_condition_never_holds() -> None:
    with (
        stub(running=False) as sockets,
        serving("serve", sockets["gdb"], "--qmp", sockets["qmp"]) as path,
    ):
        client = Raw(path)
        assert client.ask(b"Z0,%x,1" % LOOP) == b"OK"
        assert client.stop(b"vCont;c").startswith(b"T05")
        before = counted(client)
        assert client.ask(encoded("220027")) == b"OK"
        client.send(b"vCont;c")
        until(lambda: counted(client) > before + 1)
        client.socket.sendall(b"\x03")
        assert client.receive().startswith(b"T02")
        client.close()


@pytest.mark.parametrize(
    "bad", [b"X1,", b"X3,22", b"X1,01", b"X2,2701", b"X1,02", b"X3,21ffff", b"X0,", b"Y1,27",
            b"X4,2c00002727", b"X2,2227zz"],
)  # fmt: skip
def test_bytecode_that_is_not_understood_is_refused(bad: bytes, served: Raw) -> None:
    assert served.ask(b"Z0,%x,1;%b" % (LOOP, bad)) == b"E22"
    assert served.ask(b"z0,%x,1" % LOOP) == b"OK"


@pytest.fixture(scope="module")
def served() -> Iterator[Raw]:
    with stub(running=False) as sockets, serving("serve", sockets["gdb"]) as path:
        client = Raw(path)
        yield client
        client.close()
