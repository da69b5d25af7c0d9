"""Memory, code and symbols: mem, walk, dis, sym, console."""

import time
from argparse import Namespace
from collections.abc import Iterator

from klosdbg.commands.base import arg, command, integer
from klosdbg.errors import CommandError, UsageError
from klosdbg.models import (
    ConsoleText,
    Decoded,
    Listing,
    MemoryDump,
    Model,
    Result,
    SymbolInfo,
)
from klosdbg.read import read_cpu, read_instructions, read_memory, resolve, resolve_linear
from klosdbg.session import Session
from klosdbg.x86.checks import check_walk
from klosdbg.x86.paging import paging_of, walk_all

_DUMP = 64
_MAX_DUMP = 1 << 20
_MAX_LISTING = 1 << 16


@command(
    "mem",
    "show memory",
    arg("address", completes="symbol", metavar="ADDRESS", help="symbol+n, ds:0x10, phys:0x1000"),
    arg("count", nargs="?", type=integer, metavar="BYTES", help="how many bytes (64)"),
    arg("-w", dest="width", type=integer, choices=(1, 2, 4, 8), default=1, help="bytes a word (1)"),
    example="mem ds:0x1000 32 -w 4",
    group="look",
    reads=True,
    aliases=("x",),
)
def mem(session: Session, args: Namespace) -> Result:
    count = _DUMP if args.count is None else args.count
    if not 0 < count <= _MAX_DUMP:
        raise UsageError(f"mem: the count lies between 1 and {_MAX_DUMP} bytes")
    address = resolve(session.target, session.symbols, args.address)
    raw = read_memory(session.target, address, count, clip=args.count is None)
    return MemoryDump(address, raw, args.width)


@command(
    "walk",
    "walk the page tables for an address, entry by entry",
    arg("address", completes="symbol", metavar="ADDRESS", help="symbol+n, ds:0x10, 0x1000"),
    example="walk klos_ready",
    group="look",
    reads=True,
)
def walk(session: Session, args: Namespace) -> Result:
    target = session.target
    linear = resolve_linear(target, session.symbols, args.address)
    paging = paging_of(read_cpu(target))
    if paging is None:
        raise CommandError(f"paging is off: linear {linear:#010x} is physical as well")
    if target.physical is None:
        raise CommandError(f"{target.name} has no physical memory to read page tables from")
    found = walk_all(target.physical.read_many, [linear], paging)[linear]
    return Decoded(found, findings=tuple(check_walk(found)))


@command(
    "dis",
    "disassemble; without an address, from the next instruction on",
    arg("address", nargs="?", completes="symbol", metavar="ADDRESS", help="where to begin"),
    arg("count", nargs="?", type=integer, default=10, metavar="N", help="instructions (10)"),
    arg("--bits", type=integer, choices=(16, 32, 64), help="code size (that of CS)"),
    example="dis Event14_Ring0Stub 20",
    group="look",
    reads=True,
)
def dis(session: Session, args: Namespace) -> Result:
    if not 0 < args.count <= _MAX_LISTING:
        raise UsageError(f"dis: the count lies between 1 and {_MAX_LISTING} instructions")
    cpu = read_cpu(session.target)
    start = cpu.linear_pc
    if args.address:
        start = resolve_linear(session.target, session.symbols, args.address)
    bits = args.bits or cpu.code_bits
    instructions = read_instructions(session.target, start, args.count, bits)
    return Listing(bits, tuple(instructions), cpu.linear_pc)


@command(
    "sym",
    "show the address of a symbol, or the symbol at an address",
    arg("address", completes="symbol", metavar="NAME|ADDRESS", help="a symbol or an address"),
    example="sym klos_ready",
    group="look",
)
def sym(session: Session, args: Namespace) -> Result:
    found = session.symbols.address(args.address) if session.symbols else None
    if found is not None:
        return SymbolInfo(args.address, found)
    address = resolve_linear(session.target, session.symbols, args.address)
    name = session.symbol(address)
    if name is None:
        raise CommandError(f"no symbol reaches {address:#010x}")
    return SymbolInfo(name, address)


@command(
    "console",
    "show what the guest printed",
    arg("-f", "--follow", action="store_true", help="go on until Ctrl-C"),
    example="console",
    group="look",
)
def console(session: Session, args: Namespace) -> Iterator[Model]:
    read = session.target.read_console
    if read is None:
        raise CommandError(f"{session.target.name} has no console log: klosdbg did not start it")
    shown = b""
    while True:
        now = read()
        if now != shown:
            yield ConsoleText(now[len(shown) :])
        shown = now
        if not args.follow:
            return
        time.sleep(0.1)
