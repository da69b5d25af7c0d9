"""Hexadecimal text, as people write and paste it, to numbers or bytes.

One token, or a ``0x`` prefix, is a number, and so is a literal of C or Rust; tokens of two digits
are bytes in memory order, and so are an assembler's data lines and what hexdump, xxd, od, gdb and
QEMU print behind an address.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from klosdbg.errors import DataError, UsageError
from klosdbg.wire.datalines import are_data_lines, lay_down, short
from klosdbg.x86.descriptor import descriptor_size

Order = Literal["number", "memory"]

MAXIMUM = 1 << 17
"""The longest input that is taken, in bytes: the two largest descriptor tables, one TSS."""

_LABELLED = re.compile(r"^\s*(?:0x)?[0-9a-fA-F]{3,16}\s*(?:<[^>]*>)?\s*:\s+")
_BARE = re.compile(r"^\s*(?:0x)?[0-9a-fA-F]{7,16}\s+(?=[0-9a-fA-F]{2}(?:\s|$))")
_END = re.compile(r"^\s*[0-9a-fA-F]{7,16}\s*$")
_PREFIXED = re.compile(r"(?:0[xX][0-9a-fA-F]+[\s,]*)+")
_WORDS = re.compile(
    r"^\s*[0-9a-fA-F]{7}((?:\s+(?:[0-9a-fA-F]{4}|[0-9a-fA-F]{8}|[0-9a-fA-F]{16}))+)\s*$"
)
_SEPARATOR = re.compile(r"[\s,;{}()\[\]&]+")
_HEX = re.compile(
    r"\$?(?:0[xX]_?)?(?P<digits>[0-9a-fA-F](?:[0-9a-fA-F_'`]*[0-9a-fA-F])?)"
    r"(?:[hH]|_?[uUiI](?P<bits>8|16|32|64|128|size)|(?P<long>[uU]?[lL]{2}|[lL]{2}[uU])|[uUlL]{1,2})?_?"
)
_DECIMAL = re.compile(r"[1-9][0-9]{1,4}")
_BINARY = re.compile(r"0b[01_]*[01]")
_BLOCK_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_NOISE = re.compile(r"(?://|#).*$|^.*_len *=.*$|^(?!\s*[GI]DT *=)[^=\n]*=", re.MULTILINE)
"""Comments, the length that ``xxd -i`` declares, and what stands before a value.

QEMU's ``GDT=`` stands before a base and a limit, which are no descriptor.
"""
_BARE_COLUMNS = 49


@dataclass(frozen=True, slots=True)
class HexInput:
    """What was given, in its order: ``numbers`` with the bytes each was written in, or ``raw``.

    ``decimals`` are the numbers again, read as decimal, and None where a prefix, a letter, a
    leading zero or its length tells that one is hexadecimal.
    """

    order: Order
    raw: bytes = b""
    numbers: tuple[int, ...] = ()
    widths: tuple[int, ...] = ()
    decimals: tuple[int | None, ...] = ()
    source: str = ""

    @property
    def reading(self) -> str:
        """Say how the input was read."""
        if self.order == "memory":
            return "bytes in memory order" + (self.source and f", from {self.source}")
        if len(self.numbers) == 1:
            return "a number"
        one = f" of {8 * self.widths[0]} bits" if len(set(self.widths)) == 1 else ""
        return f"{len(self.numbers)} numbers{one}"

    def structures(self, size: int, what: str) -> tuple[bytes, ...]:
        """Cut into structures of ``size`` bytes; numbers that are words of one are put together.

        Raise ``UsageError`` where the input is no whole number of structures, or does not fit.
        """
        if self.order == "memory" or self._words_of(size):
            return tuple(_whole(self.joined, size, what))
        if len(self.numbers) > 1 and 0 < max(self.numbers) < 1 << 32:
            raise UsageError(
                f"{len(self.numbers)} numbers of 4 bytes or less: {what} has {size}: write words"
                " with all their digits, as 0x0000ffff"
            )
        return tuple(self._fitting(n, size, what).to_bytes(size, "little") for n in self.numbers)

    def long_descriptors(self) -> tuple[bytes, ...]:
        """Cut into descriptors of long mode: 16 bytes for a system descriptor (S=0), else 8."""
        return tuple(_cut_long(self.long_table))

    @property
    def long_table(self) -> bytes:
        """A GDT or LDT of long mode as it lies in memory; a number is an entry of 8 or 16 bytes."""
        if self.order == "memory" or self._words_of(8):
            return self.joined
        lone = len(self.numbers) == 1
        return b"".join(_long_number(number, lone) for number in self.numbers)

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
            raise UsageError(f"{short(hex(number))} is too long: {what} has {size} bytes")
        return number


def parse_hex(source: str | Sequence[str], as_bytes: bool = False) -> HexInput:
    """Parse text, or words of a command line; ``as_bytes`` forces memory order.

    Raise ``UsageError`` for what is empty or not hexadecimal, ``DataError`` for too much of it.
    """
    text = source if isinstance(source, str) else " ".join(source)
    lines = text.splitlines()
    if are_data_lines(lines):
        laid = lay_down(_BLOCK_COMMENT.sub(" ", text).splitlines())
        return HexInput("memory", b"".join(_limited(laid)), source="an assembler's data lines")
    if any(map(_data_of, lines)):
        return HexInput("memory", b"".join(_limited(_dump(lines))), source="a dump")
    plain = _NOISE.sub(" ", _BLOCK_COMMENT.sub(" ", text))
    tokens = [token for token in _SEPARATOR.split(plain) if token]
    prefixed = any(token.lower().startswith("0x") for token in tokens)
    parsed = _checked([_number(token, prefixed) for token in tokens])
    digits = [d for d, _ in parsed]
    if as_bytes or (len(digits) > 1 and not prefixed and _are_bytes(digits)):
        return HexInput("memory", b"".join(map(_bytes, digits)))
    return HexInput(
        "number",
        numbers=tuple(int(d, 16) for d in digits),
        widths=tuple(width for _, width in parsed),
        decimals=tuple(int(t) if _DECIMAL.fullmatch(t) else None for t in tokens),
    )


def _are_bytes(digits: Sequence[str]) -> bool:
    lengths = {len(d) for d in digits}
    if min(lengths) <= 2 and lengths != {2}:
        odd = next(d for d in digits if len(d) != 2)
        raise UsageError(f"{short(odd)!r} among bytes: give bytes two digits, numbers a 0x")
    return lengths == {2}


def _data_of(line: str) -> str | None:
    """Return what stands behind the address of a dump's line, without its text column."""
    labelled = _LABELLED.match(line)
    if labelled:
        rest = line[labelled.end() :].strip()
        words = _PREFIXED.match(rest)
        return words[0] if words else re.split(r" {2,}|\s+\|", rest)[0]
    words = _WORDS.match(line)
    if words:
        return re.sub(r"\s+", " 0x", words[1])
    bare = _BARE.match(line)
    return line[bare.end() :][:_BARE_COLUMNS].partition("|")[0] if bare else None


