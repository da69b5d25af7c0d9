"""GDB target descriptions: XML to registers, and ``g`` packets decoded by them.

An XML parser and not a search for text: QEMU's description holds registers inside comments, which
must not shift the numbers of those that follow. Documents may name a DTD but not declare entities.
"""

import binascii
import struct
import xml.etree.ElementTree as ElementTree
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NoReturn
from xml.parsers import expat

from klosdbg.errors import ProtocolError
from klosdbg.wire.rsp_replies import garbage

MAX_REGISTERS = 1024
MAX_BITS = 4096
_CODES = {8: "B", 16: "H", 32: "I", 64: "Q"}


@dataclass(frozen=True, slots=True)
class Register:
    """A register: its number for ``p``, its width, and its byte offset in ``g``."""

    name: str
    number: int
    bits: int
    offset: int

    @property
    def size(self) -> int:
        """Its size in bytes."""
        return self.bits // 8


@dataclass(frozen=True)
class TargetDescription:
    """The registers that a stub has, in the order of ``g``."""

    architecture: str
    registers: tuple[Register, ...]

    @property
    def size(self) -> int:
        """The size of a whole ``g`` reply, decoded, in bytes."""
        return sum(register.size for register in self.registers)

    @property
    def is_64_bit(self) -> bool:
        """Tell whether the stub shows the 64-bit registers."""
        return self.find("rip") is not None

    def find(self, name: str) -> Register | None:
        """Find a register by name."""
        return self._by_name.get(name)

    @cached_property
    def _by_name(self) -> Mapping[str, Register]:
        return {register.name: register for register in reversed(self.registers)}

    def decode(self, payload: bytes, names: Collection[str] = ()) -> dict[str, int]:
        """Decode a ``g`` reply (hexadecimal). Registers cut off or sent as ``xx`` are left out.

        With ``names``, only those are decoded.
        """
        try:
            raw = binascii.unhexlify(payload.replace(b"x", b"0")[: len(payload) & ~1])
        except ValueError:
            raise garbage("registers in hexadecimal", payload) from None
        picked, layout = self._pick(frozenset(names))
        if layout is None or len(raw) < layout.size or b"x" in payload:
            return _decode_each(picked.values(), raw, payload)
        return dict(zip(picked, layout.unpack_from(raw), strict=True))

    def _pick(self, names: frozenset[str]) -> "_Picked":
        if names not in self._picks:
            picked = {r.name: r for r in self.registers if r is self.find(r.name)}
            if names:
                picked = {name: r for name, r in picked.items() if name in names}
            self._picks[names] = picked, _layout(picked.values())
        return self._picks[names]

    @cached_property
    def _picks(self) -> dict[frozenset[str], "_Picked"]:
        return {}


_Picked = tuple[Mapping[str, Register], struct.Struct | None]
"""Registers by name, in the order of ``g``, and how to decode them all at once, if one can."""


def _layout(registers: Iterable[Register]) -> struct.Struct | None:
    codes, at = "<", 0
    for register in registers:
        if register.bits not in _CODES:
            return None
        codes += f"{register.offset - at}x{_CODES[register.bits]}"
        at = register.offset + register.size
    return struct.Struct(codes)


def _decode_each(registers: Iterable[Register], raw: bytes, payload: bytes) -> dict[str, int]:
    return {
        r.name: int.from_bytes(raw[r.offset : r.offset + r.size], "little")
        for r in registers
        if r.offset + r.size <= len(raw)
        and b"x" not in payload[2 * r.offset : 2 * (r.offset + r.size)]
    }


def included(document: bytes) -> list[str]:
    """List the documents that a description includes (``xi:include href``)."""
    return [
        href
        for element in _parse(document).iter()
        if _local(element.tag) == "include" and (href := element.get("href"))
    ]


def parse_target_xml(documents: Mapping[str, bytes]) -> TargetDescription:
    """Parse ``target.xml`` and the documents that it includes, given by name.

    Raise ``ProtocolError`` for what describes no registers.
    """
    root = _parse(documents["target.xml"])
    architecture = (root.findtext("architecture") or "").strip()
    found: list[ElementTree.Element] = []
    _collect(root, documents, ["target.xml"], found)
    if len(found) > MAX_REGISTERS:
        raise ProtocolError(f"the stub describes {len(found)} registers: is it a GDB stub?")
    return TargetDescription(architecture, _lay_out(found))


def _parse(document: bytes) -> ElementTree.Element:
    builder = ElementTree.TreeBuilder()
    parser = expat.ParserCreate()
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.EntityDeclHandler = _refuse_entity
    try:
        parser.Parse(document, True)
    except expat.ExpatError as error:
        raise ProtocolError(f"the stub's target description is not XML: {error}") from None
    return builder.close()


def _refuse_entity(*_declaration: object) -> NoReturn:
    raise ProtocolError("the stub's target description declares entities: refused")


def _local(tag: str) -> str:
    return tag.rpartition(":")[2]


def _collect(
    element: ElementTree.Element,
    documents: Mapping[str, bytes],
    open_names: list[str],
    found: list[ElementTree.Element],
) -> None:
    for child in element:
        if _local(child.tag) == "reg":
            found.append(child)
        elif _local(child.tag) == "include":
            name = child.get("href", "")
            if name in open_names or name not in documents:
                raise ProtocolError(f"the stub's target description includes {name!r} in vain")
            _collect(_parse(documents[name]), documents, [*open_names, name], found)
        else:
            _collect(child, documents, open_names, found)


def _lay_out(elements: list[ElementTree.Element]) -> tuple[Register, ...]:
    numbered: list[tuple[int, str, int]] = []
    number = 0
    for element in elements:
        name = element.get("name", "")
        number = _number(element, "regnum", number)
        bits = _number(element, "bitsize", 0)
        if not name or bits % 8 or not 8 <= bits <= MAX_BITS:
            raise ProtocolError(f"the stub describes register {name!r} of {bits} bits: refused")
        numbered.append((number, name, bits))
        number += 1
    registers: list[Register] = []
    offset = 0
    for number, name, bits in sorted(numbered):
        registers.append(Register(name, number, bits, offset))
        offset += bits // 8
    return tuple(registers)


def _number(element: ElementTree.Element, attribute: str, default: int) -> int:
    text = element.get(attribute)
    if text is None:
        return default
    try:
        return int(text, 0)
    except ValueError:
        raise ProtocolError(f"the stub describes a register with {attribute} {text!r}") from None
