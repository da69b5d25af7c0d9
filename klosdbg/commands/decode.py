"""decode: hardware structures from hexadecimal text, without a target."""

import sys
from argparse import ArgumentTypeError, Namespace
from collections.abc import Callable, Iterable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import BinaryIO

from klosdbg.commands.base import arg, command, integer
from klosdbg.errors import DataError, ProtocolError, UsageError
from klosdbg.models import Decoded, Model
from klosdbg.session import Session
from klosdbg.wire.hexinput import HexInput, parse_hex
from klosdbg.wire.inforegs import parse_dumps
from klosdbg.x86.address import WIDE, decode_address
from klosdbg.x86.checks import (
    check_address,
    check_cpu,
    check_cr3,
    check_descriptor,
    check_gate,
    check_iobitmap,
    check_page_entry,
    check_table,
    check_tss,
)
from klosdbg.x86.checks_control import check_flags
from klosdbg.x86.control import Cr3
from klosdbg.x86.descriptor import decode_descriptor, decode_gate
from klosdbg.x86.errorcode import decode_error_code
from klosdbg.x86.findings import Finding
from klosdbg.x86.flags import decode_flags
from klosdbg.x86.iobitmap import IoBitmap
from klosdbg.x86.paging import LEVELS, MAX_PHYSICAL_BITS, NAMES, Mode, decode_pte
from klosdbg.x86.selector import decode_selector
from klosdbg.x86.table import Entry, TableKind, decode_table
from klosdbg.x86.tss import MINIMUM_LIMIT, decode_tss
from klosdbg.x86.vectors import parse_vector

_Found = Iterator[tuple[Model, Iterable[Finding]]]

_TABLE_LIMIT = 0xFFFF
_MAXIMUM_TEXT = 1 << 20
_LEAST_PHYSICAL_BITS = 32
_MODES = {mode.lower(): mode for mode in LEVELS}


def _vector(word: str) -> int:
    vector = parse_vector(word)
    if vector is None:
        raise ArgumentTypeError(f"{word!r} is not a vector (write 14, 0xe, PF)")
    return vector


def _mode(word: str) -> str:
    if word.lower() not in _MODES:
        raise ArgumentTypeError(f"{word!r} is not a paging mode ({', '.join(LEVELS)})")
    return _MODES[word.lower()]


def _level(word: str) -> int:
    levels = {name: level for level, name in NAMES.items()} | {str(n): n for n in NAMES}
    if word.lower() not in levels:
        raise ArgumentTypeError(f"{word!r} is not a level (write 1 to 5, or pte, pde, ...)")
    return levels[word.lower()]


def _physical_bits(word: str) -> int:
    number = integer(word)
    if not _LEAST_PHYSICAL_BITS <= number <= MAX_PHYSICAL_BITS:
        raise ArgumentTypeError(f"{word!r} is no MAXPHYADDR (write 32 to {MAX_PHYSICAL_BITS})")
    return number


def _descriptors(given: HexInput, args: Namespace) -> _Found:
    long_mode = args.bits == 64
    units = given.long_descriptors() if long_mode else given.structures(8, "a descriptor")
    for index, raw in enumerate(units):
        descriptor = decode_descriptor(raw, long_mode)
        yield Entry(index, descriptor), check_descriptor(descriptor, long_mode=long_mode)


def _gates(given: HexInput, args: Namespace) -> _Found:
    long_mode = args.bits == 64
    for index, raw in enumerate(given.structures(16 if long_mode else 8, "a gate")):
        gate = decode_gate(raw, long_mode)
        in_idt = gate.kind in ("interrupt-gate", "trap-gate")
        yield Entry(index, gate), check_gate(gate, in_idt=in_idt, long_mode=long_mode)


def _table(given: HexInput, args: Namespace) -> _Found:
    kind: TableKind = args.kind
    raw = _long_table(given, kind) if args.bits == 64 else b"".join(given.structures(8, "an entry"))
    limit = len(raw) - 1 if args.limit is None else args.limit
    if limit > _TABLE_LIMIT:
        raise UsageError(f"limit {limit:#x} is above {_TABLE_LIMIT:#x}, which no selector reaches")
    table = decode_table(kind, 0, limit, [(0, raw)], long_mode=args.bits == 64)
    yield table, check_table(table, long_mode=args.bits == 64)


