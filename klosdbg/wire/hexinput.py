"""Hexadecimal text, as people write and paste it, to numbers or bytes.

One token, or a ``0x`` prefix, is a number; tokens of two digits are bytes in memory order, and so
is what hexdump, xxd, od, gdb and QEMU print behind an address.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from klosdbg.errors import DataError, UsageError
from klosdbg.x86.descriptor import descriptor_size

Order = Literal["number", "memory"]

MAXIMUM = 1 << 17
"""The longest input that is taken, in bytes: the two largest descriptor tables, one TSS."""

_LABELLED = re.compile(r"^\s*(?:0x)?[0-9a-fA-F]{3,16}\s*(?:<[^>]*>)?\s*:\s+")
_BARE = re.compile(r"^\s*(?:0x)?[0-9a-fA-F]{7,16}\s+(?=[0-9a-fA-F]{2}(?:\s|$))")
_END = re.compile(r"^\s*[0-9a-fA-F]{7,16}\s*$")
_PREFIXED = re.compile(r"(?:0[xX][0-9a-fA-F]+[\s,]*)+")
_SEPARATOR = re.compile(r"[\s,;{}]+")
_HEX = re.compile(r"(?:0[xX])?([0-9a-fA-F][0-9a-fA-F_]*)")
_BARE_COLUMNS = 49


@dataclass(frozen=True, slots=True)
class HexInput:
    """What was given, in its order: ``numbers`` with the bytes each was written in, or ``raw``."""

    order: Order
    raw: bytes = b""
    numbers: tuple[int, ...] = ()
    widths: tuple[int, ...] = ()

    def structures(self, size: int, what: str) -> tuple[bytes, ...]:
        """Cut into structures of ``size`` bytes; numbers that are words of one are put together.

        Raise ``UsageError`` where the input is no whole number of structures, or does not fit.
        """
        if self.order == "memory" or self._words_of(size):
            return tuple(_whole(self.joined, size, what))
        return tuple(self._fitting(n, size, what).to_bytes(size, "little") for n in self.numbers)

    def long_descriptors(self) -> tuple[bytes, ...]:
        """Cut into descriptors of long mode: 16 bytes for a system descriptor (S=0), else 8."""
        raw = self.raw
        if self.order == "number":
            lone = len(self.numbers) == 1
            raw = b"".join(_long_number(number, lone) for number in self.numbers)
        return tuple(_cut_long(raw))

    def values(self, size: int, what: str) -> tuple[int, ...]:
        """Read values of ``size`` bytes; raise ``UsageError`` as ``structures`` does."""
        if self.order == "number":
            return tuple(self._fitting(n, size, what) for n in self.numbers)
        return tuple(int.from_bytes(raw, "little") for raw in _whole(self.raw, size, what))

    @property
    def joined(self) -> bytes:
        """All bytes as they lie in memory: a number little-endian, as wide as it was written."""
        if self.order == "memory":
            return self.raw
        pairs = zip(self.numbers, self.widths, strict=True)
        return b"".join(number.to_bytes(width, "little") for number, width in pairs)

    def _words_of(self, size: int) -> bool:
        width = self.widths[0]
        same = set(self.widths) == {width} and width in (1, 2, 4, 8)
        return same and width < size and len(self.widths) > 1 and sum(self.widths) % size == 0

    def _fitting(self, number: int, size: int, what: str) -> int:
        if number >> (8 * size):
            raise UsageError(f"{_short(hex(number))} is too long: {what} has {size} bytes")
        return number


def parse_hex(source: str | Sequence[str], as_bytes: bool = False) -> HexInput:
    """Parse text, or words of a command line; ``as_bytes`` forces memory order.

    Raise ``UsageError`` for what is empty or not hexadecimal, ``DataError`` for too much of it.
    """
    lines = source.splitlines() if isinstance(source, str) else [" ".join(source)]
    if any(map(_data_of, lines)):
        return HexInput("memory", b"".join(_dump(lines)))
    tokens = [token for line in lines for token in _SEPARATOR.split(line) if token]
    digits = _checked([_digits(token) for token in tokens])
    prefixed = any(token[:2] in ("0x", "0X") for token in tokens)
    if as_bytes or (len(digits) > 1 and not prefixed and _are_bytes(digits)):
        return HexInput("memory", b"".join(map(_bytes, digits)))
    widths = tuple((len(d) + 1) // 2 for d in digits)
    return HexInput("number", numbers=tuple(int(d, 16) for d in digits), widths=widths)


def _are_bytes(digits: Sequence[str]) -> bool:
    lengths = {len(d) for d in digits}
    if min(lengths) <= 2 and lengths != {2}:
        odd = next(d for d in digits if len(d) != 2)
        raise UsageError(f"{_short(odd)!r} among bytes: give bytes two digits, numbers a 0x")
    return lengths == {2}


def _data_of(line: str) -> str | None:
    """Return what stands behind the address of a dump's line, without its text column."""
    labelled = _LABELLED.match(line)
    if labelled:
        rest = line[labelled.end() :].strip()
        words = _PREFIXED.match(rest)
        return words[0] if words else re.split(r" {2,}|\s+\|", rest)[0]
    bare = _BARE.match(line)
    return line[bare.end() :][:_BARE_COLUMNS].partition("|")[0] if bare else None


