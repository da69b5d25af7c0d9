"""Memory through the guest's shared RAM, against the same through the stub."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from klosdbg.ports import Target
from klosdbg.targets.live import SharedMemory
from klosdbg.targets.qemu import QemuOptions, start_qemu
from klosdbg.targets.shared_ram import RamMemory, share
from tests.build import make
from tests.live.klos import GUEST, IMAGE
from tests.live.patience import PATIENCE
from tests.live.tiny import needs_qemu

pytestmark = [pytest.mark.qemu, needs_qemu]
GDT_PAGES = 16


@pytest.fixture
def klos() -> Iterator[Target]:
    make(GUEST)
    target = start_qemu(QemuOptions(image=IMAGE, append="seed=7", headless=True))
    control = target.control
    assert control is not None
    listing = subprocess.check_output(["nm", IMAGE], text=True)
    ready = next(int(r.split()[0], 16) for r in listing.splitlines() if r.endswith(" klos_ready"))
    control.insert(ready)
    control.resume()
    control.wait(PATIENCE)
    yield target
    target.close()


def stub(memory: object) -> object:
    """What reads where RAM cannot be shared."""
    assert isinstance(memory, SharedMemory | RamMemory)
    return memory._rest


def test_linear_memory_is_what_the_stub_reads(klos: Target) -> None:
    """Mapped and unmapped pages, across pages, and where video memory and ROMs lie."""
    gdt = klos.registers.read().gdtr.base
    requests = [(gdt + 4096 * i, 4096) for i in range(GDT_PAGES)]
    requests += [(gdt - 3, 7), (gdt + 4093, 8200), (0x00400000, 64), (0xC00B8000, 4000)]
    requests += [(0xC009FFFC, 8), (0xC00FFFF0, 32), (0xFF800F98, 0x2069), (0xF0001FF0, 32)]
    requests += [(0xF0000FF8, 16), (0xFFFFFFF0, 16)]
    found = klos.linear.read_many(requests)
    assert found == stub(klos.linear).read_many(requests)  # type: ignore[attr-defined]
    assert None in found
    assert isinstance(found[0], bytes)


def test_physical_memory_is_what_the_stub_reads(klos: Target) -> None:
    assert klos.physical is not None
    requests = [(0x100000, 65536), (0x9FFF0, 32), (0xB8000, 4000), (0xF0000, 4096), (0, 1024)]
    found = klos.physical.read_many(requests)
    assert found == stub(klos.physical).read_many(requests)  # type: ignore[attr-defined]


def test_a_page_table_that_changes_is_noticed(klos: Target) -> None:
    """A page goes and comes back; what was known of it is not believed."""
    cpu = klos.registers.read()
    page = 0xF0001000
    table = int.from_bytes(klos.physical.read(cpu.cr3 + (page >> 22) * 4, 4), "little") & ~0xFFF
    entry = 0xC0000000 + table + (page >> 12 & 0x3FF) * 4
    before = klos.linear.read(page, 16)
    pte = klos.linear.read(entry, 4)
    klos.linear_writer.write(entry, bytes(4))
    assert klos.linear.read_many([(page, 16)]) == [None]
    klos.linear_writer.write(entry, pte)
    assert klos.linear.read(page, 16) == before


def test_a_running_guest_is_read_without_a_stop(klos: Target) -> None:
    """The tick counter goes on while we look."""
    cpu = klos.registers.read()
    klos.control.resume()
    pages = [(cpu.gdtr.base + 4096 * i, 4096) for i in range(GDT_PAGES)]
    assert all(klos.linear.read_many(pages))
    assert klos.control.running


def test_the_file_has_no_name_any_more(klos: Target) -> None:
    assert klos.physical is not None
    mapped = Path("/proc/self/maps").read_text()
    ours = [row for row in mapped.splitlines() if "/dev/shm/klosdbg-" in row]
    assert ours
    assert all(row.endswith("(deleted)") for row in ours)


@pytest.mark.parametrize("given", [["-machine", "pc"], ["-m", "lots"], ["-icount", "rr=record"]])
def test_a_machine_of_the_users_own_is_left_alone(given: list[str]) -> None:
    assert share(given) is None


def test_the_size_is_the_users() -> None:
    ram = share(["-m", "48"])
    assert ram is not None
    assert ram.size == 48 << 20
    ram.forget()
    assert not ram.path.exists()
    line = [sys.executable, "-m", "klosdbg", "run", "--headless", "-c", "until klos_ready"]
    shown = subprocess.check_output([*line, "-c", "klos", "--", "-m", "48"], text=True)
    assert f"physical_size      {(48 << 20) - (128 << 10)}" in shown
