"""Registers and tables: regs, sregs, cr, gdt, ldt, idt, ivt, sel, tss, iomap, port."""

from argparse import ArgumentTypeError, Namespace

from klosdbg.commands.base import arg, command, integer
from klosdbg.errors import CommandError
from klosdbg.models import Result
from klosdbg.read import (
    read_cpu,
    read_gdt,
    read_idt,
    read_iomap,
    read_ivt,
    read_ldt,
    read_port_access,
    read_segment_states,
    read_selector,
    read_told,
    read_tss,
)
from klosdbg.session import Session
from klosdbg.x86.control import decode_control
from klosdbg.x86.table import Table

_CONTROL = ("cr0", "cr2", "cr3", "cr4", "efer", "dr6", "dr7")
_INDEX = arg("index", nargs="?", type=integer, metavar="INDEX", help="show this entry alone")
_ALL = arg("--all", action="store_true", help="show each slot, also runs of equal ones")


@command("regs", "show the registers", example="regs", reads=True, aliases=("r",))
def regs(session: Session, _args: Namespace) -> Result:
    return read_cpu(session.target)


@command(
    "sregs",
    "compare the segment registers' hidden parts with the descriptors in memory",
    example="sregs",
    reads=True,
)
def sregs(session: Session, _args: Namespace) -> Result:
    return read_segment_states(session.target)


@command(
    "cr",
    "show the control registers, EFER and DR6 and DR7, bit by bit",
    arg(
        "name",
        nargs="?",
        type=str.lower,
        choices=_CONTROL,
        metavar="NAME",
        help=f"show this one alone: {', '.join(_CONTROL)}",
    ),
    example="cr cr0",
    reads=True,
)
def cr(session: Session, args: Namespace) -> Result:
    control = decode_control(read_told(session.target, "cr0", "cr2", "cr3", "cr4", "efer"))
    found = control.only(args.name) if args.name else control
    if found is None:
        raise CommandError(f"{session.target.name} does not tell what is in {args.name.upper()}")
    return found


@command("gdt", "show the GDT, or one entry", _INDEX, _ALL, example="gdt 3", reads=True)
def gdt(session: Session, args: Namespace) -> Result:
    return _chosen(read_gdt(session.target, session.system.slot_names("gdt")), args)


@command("ldt", "show the LDT, or one entry", _INDEX, _ALL, example="ldt --all", reads=True)
def ldt(session: Session, args: Namespace) -> Result:
    return _chosen(read_ldt(session.target, session.system.slot_names("ldt")), args)


@command(
    "idt",
    "show the IDT, or one vector",
    arg("index", nargs="?", type=integer, metavar="VECTOR", help="show this vector alone"),
    _ALL,
    example="idt 14",
    reads=True,
)
def idt(session: Session, args: Namespace) -> Result:
    return _chosen(read_idt(session.target), args)


@command("ivt", "show the real-mode interrupt vectors", example="ivt", reads=True)
def ivt(session: Session, _args: Namespace) -> Result:
    return read_ivt(session.target)


@command(
    "sel",
    "follow a selector to its descriptor",
    arg(
        "selector",
        completes="selector",
        metavar="SELECTOR",
        help="a value (0x1b), a register (ds) or a role of KLOS (dsos)",
    ),
    example="sel 0x1b",
    reads=True,
)
def sel(session: Session, args: Namespace) -> Result:
    value = _selector(session, args.selector)
    table = "ldt" if value & 4 else "gdt"
    return read_selector(session.target, value, session.system.slot_names(table).get(value >> 3))


@command("tss", "show the current TSS, and the ports that it allows", example="tss", reads=True)
def tss(session: Session, _args: Namespace) -> Result:
    return read_tss(session.target)


@command("iomap", "show the I/O permission bitmap as port ranges", example="iomap", reads=True)
def iomap(session: Session, _args: Namespace) -> Result:
    return read_iomap(session.target)


@command(
    "port",
    "tell whether an access to a port would pass now, and by which rule",
    arg("port", metavar="PORT[/SIZE]", help="SIZE is 1, 2 or 4 bytes (1)"),
    example="port 0x3f8/2",
    reads=True,
)
def port(session: Session, args: Namespace) -> Result:
    number, _, size = args.port.partition("/")
    return read_port_access(session.target, _number(number), _number(size or "1"))


def _chosen(table: Table, args: Namespace) -> Result:
    if args.index is None:
        return table.expanded() if args.all else table
    found = table.only(args.index)
    if found is None:
        name, last = table.kind.upper(), table.slots - 1
        if 0 <= args.index <= last:
            raise CommandError(
                f"entry {args.index} of the {name} is not mapped: see '{table.kind}'"
            )
        raise CommandError(
            f"the {name} has no entry {args.index}: its limit is {table.limit:#x}, "
            + (f"so the last is {last}" if table.slots else "which reaches none")
        )
    return found


def _selector(session: Session, wanted: str) -> int:
    cpu = read_cpu(session.target)
    if wanted.lower() in cpu.segments:
        return cpu.segments[wanted.lower()].selector
    role = session.system.selector_roles.get(wanted.lower())
    return role if role is not None else _written_selector(wanted)


def _written_selector(wanted: str) -> int:
    try:
        value = integer(wanted)
    except ArgumentTypeError:
        raise CommandError(
            f"no selector {wanted!r}: write a value (0x1b), a segment register (ds) "
            "or, where KLOS has booted, a role (dsos)"
        ) from None
    if not 0 <= value <= 0xFFFF:
        raise CommandError(f"{wanted}: a selector has 16 bits")
    return value


def _number(string: str) -> int:
    try:
        return integer(string)
    except ArgumentTypeError as error:
        raise CommandError(str(error)) from None
