"""Registers and tables: regs, sregs, cr, gdt, ldt, idt, ivt, sel, tss, tasks, iomap, port."""

from argparse import ArgumentTypeError, Namespace
from collections.abc import Callable, Mapping

from klosdbg.commands.base import arg, command, integer
from klosdbg.errors import CommandError
from klosdbg.models import Result
from klosdbg.other_task import read_ldt_of, read_tss_of, system_segment
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
from klosdbg.tasks.reading import read_tasks
from klosdbg.x86.control import decode_control
from klosdbg.x86.selector import Selector
from klosdbg.x86.table import Table

_EVERY_SLOT = 8192
_CONTROL = ("cr0", "cr2", "cr3", "cr4", "efer", "dr6", "dr7")
_INDEX = arg("index", nargs="?", type=integer, metavar="INDEX", help="show this entry alone")
_SELECTOR = "a value (0x1b), a register (ds) or a role of KLOS (dsos)"
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
    table = _named(session, lambda names: read_gdt(session.target, names), "gdt")
    return _chosen(table, args.index, args.all)


@command(
    "ldt",
    "show the LDT, or one entry, or another task's LDT",
    arg(
        "which",
        nargs="?",
        completes="selector",
        metavar="INDEX|SELECTOR",
        help="this entry alone; a name, or a number past the last entry, is as of --of",
    ),
    arg(
        "--of",
        completes="selector",
        metavar="SELECTOR",
        help="the LDT of this selector, or of the task whose TSS it selects; not the one in LDTR",
    ),
    _ALL,
    example="ldt 1 --of 0x28",
    reads=True,
)
def ldt(session: Session, args: Namespace) -> Result:
    selector, index = _ldt_wanted(session, args)

    def read(names: Mapping[int, str]) -> Table:
        if selector is None:
            return read_ldt(session.target, names)
        return read_ldt_of(session.target, selector, names)

    return _chosen(_named(session, read, "ldt"), index, args.all)


def _named(session: Session, read: Callable[[Mapping[int, str]], Table], kind: str) -> Table:
    """Read a table with the names of its slots.

    One with every slot there can be is worth a search for a KLOS that has no symbols.
    """
    table = read(session.system.slot_names(kind))
    if table.slots < _EVERY_SLOT or session.system.selector_roles:
        return table
    names = session.search_system().slot_names(kind)
    return read(names) if names else table


def _ldt_wanted(session: Session, args: Namespace) -> tuple[int | None, int | None]:
    """Say which selector's LDT is wanted, None for the one in LDTR, and which entry of it."""
    if args.of is not None:
        return _selector(session, args.of), None if args.which is None else _number(args.which)
    try:
        number = None if args.which is None else integer(args.which)
    except ArgumentTypeError:
        return _selector(session, args.which), None
    if number is None or not _selects_ldt(session, number):
        return None, number
    ldtr = read_cpu(session.target).segments["ldtr"]
    there_is = ldtr.present and not Selector(ldtr.selector).null
    if not there_is or number * 8 + 7 > ldtr.limit:
        return number, None
    session.warn(f"entry {number}; the LDT that {number:#x} selects: 'ldt --of {number:#x}'")
    return None, number


def _selects_ldt(session: Session, value: int) -> bool:
    return 0 <= value <= 0xFFFF and system_segment(session.target, value) is not None


@command(
    "idt",
    "show the IDT, or one vector",
    arg("index", nargs="?", type=integer, metavar="VECTOR", help="show this vector alone"),
    _ALL,
    example="idt 14",
    reads=True,
)
def idt(session: Session, args: Namespace) -> Result:
    return _chosen(read_idt(session.target), args.index, args.all)


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
        help=_SELECTOR,
    ),
    example="sel 0x1b",
    reads=True,
)
def sel(session: Session, args: Namespace) -> Result:
    value = _selector(session, args.selector)
    table = "ldt" if value & 4 else "gdt"
    return read_selector(session.target, value, session.system.slot_names(table).get(value >> 3))


@command(
    "tss",
    "show the current TSS or another one, and the ports that it allows",
    arg(
        "selector",
        nargs="?",
        completes="selector",
        metavar="SELECTOR",
        help=f"another task's: {_SELECTOR}",
    ),
    example="tss 0x28",
    reads=True,
)
def tss(session: Session, args: Namespace) -> Result:
    if args.selector is None:
        return read_tss(session.target)
    return read_tss_of(session.target, _selector(session, args.selector))


@command(
    "tasks",
    "list the tasks that the processor switches: every TSS in the GDT",
    example="tasks",
    reads=True,
)
def tasks(session: Session, _args: Namespace) -> Result:
    return read_tasks(session.target)


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


def _chosen(table: Table, index: int | None, everything: bool) -> Result:
    if index is None:
        return table.expanded() if everything else table
    found = table.only(index)
    if found is None:
        name, last = table.kind.upper(), table.slots - 1
        if 0 <= index <= last:
            raise CommandError(f"entry {index} of the {name} is not mapped: see '{table.kind}'")
        raise CommandError(
            f"the {name} has no entry {index}: its limit is {table.limit:#x}, "
            + (f"so the last is {last}" if table.slots else "which reaches none")
        )
    return found


def _selector(session: Session, wanted: str) -> int:
    cpu = read_cpu(session.target)
    if wanted.lower() in cpu.segments:
        return cpu.segments[wanted.lower()].selector
    role = session.system.selector_roles.get(wanted.lower())
    if role is None and wanted.isidentifier():
        role = session.search_system().selector_roles.get(wanted.lower())
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
