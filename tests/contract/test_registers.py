"""What each adapter's registers promise: the same object, as long as the guest stands still.

Those of a guest that runs, read through QMP, are of one moment and promise nothing.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest
from klosdbg.ports import Target
from klosdbg.targets.capture import open_capture
from klosdbg.targets.dump import open_dump
from klosdbg.targets.live import connect
from klosdbg.targets.qemu import QemuOptions, start_qemu
from klosdbg.targets.replay import start_replay
from klosdbg.targets.rsp import greet
from klosdbg.targets.rsp_link import RspLink
from klosdbg.wire.rsp import encode
from tests.live.driver import driving, klosdbg, stub
from tests.live.tiny import image, needs_qemu
from tests.wire.fake_stub import REGISTERS, FakeStub, command, printed

needs_qemu_img = pytest.mark.skipif(
    shutil.which("qemu-img") is None, reason="no qemu-img: apt install qemu-utils"
)

Opened = Iterator[Target]


@contextmanager
def behind_a_stub(_directory: Path) -> Opened:
    values = [b"00000000"]

    def write(request: bytes) -> list[bytes]:
        values.append(request.partition(b"=")[2])
        return [encode(b"OK")]

    def registers(_request: bytes) -> list[bytes]:
        eax = int.from_bytes(bytes.fromhex(values[-1].decode()), "little")
        return printed(REGISTERS.replace("EAX=00000000", f"EAX={eax:08x}"))

    answers = {b"P": write, b"p": lambda _: [encode(values[-1])]}
    fake = FakeStub({**answers, command("info registers"): registers})
    try:
        yield greet(RspLink(fake.client, "stub")).target
    finally:
        fake.close()


@contextmanager
def attached(_directory: Path) -> Opened:
    with stub(running=False) as where, closing(connect(where["gdb"], where["qmp"])) as target:
        yield target


@contextmanager
def started(_directory: Path) -> Opened:
    with closing(start_qemu(QemuOptions(image=image(), headless=True))) as target:
        yield target


@contextmanager
def of_two_processors(_directory: Path) -> Opened:
    options = QemuOptions(image=image("smp"), headless=True, extra_args=("-smp", "2"))
    with closing(start_qemu(options)) as target:
        yield target


@contextmanager
def snapshot(_directory: Path) -> Opened:
    with driving(image()) as driver:
        driver.line("snap")
        driver.line("at 1")
        assert driver.session.target is not driver.session.live
        yield driver.session.target


@contextmanager
def dumped(directory: Path) -> Opened:
    core = directory / "core"
    with driving(image()) as driver:
        assert driver.session.target.monitor is not None
        driver.session.target.monitor.command(f"dump-guest-memory {core}")
    with closing(open_dump(core)) as target:
        yield target


@contextmanager
def replayed(directory: Path) -> Opened:
    path = directory / "bug.klos"
    words = ("--image", str(image()), "--deterministic", "--headless", "-c", "s 5")
    shown = klosdbg("capture", "-o", str(path), *words)
    assert shown.code == 0, shown.err
    with closing(start_replay(open_capture(path), path.name, headless=True)[0]) as target:
        yield target


ADAPTERS = [
    behind_a_stub,
    *(
        pytest.param(adapter, marks=[pytest.mark.qemu, needs_qemu])
        for adapter in (attached, started, of_two_processors, snapshot, dumped)
    ),
    pytest.param(replayed, marks=[pytest.mark.qemu, needs_qemu, needs_qemu_img]),
]


@pytest.fixture(params=ADAPTERS)
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Target]:
    adapter: Callable[[Path], AbstractContextManager[Target]] = request.param
    with adapter(tmp_path) as opened:
        yield opened


def test_they_are_the_same_until_the_guest_moves(target: Target) -> None:
    first = target.registers.read()
    target.linear.read_many([(first.linear_pc & ~0xF, 16)])
    assert target.registers.read() is first
    if target.control is None:
        return
    assert target.control.wait(0) is not None
    target.control.insert(0x1000)
    target.control.remove(0x1000)
    assert target.registers.read() is first
    target.control.step()
    second = target.registers.read()
    assert second is not first
    assert target.registers.read() is second


def test_they_are_others_after_a_write(target: Target) -> None:
    if target.register_writer is None:
        assert target.read_only, "it cannot be written, and says why"
        return
    first = target.registers.read()
    target.register_writer.write("eax", 0x1234)
    second = target.registers.read()
    assert second is not first
    assert second.gpr["eax"] == 0x1234
    assert target.registers.read() is second
