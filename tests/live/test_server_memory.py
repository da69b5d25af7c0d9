"""Which memory there is, as gdb's memory map and lldb's regions tell it."""

import re
import shutil
import subprocess
from collections.abc import Iterator

import pytest
from tests.live.driver import needs_klos
from tests.live.patience import PATIENCE
from tests.live.serving import Raw, gdb, serving
from tests.live.tiny import needs_qemu

pytestmark = [pytest.mark.qemu, needs_qemu, needs_klos]

TOP = 1 << 32
CORE_TEXT = 0xC0103000


@pytest.fixture(scope="module")
def klos() -> Iterator[str]:
    """Serve KLOS, stopped where it is ready."""
    with serving("run", "--headless", "--append", "seed=1", "-c", "until klos_ready") as path:
        yield path


def regions(client: Raw) -> Iterator[tuple[int, int, str]]:
    """Yield start, size and rights of each region, from the bottom to the top."""
    address = 0
    while address < TOP:
        reply = client.ask(b"qMemoryRegionInfo:%x" % address).decode()
        parts = dict(part.split(":") for part in reply.rstrip(";").split(";"))
        start, size = int(parts["start"], 16), int(parts["size"], 16)
        assert start == address
        yield start, size, parts.get("permissions", "")
        address = start + size
    assert address == TOP


def test_regions_are_what_can_be_read(klos: str) -> None:
    """Each begins and ends where reading says; QEMU's own list of pages agrees."""
    client = Raw(klos)
    found = list(regions(client))
    for start, size, rights in found:
        for at in (start, start + size - 1):
            assert client.ask(b"m%x,1" % at).startswith(b"E") == (not rights), hex(at)
    mapped = [(start, start + size) for start, size, rights in found if rights]
    listed = re.findall(r"^([0-9a-f]{16})-([0-9a-f]{16}) ", client.monitor("info mem"), re.M)
    pages = [(int(start, 16), int(end, 16)) for start, end in listed]
    client.close()
    assert joined(mapped) == joined(pages)


def joined(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join ranges that touch."""
    out: list[tuple[int, int]] = []
    for start, end in ranges:
        if out and out[-1][1] == start:
            out[-1] = (out[-1][0], end)
        else:
            out.append((start, end))
    return out


@pytest.mark.skipif(shutil.which("lldb") is None, reason="no lldb: apt install lldb")
def test_lldb_shows_the_region_of_an_address(klos: str) -> None:
    connect = f"process connect -p gdb-remote unix-connect://{klos}"
    words = [w for c in (connect, f"memory region {CORE_TEXT:#x}") for w in ("-o", c)]
    lldb = ["lldb", "--no-lldbinit", "-b", *words]
    said = subprocess.run(lldb, capture_output=True, text=True, timeout=PATIENCE).stdout
    assert re.search(r"\[0x0*c0103000-0x0*c0106000\) r-x", said)


@pytest.mark.skipif(shutil.which("gdb") is None, reason="no gdb: apt install gdb")
def test_gdbs_map_is_all_linear_memory(klos: str) -> None:
    """So gdb refuses nothing by itself: pages that are mapped later can be read."""
    said = gdb(klos, "info mem", f"x/xb {CORE_TEXT:#x}", "x/xb 0x30000000")
    assert re.search(r"^0\s+y\s+0x0+ 0x100000000 rw", said, re.MULTILINE)
    assert re.search(r"^0xc0103000:\t0x[0-9a-f]{2}$", said, re.MULTILINE)
    assert "Cannot access memory at address 0x30000000" in said