def _dump(lines: Sequence[str]) -> Iterator[bytes]:
    for line in lines:
        data = _data_of(line)
        if data is None and line.strip() == "*":
            raise UsageError("'*' stands for repeated lines: dump again without it (hexdump -v)")
        if data is None and line.strip() and not _END.match(line):
            raise UsageError(f"{short(line)!r} is no line of the dump around it")
        for token in _SEPARATOR.split(data or ""):
            if token:
                raw = _bytes(_digits(token))
                yield raw[::-1] if token[:2] in ("0x", "0X") else raw


def _limited(pieces: Iterator[bytes]) -> Iterator[bytes]:
    total = 0
    for piece in pieces:
        total += len(piece)
        _limit(total)
        yield piece


def _checked(parsed: list[tuple[str, int]]) -> list[tuple[str, int]]:
    if not parsed:
        raise UsageError("no hexadecimal digits: write 0x00cffb000000ffff, or ff ff 00 00 ...")
    _limit(sum(len(digits) for digits, _ in parsed) // 2)
    return parsed


def _limit(size: int) -> None:
    if size > MAXIMUM:
        raise DataError(f"more than {MAXIMUM} bytes of input: cut out the structure you mean")


def _number(token: str, among_prefixed: bool) -> tuple[str, int]:
    """Take a number's hexadecimal digits, and the bytes it was written in."""
    if among_prefixed and _BINARY.fullmatch(token):
        value = int(token[2:].replace("_", ""), 2)
        width = max(1, value.bit_length() + 7 >> 3)
        return f"{value:0{2 * width}x}", width
    match = _matched(token)
    digits = re.sub("[_'`]", "", match["digits"])
    if among_prefixed and _DECIMAL.fullmatch(token):
        raise UsageError(
            f"{digits!r} among numbers with 0x: write 0x{digits}, or 0x{int(digits):x} if decimal"
        )
    if match["long"]:
        return digits, 8
    typed = match["bits"]
    return digits, int(typed) // 8 if typed and typed != "size" else (len(digits) + 1) // 2


def _matched(token: str) -> re.Match[str]:
    match = _HEX.fullmatch(token)
    if match is None:
        raise UsageError(f"{short(token)!r} is not hexadecimal")
    return match


def _digits(token: str) -> str:
    return re.sub("[_'`]", "", _matched(token)["digits"])


def _bytes(digits: str) -> bytes:
    if len(digits) % 2:
        raise UsageError(f"{short(digits)!r} has an odd number of digits: bytes have two each")
    return bytes.fromhex(digits)


def _whole(raw: bytes, size: int, what: str) -> Iterator[bytes]:
    if len(raw) % size or not raw:
        raise UsageError(f"{len(raw)} bytes given: {what} has {size}")
    return (raw[i : i + size] for i in range(0, len(raw), size))


def _long_number(number: int, lone: bool) -> bytes:
    if number >> 128:
        raise UsageError(f"{short(hex(number))} is too long: a descriptor has 8 or 16 bytes")
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
