"""klosdbg serve: gdb, lldb and our own client at once on one KLOS, and what a stock gdb gets."""

import io
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from klosdbg.commands import collect
from klosdbg.frontend import Frontend
from klosdbg.session import Session
from klosdbg.targets.live import connect
from klosdbg.targets.qmp import Qmp
from klosdbg.wire.rsp import encode
from klosdbg.wire.symbols import Image, SymbolTable
from tests.live.driver import KLOS, klosdbg, needs_klos, stub
from tests.live.klos import DETERMINISTIC
from tests.live.patience import PATIENCE, until
from tests.live.serving import Raw, gdb, serving
from tests.live.tiny import image, needs_qemu, symbols

needs_gdb = pytest.mark.skipif(shutil.which("gdb") is None, reason="no gdb: apt install gdb")
needs_lldb = pytest.mark.skipif(shutil.which("lldb") is None, reason="no lldb: apt install lldb")
pytestmark = [pytest.mark.qemu, needs_qemu, needs_klos]

Connect = Callable[[str], Raw]
OTHERS = (
    "ps --all", "gdt 3", "mem klos_ready 32", "sym klos_ready", "help", "help gdt", "gdt --json",
    "sel", "gtd", "mem 0x30000000 4", "expect '1 == 1'", "events show", "snaps", "info b",
)  # fmt: skip
SAME_AS_THE_SHELL = (*OTHERS, *sorted({c.example for c in collect().values() if c.reads}))


@pytest.fixture(scope="module")
def klos() -> Iterator[str]:
    """Serve KLOS, stopped where it is ready, and no timer has let another program run yet."""
    words = ("--headless", "--append", "seed=1", "-c", "until klos_ready")
    with serving("run", *words, "--", *DETERMINISTIC) as path:
        yield path


@pytest.fixture(scope="module")
def moved() -> Iterator[str]:
    """Serve another, for tests that let it run or write to it."""
    with serving("run", "--headless", "--append", "seed=1", "-c", "until klos_ready") as path:
        yield path


@pytest.fixture
def raw() -> Iterator[Connect]:
    """Connect clients that speak packets, and let them vanish after the test."""
    with ExitStack() as clients:

        def connected(path: str) -> Raw:
            client = Raw(path)
            clients.callback(client.close)
            return client

        yield connected


def address(name: str) -> int:
    found = SymbolTable((Image(KLOS.read_bytes(), str(KLOS)),)).address(name)
    assert found is not None
    return found


@needs_gdb
def test_gdb_on_qemu_itself_falls_into_the_traps() -> None:
    """What the next test is about: gdb misses the breakpoint, and continuing does not advance."""
    loop = symbols()["loop"]
    with stub(running=False) as sockets:
        said = gdb(sockets["gdb"][5:], f"break *{loop:#x}", "c", "p $eip", "c", "p $eip")
    assert "Breakpoint 1, " not in said
    assert said.count(f"= (void (*)()) {loop - 0x100000:#x}") == 2, "it stands where it stood"


def test_qemu_itself_takes_one_client_and_stops_for_whoever_speaks() -> None:
    """What `serve` adds: the second client is answered, and reading stops nobody."""
    hello = encode(b"qSupported")
    with (
        stub(running=True) as sockets,
        closing(Qmp(sockets["qmp"])) as qmp,
        socket.socket(socket.AF_UNIX) as first,
    ):
        assert qmp.status() == "running"
        first.connect(sockets["gdb"][5:])
        first.settimeout(PATIENCE)
        until(lambda: qmp.status() == "paused")
        first.sendall(b"+" + hello)
        answered = b""
        while b"PacketSize=" not in answered:
            answered += first.recv(1000)
        with socket.socket(socket.AF_UNIX) as second:
            second.connect(sockets["gdb"][5:])
            second.settimeout(0.3)
            second.sendall(hello)
            with pytest.raises(TimeoutError):
                second.recv(100)


@needs_gdb
def test_breakpoints_hit_and_advance_where_the_code_base_is_not_zero() -> None:
    loop, counter = symbols()["loop"], symbols()["counter"]
    look = ("c", f"p *(int *) {counter:#x}")
    with stub(running=False) as sockets, serving("serve", sockets["gdb"]) as path:
        said = gdb(path, f"break *{loop:#x}", *look, *look, *look, "x/i $pc", "p $eip_offset")
    assert said.count("Breakpoint 1, ") == 3
    assert re.findall(r"^\$\d = (\d+)$", said, re.MULTILINE)[:3] == ["0", "1", "2"]
    assert f"=> {loop:#x}:" in said
    assert f"$4 = {loop - 0x100000}\n" in said