def _dump(lines: Sequence[str]) -> Iterator[bytes]:
    total = 0
    for line in lines:
        data = _data_of(line)
        if data is None and line.strip() == "*":
            raise UsageError("'*' stands for repeated lines: dump again without it (hexdump -v)")
        if data is None and line.strip() and not _END.match(line):
            raise UsageError(f"{_short(line)!r} is no line of the dump around it")
        for token in _SEPARATOR.split(data or ""):
            if token:
                raw = _bytes(_digits(token))
                yield raw[::-1] if token[:2] in ("0x", "0X") else raw
                total += len(raw)
                _limit(total)


def _checked(digits: list[str]) -> list[str]:
    if not digits:
        raise UsageError("no hexadecimal digits: write 0x00cffb000000ffff, or ff ff 00 00 ...")
    _limit(sum(map(len, digits)) // 2)
    return digits


def _limit(size: int) -> None:
    if size > MAXIMUM:
        raise DataError(f"more than {MAXIMUM} bytes of input: cut out the structure you mean")


def _digits(token: str) -> str:
    match = _HEX.fullmatch(token)
    if match is None:
        raise UsageError(f"{_short(token)!r} is not hexadecimal")
    return match[1].replace("_", "")


def _bytes(digits: str) -> bytes:
    if len(digits) % 2:
        raise UsageError(f"{_short(digits)!r} has an odd number of digits: bytes have two each")
    return bytes.fromhex(digits)


def _whole(raw: bytes, size: int, what: str) -> Iterator[bytes]:
    if len(raw) % size or not raw:
        raise UsageError(f"{len(raw)} bytes given: {what} has {size}")
    return (raw[i : i + size] for i in range(0, len(raw), size))


def _long_number(number: int, lone: bool) -> bytes:
    if number >> 128:
        raise UsageError(f"{_short(hex(number))} is too long: a descriptor has 8 or 16 bytes")
    raw = number.to_bytes(16, "little")
    size = descriptor_size(raw, long_mode=True) if lone else 8
    return raw if any(raw[8:]) else raw[:size]


def _cut_long(raw: bytes) -> Iterator[bytes]:
    while raw:
        size = descriptor_size(raw, long_mode=True)
        if len(raw) < size or len(raw) < 8:
            raise UsageError(f"{len(raw)} bytes left over: this descriptor has {size} in long mode")
        yield raw[:size]
        raw = raw[size:]


def _short(token: str) -> str:
    return token if len(token) <= 24 else f"{token[:20]}..."
