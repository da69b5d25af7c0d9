"""klosdbg's mirror of klos_abi.h is what the C compiler makes of the header."""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile
from klosdbg.klos import abi
from klosdbg.klos.constants import ABI_VERSION, ENUMS
from klosdbg.klos.layout import Member, members, size_of
from tests.build import make

GUEST = Path(__file__).parents[2] / "guest"
HEADER = GUEST / "include" / "klos_abi.h"
C_NAMES = {"H": "uint16_t", "B": "uint8_t", "I": "uint32_t", "Q": "uint64_t", "s": "char"}
STRUCTURES = sorted(abi.STRUCTURES)

Field = tuple[str, int, int, str]
"""Name, offset and size in bytes, and the C type without its dimension."""


@pytest.fixture(scope="session")
def header_object(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile the header alone, one variable of each structure in it."""
    directory = tmp_path_factory.mktemp("abi")
    names = re.findall(r"^struct (klos_\w+) \{", HEADER.read_text(), re.MULTILINE)
    variables = "".join(f"struct {name} v_{name};\n" for name in names)
    (directory / "abi.c").write_text(f'#include "{HEADER}"\n{variables}')
    command = ["gcc", "-m32", "-ffreestanding", "-g", "-c", "abi.c", "-o", "abi.o"]
    subprocess.run(command, cwd=directory, check=True)
    return directory / "abi.o"


@pytest.fixture(scope="session")
def klos_image() -> Path:
    make(GUEST)
    return GUEST / "build" / "klos.elf"


def dwarf_structures(path: Path) -> dict[str, tuple[int, list[Field]]]:
    """Read every ``struct klos_*`` out of an ELF file's DWARF: its size and fields."""
    found = {}
    with open(path, "rb") as stream:
        for unit in ELFFile(stream).get_dwarf_info().iter_CUs():
            for die in unit.iter_DIEs():
                name = text(die, "DW_AT_name")
                if die.tag == "DW_TAG_structure_type" and name.startswith("klos_"):
                    found[name] = (number(die, "DW_AT_byte_size"), list(dwarf_fields(die)))
    return found


def dwarf_fields(structure: Any) -> Iterator[Field]:
    for die in structure.iter_children():
        if die.tag == "DW_TAG_member":
            type_ = resolved(die)
            offset = number(die, "DW_AT_data_member_location")
            yield text(die, "DW_AT_name"), offset, byte_size(type_), base_name(type_)


def resolved(die: Any) -> Any:
    """Follow a die's type through qualifiers."""
    type_ = die.get_DIE_from_attribute("DW_AT_type")
    qualifiers = ("DW_TAG_volatile_type", "DW_TAG_const_type")
    return resolved(type_) if type_.tag in qualifiers else type_


def byte_size(type_: Any) -> int:
    if type_.tag == "DW_TAG_typedef":
        return byte_size(resolved(type_))
    if type_.tag != "DW_TAG_array_type":
        return number(type_, "DW_AT_byte_size")
    size = byte_size(resolved(type_))
    for dimension in type_.iter_children():
        size *= number(dimension, "DW_AT_upper_bound") + 1
    return size


def base_name(type_: Any) -> str:
    return base_name(resolved(type_)) if type_.tag == "DW_TAG_array_type" else text(type_)


def text(die: Any, attribute: str = "DW_AT_name") -> str:
    return die.attributes[attribute].value.decode() if attribute in die.attributes else ""


def number(die: Any, attribute: str) -> int:
    return int(die.attributes[attribute].value)


def mirrored(member: Member) -> Field:
    if member.nested is not None:
        name = next(name for name, kind in abi.STRUCTURES.items() if kind is member.nested)
    else:
        name = C_NAMES[member.code[-1]]
    return member.name, member.offset, member.size, name


@pytest.mark.parametrize("source", ["header_object", "klos_image"])
def test_every_structure_is_the_compilers(source: str, request: pytest.FixtureRequest) -> None:
    """Names, order, offsets, sizes and types of all fields agree."""
    compiled = dwarf_structures(request.getfixturevalue(source))
    assert set(compiled) <= set(STRUCTURES)
    if source == "header_object":
        assert set(compiled) == set(STRUCTURES)
    for name, (size, fields) in compiled.items():
        mirror = abi.STRUCTURES[name]
        assert [mirrored(m) for m in members(mirror)] == fields, name
        assert size_of(mirror) == size, name
    assert "klos_info" in compiled


def test_every_structure_is_listed() -> None:
    """No dataclass of the mirror escapes the comparison."""
    declared = {kind for kind in vars(abi).values() if is_dataclass(kind)}
    assert declared == set(abi.STRUCTURES.values())


def test_every_size_is_asserted_in_the_header() -> None:
    """A field that only one side has stops the build of the guest."""
    pattern = r"^_Static_assert\(sizeof\(struct (klos_\w+)\) == (\d+),"
    asserted = dict(re.findall(pattern, HEADER.read_text(), re.MULTILINE))
    assert asserted == {name: str(size_of(kind)) for name, kind in abi.STRUCTURES.items()}


def header_constants() -> dict[str, int]:
    """Ask the preprocessor for each constant that the header defines."""
    listed = subprocess.check_output(["gcc", "-ffreestanding", "-E", "-dM", str(HEADER)], text=True)
    defines = re.findall(r"^#define KLOS_(\w+) (\w+)$", listed, re.MULTILINE)
    return {name: int(value, 0) for name, value in defines}


def test_every_constant_is_the_headers() -> None:
    """Names and values agree, and neither side has one that the other lacks."""
    ours = {"ABI_VERSION": ABI_VERSION}
    for kind in ENUMS:
        prefix = kind.__name__.upper()
        ours |= {f"{prefix}_{member.name}": int(member) for member in kind}
    assert ours == header_constants()