@needs_gdb
def test_a_stock_gdb_sees_the_system_registers(klos: str) -> None:
    said = gdb(klos, "p $gdtr_base", "p/x $ldtr", "p/x $tr_attr", "p/x $cs_limit",
               "info registers system", "info registers eip cr0 cs_base", image=KLOS)  # fmt: skip
    assert re.search(r"\$1 = \(void \*\) 0x[0-9a-f]+ <gdt>", said)
    assert re.findall(r"\$[234] = \w+", said) == ["$2 = 0x30", "$3 = 0x89", "$4 = 0xffffffff"]
    assert said.count("idtr_limit = 0x7ff") == 1
    assert re.search(r"cr0 +0x80010037", said)


@needs_gdb
def test_threads_of_klos_are_threads_of_gdb(klos: str) -> None:
    said = gdb(klos, "info threads", "thread 3", "bt", "monitor klos as-threads off",
               "maint flush register-cache", "info threads", image=KLOS)  # fmt: skip
    assert re.search(r'\* 1 +Thread 1 "system" \(process 1, running\) klos_ready', said)
    assert re.search(r'3 +Thread 3 "pong" .* app_pong \(\)', said)
    assert "#0  app_pong ()" in said
    assert "#1  0x" in said, "its stack is read in its own address space"
    assert said.rstrip().count('"processor"') == 1


@needs_gdb
def test_info_os_shows_the_tables(klos: str) -> None:
    said = gdb(klos, *(f"info os {name}" for name in ("gdt", "ldt", "idt", "processes", "events")),
               "info os", "info os nothing")  # fmt: skip
    assert re.search(r"^3 +0x18 +code +csos +3 ", said, re.MULTILINE)
    assert re.search(r"^48 .*interrupt-gate|^48 .*trap-gate", said, re.MULTILINE)
    assert re.search(r"^2 +ping +ready", said, re.MULTILINE)
    assert "relocations KLOS's relocations" in said


def test_the_monitor_prints_what_the_shell_prints(klos: str, raw: Connect) -> None:
    client = raw(klos)
    session = Session(timeout=PATIENCE, symbols=SymbolTable((Image(KLOS.read_bytes(), str(KLOS)),)))
    session.attach(connect(f"unix:{klos}"))
    try:
        for line in SAME_AS_THE_SHELL:
            assert client.monitor(f"klos {line}") == shown(session, line), line
    finally:
        session.detach()


def shown(session: Session, line: str) -> str:
    out = io.StringIO()
    said: list[str] = []
    session.warn = said.append
    try:
        Frontend(session, out).run_line(line)
    except Exception as error:  # noqa: BLE001
        said.append(str(error))
    return out.getvalue() + "".join(f"klosdbg: {message}\n" for message in said)


@needs_gdb
def test_qemus_monitor_answers_what_is_harmless(klos: str) -> None:
    refused = ("system_reset", "info usbhost; quit", "pmemsave 0 1 /tmp/x")
    asked = ("info registers", "xp /1wx 0", *refused, "help")
    said = gdb(klos, *(f"monitor {line}" for line in asked))
    assert "GDT=" in said
    assert "0000000000000000: 0x" in said
    assert said.count("is not passed on to QEMU") == 3
    assert "monitor klos control" in said


def test_observers_read_and_cannot_change(klos: str, raw: Connect) -> None:
    controller, observer = raw(klos), raw(klos)
    ready = address("klos_ready")
    assert observer.ask(b"m%x,4" % ready) == controller.ask(b"m%x,4" % ready)
    assert observer.ask(b"g") == controller.ask(b"g")
    for refused in (b"Z0,%x,1" % ready, b"M%x,1:90" % ready, b"P0=00000000", b"vCont;s", b"s"):
        assert observer.ask(refused).startswith(b"E."), refused
    for refused in ("b klos_ready", "c", "set eax 1", "mailbox ping 1", "reset"):
        assert "this client observes" in observer.monitor(f"klos {refused}"), refused
    assert "would end the server" in controller.monitor("klos quit")
    assert "observes" in observer.monitor("klos clients")


