"""Bad input ends in one line that says what to do, the right exit code, and no QEMU left behind."""

import io
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from klosdbg.errors import KlosdbgError, TargetLost
from klosdbg.session import Session
from klosdbg.targets.rsp import greet
from klosdbg.targets.rsp_link import RspLink
from klosdbg.wire.rsp import encode
from tests.live.driver import (
    Driver,
    Result,
    assert_fits,
    driving,
    klosdbg,
    launched,
    run_tiny,
    stub,
)
from tests.live.patience import PATIENCE
from tests.live.terminal import children
from tests.live.test_qemu import wait_until_dead
from tests.live.tiny import image, needs_qemu, set_mode
from tests.wire.fake_stub import FakeStub, command

pytestmark = [pytest.mark.qemu, needs_qemu]


def assert_one_line(result: Result, code: int, *words: str) -> None:
    """Check the exit code, and that one line on standard error holds the words."""
    assert result.code == code, result
    assert result.err.startswith("klosdbg: ")
    assert result.err.count("\n") == 1, result.err
    assert "Traceback" not in result.err
    for word in words:
        assert word in result.err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["run", "--image", "{absent}"], 2, "cannot read the image {absent}: no such file"),
        (["run", "--image", __file__], 2, "is not an ELF image"),
        (["run", "--image", "none", "--qemu", "nonsense"], 3, "brew install qemu)"),
        (["run", "--image", "none", "--", "-nonsense"], 3, "-nonsense: invalid option"),
        (["run", "--symbols", "{absent}"], 2, "check its path"),
        (["run", "--symbols", "nothing@x"], 2, "ELF@0x100000"),
        (["run", "--image", "none", "-x", "{absent}"], 2, "script {absent}: no such file"),
        (["run", "--image", "none", "-x", "/"], 2, "script /: is a directory"),
        (["run", "--timeout", "soon"], 2, "klosdbg run --help"),
        (["attach", "127.0.0.1:{port}"], 3, "refused; start QEMU with '-gdb tcp::{port}'"),
        (["attach", "unix:{absent}"], 3, "no such file or directory; start QEMU with"),
        (["attach", "nonsense"], 2, "write host:port or unix:PATH"),
        (["attach", "127.0.0.1:65536"], 3, "cannot connect"),
        (["open"], 2, "klosdbg open --help"),
        ([], 2, "klosdbg --help"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_the_command_line(
    words: list[str], code: int, said: str, short_path: Path, dead_port: int
) -> None:
    """What cannot be opened or understood."""
    places = {"absent": short_path / "absent", "port": dead_port}
    words = [word.format_map(places) for word in words]
    at = words.index("--") if "--" in words else len(words)
    commands = ["-c", "regs"] if words[:1] in (["run"], ["attach"]) else []
    result = klosdbg(*words[:at], *commands, *words[at:])
    assert_one_line(result, code, said.format_map(places))


@pytest.fixture(scope="module")
def tiny() -> Iterator[Driver]:
    """The tiny guest in its loop."""
    with driving(image()) as driver:
        driver.line("until loop")
        yield driver


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("nonsense", 2, "'help' lists the commands"),
        ("reg", 2, "did you mean regs"),
        ("mem 'x", 2, "no closing quotation"),
        ("mem", 2, "help mem"),
        ("mem loop 0", 2, "between 1 and"),
        ("mem loop 16 -w 3", 2, "invalid choice"),
        ("mem lop", 1, "did you mean loop"),
        ("mem 1b", 1, "write 0x1b"),
        ("mem loop+", 1, "write symbol+n"),
        ("mem 0x100000000", 1, "between 0 and 0xffffffff"),
        ("mem gs:0", 1, "gs: there is"),
        ("mem 0x18:0", 1, "past the GDT's limit 0x17"),
        ("mem x:0", 1, "write 0x1b or ds"),
        ("mem 0x500000", 1, "not mapped"),
        ("dis 0x500000", 1, "not mapped"),
        ("dis phys:0", 1, "linear"),
        ("b nonsense", 1, "no symbol"),
        ("del 7", 1, "'info b' lists them"),
        ("until 7x", 1, "no symbol"),
        ("sel nonsense", 1, "a role (dsos)"),
        ("sel 0x12345", 1, "16 bits"),
        ("gdt 3", 1, "its limit is 0x17, so the last is 2"),
        ("idt 33", 1, "so the last is 32"),
        ("ldt", 1, "LDTR holds selector"),
        ("tss", 1, "LTR"),
        ("iomap", 1, "LTR"),
        ("port 0x10000", 1, "0xffff"),
        ("port 8/3", 1, "1, 2 or 4 bytes"),
        ("port x", 1, "not a number"),
        ("set eax", 2, "help set"),
        ("set 0x500000 1", 1, "not mapped"),
        ("set eax 0x100000000", 1, "32 bits"),
        ("s 0", 2, "at least 1"),
        ("help nonsense", 1, "'help' lists them"),
        ("console extra", 2, "help console"),
    ],
)
def test_commands(tiny: Driver, line: str, code: int, said: str) -> None:
    """Each is refused in one line, and the session goes on."""
    if line == "mem gs:0":
        tiny.line("set gs 0")
        said = "gs is null"
    with pytest.raises(KlosdbgError) as caught:
        tiny.line(line)
    assert said in str(caught.value)
    assert caught.value.exit_code == code
    assert "\n" not in str(caught.value)
    assert tiny.models("regs")["cpl"] == 0