def _long_table(given: HexInput, kind: TableKind) -> bytes:
    if kind != "idt":
        return given.long_table
    return given.raw or b"".join(given.structures(16, "a gate"))


def _tss(given: HexInput, args: Namespace) -> _Found:
    raw = given.joined
    tss = decode_tss(raw, args.bits, len(raw) - 1 if args.limit is None else args.limit)
    yield tss, check_tss(tss)


def _iobitmap(given: HexInput, args: Namespace) -> _Found:
    raw, base = given.joined, MINIMUM_LIMIT[32] + 1
    limit = base + len(raw) - 1 if args.limit is None else args.limit
    unknown = ((len(raw), limit - base),) if base + len(raw) <= limit else ()
    bitmap = IoBitmap(raw[: max(limit + 1 - base, 0)], base, limit, unknown)
    yield bitmap, check_iobitmap(bitmap)


def _selectors(given: HexInput, _args: Namespace) -> _Found:
    for value, decimal in _values(given, 2, "a selector"):
        meant = decode_selector(decimal or 0)
        what = f"{meant.table.upper()} entry {meant.index}, rpl {meant.rpl}"
        yield decode_selector(value), _if_decimal(value, decimal, what)


def _error_codes(given: HexInput, args: Namespace) -> _Found:
    for value, decimal in _values(given, 4, "an error code"):
        meant = decode_error_code(decimal or 0, args.vector).explanation
        yield decode_error_code(value, args.vector), _if_decimal(value, decimal, meant)


def _values(given: HexInput, size: int, what: str) -> Iterator[tuple[int, int | None]]:
    return zip_longest(given.values(size, what), given.decimals)


def _if_decimal(value: int, decimal: int | None, meant: str) -> Iterator[Finding]:
    """Say of a number without a 0x, which kernels print in decimal too, what it would be."""
    if decimal is not None:
        text = f"{decimal} is read as {value:#x}; if it is decimal, it is {decimal:#x}: {meant}"
        yield Finding("decimal", "note", "input", text)


def _page_entries(given: HexInput, args: Namespace) -> _Found:
    mode: Mode = args.mode or ("4-level" if args.bits == 64 else "PSE")
    if args.level > LEVELS[mode]:
        raise UsageError(
            f"{mode} paging has no {NAMES[args.level]}: its levels are 1 to {LEVELS[mode]}"
        )
    size = 4 if LEVELS[mode] == 2 else 8
    for value in given.values(size, f"an entry of {mode} paging (see --mode)"):
        entry = decode_pte(value, mode, args.level, args.maxphyaddr)
        yield entry, check_page_entry(entry)


def _addresses(given: HexInput, args: Namespace) -> _Found:
    for value in given.values(_address_size(given, args), _of_mode("an address", args)):
        address = decode_address(value, args.mode, args.bits == 64)
        yield address, check_address(address, guessed=args.mode is None)


def _cr3(given: HexInput, args: Namespace) -> _Found:
    for value in given.values(_address_size(given, args), _of_mode("CR3", args)):
        wide = args.bits == 64 or value >> 32
        cr3 = Cr3(value, args.mode or ("4-level" if wide else "PSE"), pcide=None)
        yield cr3, check_cr3(value, cr3.mode, args.maxphyaddr)


def _address_size(given: HexInput, args: Namespace) -> int:
    if args.mode:
        return 8 if args.mode in WIDE else 4
    return 8 if args.bits == 64 or given.order == "number" else 4


def _of_mode(what: str, args: Namespace) -> str:
    return f"{what} of {args.mode} paging" if args.mode else what


def _flags(given: HexInput, args: Namespace) -> _Found:
    wide = args.bits == 64 or given.order == "number"
    for value in given.values(8 if wide else 4, f"{args.kind}"):
        flags = decode_flags(args.kind, value)
        yield flags, check_flags(flags)


