"""C structures as dataclasses: each field's annotation says how its bytes are read."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cache
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")

U8 = Annotated[int, "B"]
U16 = Annotated[int, "H"]
U32 = Annotated[int, "I"]
U64 = Annotated[int, "Q"]
U32x2 = Annotated[tuple[int, ...], "2I"]
Char8 = Annotated[str, "8s"]
Char12 = Annotated[str, "12s"]
Char24 = Annotated[str, "24s"]
Char28 = Annotated[str, "28s"]
Char40 = Annotated[str, "40s"]
Char64 = Annotated[str, "64s"]
Char80 = Annotated[str, "80s"]
Char96 = Annotated[str, "96s"]
Char124 = Annotated[str, "124s"]


@dataclass(frozen=True, slots=True)
class Member:
    """One field of a C structure; ``offset`` and ``size`` are in bytes.

    ``code`` is its ``struct`` format, or empty where ``nested`` is a structure of its own.
    """

    name: str
    offset: int
    size: int
    code: str
    nested: type | None = None


@cache
def members(structure: Any) -> tuple[Member, ...]:
    """List a structure's fields in C's order, packed: the header leaves nothing to pad."""
    hints = get_type_hints(structure, include_extras=True)
    found: list[Member] = []
    offset = 0
    for field in fields(structure):
        member = _member(field.name, hints[field.name], offset)
        found.append(member)
        offset += member.size
    return tuple(found)


def _member(name: str, hint: Any, offset: int) -> Member:
    if get_origin(hint) is Annotated:
        code = get_args(hint)[1]
        return Member(name, offset, struct.calcsize("<" + code), code)
    return Member(name, offset, size_of(hint), "", hint)


def size_of(structure: Any) -> int:
    """Give a structure's size in bytes."""
    last = members(structure)[-1]
    return last.offset + last.size


def decode(structure: type[T], raw: bytes, offset: int = 0) -> T:
    """Decode one structure at ``offset``; total for any bytes that reach its size."""
    kind: Any = structure
    values = _format(kind).unpack_from(raw, offset)
    decoded: T = kind(*values) if _is_plain(kind) else _build(kind, iter(values))
    return decoded


@cache
def _is_plain(structure: Any) -> bool:
    """Tell a structure whose members are numbers, which need no work: the long arrays are such."""
    return all(m.nested is None and len(m.code) == 1 for m in members(structure))


@cache
def _format(structure: Any) -> struct.Struct:
    return struct.Struct("<" + _codes(structure))


@cache
def columns(structure: Any, names: tuple[str, ...], entry_size: int) -> struct.Struct:
    """Give the format of an entry's fields of these names, which C has in this order."""
    codes = (m.code if m.name in names else f"{m.size}x" for m in members(structure))
    return struct.Struct("<" + "".join(codes) + f"{entry_size - size_of(structure)}x")


def _codes(structure: Any) -> str:
    return "".join(m.code if m.nested is None else _codes(m.nested) for m in members(structure))


def _build(structure: Any, values: Iterator[Any]) -> Any:
    return structure(*(_value(member, values) for member in members(structure)))


def _value(member: Member, values: Iterator[Any]) -> Any:
    if member.nested is not None:
        return _build(member.nested, values)
    if member.code.endswith("s"):
        return _text(next(values))
    if member.code[:-1]:
        return tuple(next(values) for _ in range(int(member.code[:-1])))
    return next(values)


def _text(raw: bytes) -> str:
    """Read a C string; what could upset a terminal becomes U+FFFD."""
    decoded = raw.split(b"\0", 1)[0].decode("utf-8", "replace")
    return "".join(c if c.isprintable() else "\ufffd" for c in decoded)