def test_table_registers_that_lead_nowhere() -> None:
    """Limits of 0 and 0xFFFF, an entry cut in two, tables whose memory is not mapped."""
    with driving(image("tables")) as driver:
        driver.line("until whole")
        assert sum(entry["count"] for entry in driver.models("gdt")["entries"]) == 8192
        idt = driver.models("idt")
        assert (idt["limit"], idt["entries"], idt["cut"]) == (0, [], True)
        driver.line("until cut")
        assert (len(driver.models("gdt")["entries"]), driver.models("gdt")["cut"]) == (1, True)
        assert "ends inside entry 1" in driver.line("gdt")
        assert driver.models("sel 8")["descriptor"] is None
        driver.line("until none")
        assert driver.models("gdt")["entries"] == []
        with pytest.raises(KlosdbgError, match="which reaches none"):
            driver.line("gdt 0")
        driver.line("until unmapped")
        for line in ("gdt", "idt"):
            with pytest.raises(KlosdbgError, match=r"is not mapped: compare .dtr and cr3"):
                driver.line(line)
        for line in ("sregs", "sel 8", "regs", "s", "dis"):
            assert_fits(driver.line(line))


def test_a_table_of_which_a_part_is_mapped() -> None:
    """What can be read is shown, what cannot is named."""
    with driving(image("tables")) as driver:
        driver.line("until half")
        gdt = driver.models("gdt")
        assert gdt["missing"] == [[512, 8191]]
        assert sum(entry["count"] for entry in gdt["entries"]) == 512
        assert "entries 512 to 8191 are not mapped" in driver.line("gdt")
        with pytest.raises(KlosdbgError, match="entry 600 of the GDT is not mapped"):
            driver.line("gdt 600")


def test_a_triple_fault() -> None:
    """The guest stays to be looked at; it cannot run on; a reset starts it again."""
    with driving(image()) as driver:
        driver.line("until loop")
        set_mode(driver.session.target, 2)
        with pytest.raises(KlosdbgError, match=r"shut down at 0008:.*'reset'") as caught:
            driver.line("c")
        assert caught.value.exit_code == 1
        assert "shutdown: ring 0" in driver.out.getvalue()  # type: ignore[attr-defined]
        assert driver.models("regs")["idtr"]["limit"] == 0
        driver.line("gdt")
        with pytest.raises(KlosdbgError, match="'reset' starts it again"):
            driver.line("c")
        driver.line("reset")
        assert driver.models("until loop")["symbol"] == "loop"


