"""gdb, lldb and radare2 at once on one running KLOS: three clients, written independently."""

import os
import re
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest
from klosdbg.wire.symbols import Image, SymbolTable
from tests.live.driver import KLOS, needs_klos
from tests.live.patience import PATIENCE, until
from tests.live.radare2 import R2, libraries
from tests.live.serving import serving
from tests.live.tiny import needs_qemu

pytestmark = [
    pytest.mark.qemu,
    needs_qemu,
    needs_klos,
    pytest.mark.skipif(shutil.which("gdb") is None, reason="no gdb: apt install gdb"),
    pytest.mark.skipif(shutil.which("lldb") is None, reason="no lldb: apt install lldb"),
    pytest.mark.skipif(libraries() is None, reason="no radare2: pip install r2libr"),
]

REGISTERS = ("eax", "edx", "esp", "ebp", "eip", "cs", "ss", "cr3", "gdtr_base")


@dataclass(frozen=True)
class Language:
    """What is typed to a client, and what it then says. ``{}`` is an address."""

    program: tuple[str, ...]
    connect: str
    connected: str
    monitor: str
    register: str
    memory: str
    listing: str
    breakpoint: str
    is_set: str
    resume: str
    hit: str
    told: str
    forget: str
    forgotten: str
    end: str


GDB = Language(
    program=("gdb", "-nx", "-q", "-iex", "set width 0", "-iex", "set confirm off"),
    connect="target remote 127.0.0.1:{}",
    connected=r"0x[0-9a-f]+ in ",
    monitor="monitor klos {}",
    register='printf "{0} is 0x%x\\n", ${0}',
    memory="x/8xb {}",
    listing="x/2i {}",
    breakpoint="break *{}",
    is_set=r"Breakpoint \d+ at",
    resume="continue",
    hit=r"Breakpoint \d+, 0x[0-9a-f]+ in",
    told="received signal SIGTRAP",
    forget="delete",
    forgotten="",
    end=r"\(gdb\) ",
)
LLDB = Language(
    program=("lldb", "--no-lldbinit", "--no-use-colors"),
    connect="gdb-remote {}",
    connected=r"stop reason = .*\n.*frame #0",
    monitor="process plugin packet monitor klos {}",
    register="register read {0}",
    memory="memory read -s 1 -c 8 {}",
    listing="disassemble -s {} -c 2",
    breakpoint="breakpoint set -a {}",
    is_set=r"Breakpoint \d+: address",
    resume="continue",
    hit=r"stop reason = breakpoint",
    told=r"stop reason = signal SIGTRAP",
    forget="breakpoint delete -f",
    forgotten=r"breakpoints removed",
    end="",
)
RADARE2 = Language(
    program=(*R2, "-N", "-q0", "-e", "scr.color=0", "-e", "dbg.bpinmaps=0", "-b", "32",
             "-D", "gdb", "gdb://127.0.0.1:{}"),
    connect="",
    connected="",
    monitor="=!monitor klos {}",
    register="dr {0}",
    memory="px 8 @ {}",
    listing="pi 2 @ {}",
    breakpoint="db {}",
    is_set="",
    resume="dc",
    hit=r"hit breakpoint at: 0x[0-9a-f]+\n",
    told="",
    forget="db-*",
    forgotten="",
    end=r"\0",
)  # fmt: skip


@dataclass
class Client:
    """A client that runs: it is typed to, and read."""

    language: Language
    process: subprocess.Popen[bytes]
    text: str = ""

    def type(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def expect(self, pattern: str) -> str:
        """Wait until the pattern and the answer's end have been written, and take all to there."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + PATIENCE
        whole = f"{pattern}[^\\0]*?{self.language.end}"
        while not (found := re.search(whole, self.text)):
            left = max(0.0, deadline - time.monotonic())
            ready, _, _ = select.select([self.process.stdout], [], [], left)
            data = os.read(self.process.stdout.fileno(), 1 << 16) if ready else b""
            assert data, f"{self.language.program[0]}: no {pattern!r} in {self.text!r}"
            self.text += data.decode()
        taken, self.text = self.text[: found.end()], self.text[found.end() :]
        return taken

    def ask(self, line: str, pattern: str) -> str:
        self.type(line)
        return self.expect(pattern)

    def register(self, name: str) -> int:
        value = rf"(?:\b{name} (?:is|=) |^)0x[0-9a-f]+\s"
        said = self.ask(self.language.register.format(name), value)
        return int(re.findall(value, said)[-1].rpartition("0x")[2], 16)

    def memory(self, address: int) -> str:
        """Read eight bytes; return their digits."""
        eight = rf"{address:x}:?\s+((?:(?:0x)?[0-9a-f]{{2}}\s?){{8}})\s"
        said = self.ask(self.language.memory.format(hex(address)), eight)
        return re.sub(r"0x|\s", "", re.findall(eight, said)[-1])

    def listing(self, address: int) -> None:
        self.ask(self.language.listing.format(hex(address)), r"\bcli\b\s[^\0]*\bcld\b")

    def take_control(self) -> None:
        self.ask(self.language.monitor.format("control"), "this client has control")

    def clients(self) -> str:
        """List who is connected: this client, and who observes."""
        return self.ask(self.language.monitor.format("clients"), r"(?:[* ] \d  \w+s.*\n){3}")


@contextmanager
def client(language: Language, port: str) -> Iterator[Client]:
    """Run a client at the server's port."""
    words = [word.format(port) for word in language.program]
    process = subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        started = Client(language, process)
        if language.connect:
            started.type(language.connect.format(port))
        started.expect(language.connected)
        yield started
    finally:
        process.kill()
        process.communicate()


def test_gdb_lldb_and_radare2_at_once() -> None:
    """Each reads the same; each in its turn controls, and all three are told where it stopped."""
    gate = SymbolTable((Image(KLOS.read_bytes(), str(KLOS)),)).address("return_gate")
    assert gate is not None
    run = ("run", "--headless", "--append", "seed=1", "-c", "until klos_ready")
    with serving(*run, listen="127.0.0.1:0") as port, ExitStack() as stack:
        clients = [stack.enter_context(client(each, port)) for each in (GDB, LLDB, RADARE2)]
        agree(clients, gate)
        # A client steps off a breakpoint where it stands, and observers are told of the step.
        for controller, at in zip(clients, (gate, gate + 2, gate), strict=True):
            in_turn(controller, [each for each in clients if each is not controller], at)
            assert agree(clients, gate)["eip"] == at


def agree(clients: list[Client], address: int) -> dict[str, int]:
    """Check that all see the same registers, memory and instructions."""
    seen = [{name: each.register(name) for name in REGISTERS} for each in clients]
    assert seen[0] == seen[1] == seen[2]
    assert len({each.memory(address) for each in clients}) == 1
    for each in clients:
        each.listing(address)
    return seen[0]


def in_turn(controller: Client, observers: list[Client], address: int) -> None:
    """Let one control: it breaks and is told; so are the others, who followed it."""
    phrase = controller.language
    controller.take_control()
    controller.ask(phrase.breakpoint.format(hex(address)), phrase.is_set)
    for each in observers:
        each.type(each.language.resume)
    until(lambda: controller.clients().count("waits for a stop") == len(observers))
    controller.ask(phrase.resume, phrase.hit)
    for each in observers:
        each.expect(each.language.told)
    controller.ask(phrase.forget, phrase.forgotten)