def test_control_is_handed_over_and_breakpoints_go_with_their_owner(
    moved: str, raw: Connect
) -> None:
    first, second = raw(moved), raw(moved)
    gate = address("return_gate")
    first.ask(b"qSupported:swbreak+")
    assert first.ask(b"Z0,%x,1" % gate) == b"OK"
    assert first.ask(b"Z0,%x,1" % gate) == b"OK", "twice is once"
    assert "klos_ready" in first.monitor("klos b klos_ready")
    second.send(b"vCont;c")
    reply = first.stop(b"vCont;c")
    assert re.fullmatch(rb"T05thread:[0-9a-f]+;swbreak:;", reply)
    assert second.stop(b"?").startswith(b"T05"), "who follows is told as well"
    assert second.receive().startswith(b"T05")
    assert second.monitor("klos control") == "this client has control\n"
    assert first.ask(b"s").startswith(b"E.")
    second.send(b"vCont;c")
    second.socket.settimeout(0.3)
    with pytest.raises(TimeoutError):
        second.receive()
    second.socket.settimeout(PATIENCE)
    second.socket.sendall(b"\x03")
    assert second.receive().startswith(b"T02")
    assert second.ask(b"Z1,%x,1" % gate) == b"OK"
    second.close()
    first.monitor("klos control")
    first.send(b"c")
    first.socket.settimeout(0.3)
    with pytest.raises(TimeoutError):
        first.receive()
    first.socket.settimeout(PATIENCE)
    first.socket.sendall(b"\x03")
    assert first.receive().startswith(b"T02")


def test_a_waiting_command_holds_nobody_up_and_ctrl_c_ends_it(moved: str, raw: Connect) -> None:
    controller, observer = raw(moved), raw(moved)
    controller.send(b"qRcmd," + b"klos c".hex().encode())
    until(lambda: "controls" in observer.monitor("klos clients"))
    assert "running" in observer.monitor("info status")
    assert len(observer.ask(b"m%x,4" % address("klos_ready"))) == 8, "read while it runs"
    assert "still runs" in observer.monitor("klos control")
    controller.socket.sendall(b"\x03")
    said = controller.receive()
    assert bytes.fromhex(said[1:].decode()).startswith(b"interrupt:")
    assert controller.receive() == b"OK"


def test_a_client_that_vanishes_in_its_own_command_harms_nobody(moved: str, raw: Connect) -> None:
    controller, observer = raw(moved), raw(moved)
    controller.send(b"qRcmd," + b"klos c".hex().encode())
    until(lambda: "running" in observer.monitor("info status"))
    controller.close()
    until(lambda: "controls" not in observer.monitor("klos clients"))
    until(lambda: "paused" in observer.monitor("info status"))
    assert observer.monitor("klos control") == "this client has control\n"
    assert observer.ask(b"Z0,%x,1" % address("return_gate")) == b"OK"
    assert re.fullmatch(rb"T05thread:[0-9a-f]+;", observer.stop(b"c"))


def test_packets_are_larger_than_qemus(klos: str, raw: Connect) -> None:
    client = raw(klos)
    features = dict(item.partition(b"=")[::2] for item in client.ask(b"qSupported").split(b";"))
    assert int(features[b"PacketSize"], 16) > 0x1000
    assert len(client.ask(b"m%x,1800" % address("klos_ready"))) == 0x3000
    binary = client.ask(b"x%x,1800" % address("klos_ready"))
    assert binary[:1] == b"b"
    assert binary[1:].hex().encode() == client.ask(b"m%x,1800" % address("klos_ready"))


@needs_gdb
@needs_lldb
def test_gdb_lldb_and_our_own_client_at_once(moved: str) -> None:
    gate = address("return_gate")
    ours = connect(f"unix:{moved}")
    assert ours.control is not None
    commands = [f"process connect -p gdb-remote unix-connect://{moved}",
                "register read eip gdtr_base", f"disassemble -s {gate:#x} -c 2",
                "process plugin packet monitor klos control",
                f"breakpoint set -a {gate:#x}", "continue", "thread list", "detach"]  # fmt: skip
    words = [word for command in commands for word in ("-o", command)]
    start = ["lldb", "--no-lldbinit", "-b", *words]
    with subprocess.Popen(start, stdout=subprocess.PIPE, text=True) as lldb:
        try:
            said = gdb(moved, "p $gdtr_base", f"x/2i {gate:#x}", "monitor klos clients", image=KLOS)
            out = lldb.communicate(timeout=PATIENCE)[0]
        finally:
            lldb.kill()
    assert ours.registers.read().gdtr.limit == 0xFFFF
    ours.close()
    assert "gdtr_base = 0x" in out
    assert "cli" in out
    assert "<gdt>" in said
    assert "cli" in said
    assert "observes" in said


def test_our_own_client_stops_whatever_thread_runs(moved: str) -> None:
    """The server's threads are KLOS's; a client that wants processors says so."""
    b = f"b {address('return_gate'):#x}"
    result = klosdbg("attach", f"unix:{moved}", "-c", b, *("-c", "c") * 4)
    assert result.code == 0, result.err
    assert result.out.count("breakpoint 1: ring 0") == 4


