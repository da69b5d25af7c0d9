"""Symbols out of ELF images, compared with ``nm``."""

import subprocess
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest
from klosdbg.errors import DataError
from klosdbg.wire.symbols import Image, SymbolTable
from tests.live.driver import KLOS, needs_klos
from tests.live.tiny import image

MOVED = 0x100_0000


@cache
def nm(path: Path) -> Mapping[str, set[int]]:
    """Give what ``nm`` lists: absolute and undefined symbols left out; names may be shared."""
    rows = subprocess.check_output(["nm", str(path)], text=True).splitlines()
    listed = defaultdict(set)
    for address, kind, name in map(str.split, rows):
        if kind not in "aAU":
            listed[name].add(int(address, 16))
    return listed


def loop() -> int:
    (address,) = nm(image())["loop"]
    return address


def table(path: Path, base: int = 0) -> SymbolTable:
    return SymbolTable((Image(path.read_bytes(), path.name, base),))


@pytest.mark.parametrize(
    "path", [pytest.param(KLOS, marks=needs_klos), image()], ids=["klos", "tiny"]
)
def test_addresses_are_those_of_nm(path: Path) -> None:
    """Every name has an address that ``nm`` gives it, and the address has that name or another."""
    symbols, listed = table(path), nm(path)
    assert set(symbols.names()) == set(listed)
    for name in listed:
        address = symbols.address(name)
        assert address in listed[name]
        found = symbols.name(address)
        assert address in listed[str(found)]


@needs_klos
def test_functions_reach_to_their_end() -> None:
    """An offset into a function names it; the byte behind everything has no name."""
    symbols = table(KLOS)
    start = symbols.address("klos_ready")
    assert start is not None
    assert symbols.name(start + 1) == "klos_ready+0x1"
    assert symbols.name(0x1000) is None
    assert symbols.name(0xFFFF_FFFF) is None
    assert symbols.address("no_such_symbol") is None


def test_a_moved_image() -> None:
    """``base`` is added to every address, the entry point too."""
    here, moved = table(image()), table(image(), MOVED)
    for name in here.names():
        address = here.address(name)
        assert address is not None
        assert moved.address(name) == address + MOVED
    assert moved.images[0].entry == here.images[0].entry + MOVED
    assert moved.name(loop() + MOVED) == "loop"


def test_the_first_of_several_images_wins() -> None:
    """Names are looked up in the order of the images; addresses in all of them."""
    here, moved = Image(image().read_bytes(), "a"), Image(image().read_bytes(), "b", MOVED)
    both = SymbolTable((here, moved))
    assert both.address("loop") == loop()
    assert both.name(loop() + MOVED) == "loop"
    assert both.names() == SymbolTable((here,)).names()


def test_a_stripped_image_has_no_names(tmp_path: Path) -> None:
    """It still has an entry point."""
    stripped = tmp_path / "stripped.elf"
    subprocess.run(["strip", "-o", str(stripped), str(image())], check=True)
    symbols = table(stripped)
    assert symbols.names() == []
    assert symbols.name(symbols.images[0].entry) is None
    assert symbols.frame(symbols.images[0].entry) is None
    assert SymbolTable(()).name(0) is None


@pytest.mark.parametrize("length", [0, 4, 20, 60])
def test_what_is_no_image_says_so(length: int) -> None:
    """Nothing, and the beginning of an ELF file."""
    with pytest.raises(DataError, match=r"not an ELF image|damaged"):
        Image(image().read_bytes()[:length], "cut.elf")


def test_every_cut_image_is_refused_or_read() -> None:
    """A file that ends early never raises anything but ``DataError``."""
    raw = image().read_bytes()
    for length in range(0, len(raw), 61):
        with suppress(DataError):
            SymbolTable((Image(raw[:length], "cut.elf"),)).names()