_KINDS: dict[str, Callable[[HexInput, Namespace], _Found]] = {
    "descriptor": _descriptors,
    "gate": _gates,
    "gdt": _table,
    "ldt": _table,
    "idt": _table,
    "tss": _tss,
    "iobitmap": _iobitmap,
    "selector": _selectors,
    "errorcode": _error_codes,
    "pte": _page_entries,
    "address": _addresses,
    "eflags": _flags,
    "cr0": _flags,
    "cr3": _cr3,
    "cr4": _flags,
    "efer": _flags,
    "dr6": _flags,
    "dr7": _flags,
}


@command(
    "decode",
    "decode a hardware structure from hexadecimal text",
    arg(
        "kind",
        choices=[*_KINDS, "registers"],
        metavar="KIND",
        help=", ".join([*_KINDS, "registers"]),
    ),
    arg("hex", nargs="*", metavar="HEX", help="numbers, two-digit bytes, data lines; -: stdin"),
    arg(
        "-f",
        dest="file",
        metavar="FILE",
        help="read a text file: hexadecimal, a hex dump, data lines of an assembler",
    ),
    arg("--bits", type=int, choices=(16, 32, 64), default=32, help="the processor's mode (32)"),
    arg("--limit", type=integer, metavar="N", help="the last valid byte, of a table or a TSS"),
    arg("--mode", type=_mode, metavar="MODE", help="32-bit, PSE, PAE, 4-level or 5-level"),
    arg(
        "--maxphyaddr",
        type=_physical_bits,
        default=MAX_PHYSICAL_BITS,
        metavar="BITS",
        help="pte, cr3: the bits of a physical address that the processor has (52)",
    ),
    arg("--level", type=_level, default=1, metavar="LEVEL", help="pte: 1 to 5, or pte, pde, ..."),
    arg("--vector", type=_vector, metavar="VECTOR", help="errorcode: which exception pushed it"),
    arg("--bytes", action="store_true", help="read the digits as bytes in memory order"),
    example="decode descriptor 0x00cffb000000ffff",
    group="tools",
)
def decode(_session: Session, args: Namespace) -> Iterator[Decoded]:
    if args.limit is not None and args.limit < 0:
        raise UsageError(f"--limit {args.limit} is negative: it is the offset of the last byte")
    if args.kind == "registers":
        return _registers(_source(args))
    given = parse_hex(_source(args), args.bytes)
    results = list(_KINDS[args.kind](given, args))
    return (
        Decoded(model, given.order, tuple(found), index, given.reading)
        for index, (model, found) in enumerate(results)
    )


def _registers(source: str | list[str]) -> Iterator[Decoded]:
    try:
        dumps = parse_dumps(source if isinstance(source, str) else "\n".join(source))
    except ProtocolError as error:
        raise DataError(str(error)) from None
    for cpu, missing in dumps:
        unknown = {*missing, *(f"{name}R" for name in missing)}
        found = (finding for finding in check_cpu(cpu) if finding.where not in unknown)
        yield Decoded(cpu, None, (*_missing(missing), *found))


def _missing(names: tuple[str, ...]) -> Iterator[Finding]:
    if names:
        yield Finding("rows-missing", "note", "dump", f"no {', '.join(names)}: taken as 0")


def _source(args: Namespace) -> str | list[str]:
    if args.file is None and args.hex != ["-"]:
        if not args.hex:
            raise UsageError(f"decode {args.kind}: nothing to decode: give HEX, - or -f FILE")
        return list(args.hex)
    if args.file is None:
        if sys.stdin is None:
            raise DataError("standard input is closed")
        return _text(sys.stdin.buffer, "standard input")
    if args.hex:
        raise UsageError("decode: give either HEX or -f FILE")
    try:
        with Path(args.file).open("rb") as file:
            return _text(file, args.file)
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {args.file}: {getattr(error, 'strerror', error)}") from None


def _text(file: BinaryIO, name: str) -> str:
    raw = file.read(_MAXIMUM_TEXT + 1)
    if len(raw) > _MAXIMUM_TEXT:
        raise DataError(f"{name} is longer than {_MAXIMUM_TEXT} bytes: cut out what you mean")
    if b"\0" in raw or not raw.isascii():
        raise DataError(
            f"{name} is no text: make a hex dump of it (xxd FILE | klosdbg decode ... -)"
        )
    return raw.decode("ascii")