@needs_gdb
def test_the_monitor_keeps_the_quotes_of_a_condition(moved: str) -> None:
    event = 'event 48 if process == "ping"'
    said = gdb(moved, "monitor klos control", f"monitor klos b {event}", "monitor klos info b")
    assert event in said


def test_a_selector_is_written_only_where_the_processor_would_load_it(
    moved: str, raw: Connect
) -> None:
    client = raw(moved)
    description = client.ask(b"qXfer:features:read:target.xml:0,4000")[1:]
    names = re.findall(rb'<reg name="(\w+)"', description)

    def write(name: bytes, value: int) -> bytes:
        return client.ask(
            b"P%x=%b" % (names.index(name), value.to_bytes(4, "little").hex().encode())
        )

    was_cs = client.ask(b"p%x" % names.index(b"cs"))
    at_cpl_3 = was_cs.startswith(b"1b")
    for name, value, why in (
        (b"ds", 0x48, b"#NP"),
        (b"es", 0x28, b"no code or data"),
        (b"ss", 0, b"null"),
        (b"gs", 0xFFF8, b"#NP"),
        (b"cs", 0x20, b"#GP"),
    ):
        assert why in write(name, value), (name, value)
    assert write(b"gs", 0) == b"OK"
    assert write(b"gs", 0x23) == b"OK"
    assert client.ask(b"p%x" % names.index(b"gs")) == b"23000000"
    assert (b"#GP" in write(b"fs", 0x10)) == at_cpl_3
    assert client.ask(b"p%x" % names.index(b"cs")) == was_cs


@needs_gdb
def test_a_capture_is_served_read_only(tmp_path: Path) -> None:
    capture = tmp_path / "bug.klos"
    ran = klosdbg("capture", "-o", str(capture), "--headless", "-c", "until klos_ready")
    assert ran.code == 0, ran.err
    with serving("serve", str(capture), "--symbols", str(KLOS)) as path:
        said = gdb(path, "info threads", "x/i $pc", "info os ldt", "stepi", "c",
                   "monitor klos snaps", image=KLOS)  # fmt: skip
    assert re.search(r"\* 1 +Thread .* klos_ready", said)
    assert "<klos_ready>" in said
    assert said.count("cannot run: it is a recording") == 2


@needs_gdb
def test_gdb_goes_back_in_a_replay(tmp_path: Path) -> None:
    capture = tmp_path / "bug.klos"
    words = ("-o", str(capture), "--deterministic", "--headless", "-c", "until klos_ready")
    ran = klosdbg("capture", *words, "--", "-m", "32")
    assert ran.code == 0, ran.err
    with serving("replay", str(capture), "--headless", "-c", "until klos_ready") as path:
        said = gdb(path, "stepi", "reverse-stepi", "p $pc", "stepi", "p $pc", image=KLOS)
    assert "this is where the recording ends" in said
    assert re.search(r"\$1 = .* <system_main\+", said)
    assert re.search(r"\$2 = .* <klos_ready>", said)


@needs_gdb
def test_gdb_finds_without_reading(klos: str, raw: Connect) -> None:
    info = address("klos_info")
    start = info & ~0xFFF
    said = gdb(klos, f"find {start:#x}, +0x2000, 'K', 'L', 'O', 'S', 'I', 'N', 'F', 'O'",
               f"find {start:#x}, +0x100, 0x12345678", image=KLOS)  # fmt: skip
    assert f"{info:#x} <klos_info>" in said
    assert said.count("Pattern not found.") == 1
    client = raw(klos)
    assert client.ask(b"qSearch:memory:%x;8;KLOSINFO" % info) == b"1,%x" % info
    assert client.ask(b"qSearch:memory:30000000;8;KLOSINFO").startswith(b"E")
    assert client.ask(b"qCRC:%x,ffffffffffff" % info).startswith(b"E")


@needs_gdb
def test_gdb_compares_sections_without_reading() -> None:
    loop = symbols()["loop"]
    with stub(running=False) as sockets, serving("serve", sockets["gdb"]) as path:
        said = gdb(path, f"break *{loop:#x}", "c", "c", "compare-sections", image=image())
    assert re.search(r"Section .text, range 0x\w+ -- 0x\w+: matched\.", said)
    assert re.search(r"Section .data, range 0x\w+ -- 0x\w+: MIS-MATCHED!", said)


@needs_gdb
def test_non_stop_is_refused_clearly(klos: str) -> None:
    said = gdb(klos, "p $pc", image=KLOS, line="set non-stop on")
    assert "Non-stop mode requested, but remote does not support non-stop" in said