def test_a_triple_fault_ends_a_batch() -> None:
    """One line, exit code 1."""
    result = run_tiny("until loop", "set mode 2", "c", "regs")
    assert_one_line(result, 1, "the guest shut down at 0008:")
    assert result.out.splitlines()[-2].startswith("shutdown: ring 0")


def test_a_timeout_says_where_it_stood() -> None:
    """One line, exit code 1."""
    result = run_tiny("until 0x5", extra=("--timeout", "0.3"))
    assert_one_line(result, 1, "0x5 was not reached", "it stood at 00", "--timeout 0")


def test_qemu_dies_in_the_middle_of_a_command() -> None:
    """The run ends with exit code 3, and one line says how to start again."""
    words = ("-c", "s", "-c", "c", "-c", "regs")
    with (
        stub(running=True) as place,
        launched("attach", place["gdb"], "--qmp", place["qmp"], *words) as process,
    ):
        assert process.stdout is not None
        process.stdout.readline()
        os.kill(int(place["pid"]), signal.SIGKILL)
        out, err = process.communicate(timeout=PATIENCE)
    assert_one_line(Result(process.returncode, out, err), 3, "lost unix:", "klosdbg attach")


def test_qemu_dies_under_klosdbg() -> None:
    """The line says how QEMU ended."""
    with driving(image()) as driver:
        driver.line("until loop")
        pid = driver.session.target.monitor
        assert pid is not None
        driver.line("c &")
        for child in children(os.getpid()):
            if b"tiny.elf" in Path(f"/proc/{child}/cmdline").read_bytes():
                os.kill(child, signal.SIGKILL)
        with pytest.raises(TargetLost, match=r"lost tiny.elf: QEMU ended \(signal 9\)"):
            driver.line("c")


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"$zz#00", b"\x00" * 99])
def test_a_target_that_answers_garbage(answer: bytes) -> None:
    """It is no GDB stub, and klosdbg says so."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection, suppress(ConnectionError):
                connection.recv(100)
                connection.sendall(answer * 9)
                while connection.recv(4096):
                    connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        result = klosdbg("attach", f"127.0.0.1:{server.getsockname()[1]}", "-c", "regs")
    assert_one_line(result, 3)


def test_a_stub_in_use() -> None:
    """Two debuggers cannot share a stub."""
    with stub(running=False) as place, socket.socket(socket.AF_UNIX) as other:
        other.connect(place["gdb"].removeprefix("unix:"))
        result = klosdbg("attach", place["gdb"], "-c", "regs")
    assert_one_line(result, 3, "in use by another debugger?")


@pytest.mark.parametrize(
    ("line", "request_", "reply"),
    [
        ("regs", command("info registers"), b"O" + b"nonsense".hex().encode()),
        ("mem 0x1000", b"m", b"xyz"),
        ("mem 0x1000", b"m", b""),
        ("gdt", b"m", b"00"),
    ],
)
def test_garbage_in_the_middle(line: str, request_: bytes, reply: bytes) -> None:
    """A stub that goes wrong after a good start."""
    replies = [encode(reply), encode(b"OK")] if reply.startswith(b"O") else [encode(reply)]
    fake = FakeStub({request_: replies})
    session = Session(timeout=PATIENCE)
    session.attach(greet(RspLink(fake.client, "fake")).target)
    with pytest.raises(KlosdbgError) as caught:
        Driver(session, io.StringIO()).line(line)
    assert "\n" not in str(caught.value)
    fake.close()


def test_ctrl_c_in_batch() -> None:
    """The exit code is 130, and QEMU goes too."""
    words = ["run", "--headless", "--image", str(image()), "-c", "until loop", "-c", "c"]
    with launched(*words) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.readline()
        (qemu,) = children(process.pid)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert wait_until_dead(qemu)
