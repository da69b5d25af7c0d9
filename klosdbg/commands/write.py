"""Changing the guest, on purpose: set."""

from argparse import ArgumentTypeError, Namespace

from klosdbg.commands.base import arg, command, integer
from klosdbg.errors import CommandError, MemoryFault, UsageError
from klosdbg.models import Address, Result, Written
from klosdbg.read import read_cpu, read_register, resolve
from klosdbg.session import Session

_WIDTHS = {"b": 1, "w": 2, "d": 4, "q": 8}


@command(
    "set",
    "write a register or memory (this changes the guest)",
    arg("place", completes="register", metavar="PLACE", help="a register, or an ADDRESS"),
    arg("value", completes="symbol", metavar="VALUE", help="a number, or an ADDRESS"),
    arg(
        "-w",
        dest="width",
        choices=_WIDTHS,
        default="d",
        help="memory: byte, word, dword, qword (d)",
    ),
    example="set ds:0x1000 0x2a -w b",
    group="change",
)
def set_(session: Session, args: Namespace) -> Result:
    if session.control.running:
        raise CommandError("the guest is running: 'interrupt' it before you write to it")
    value = _value(session, args.value)
    if read_register(read_cpu(session.target), args.place) is not None:
        return _set_register(session, args.place.lower(), value)
    address = resolve(session.target, session.symbols, args.place)
    return _set_memory(session, address, value, _WIDTHS[args.width])


def _value(session: Session, wanted: str) -> int:
    try:
        return integer(wanted)
    except ArgumentTypeError:
        return resolve(session.target, session.symbols, wanted).value


def _refusal(session: Session) -> str:
    return f"{session.target.name} cannot be written to: {session.target.read_only}"


def _set_register(session: Session, name: str, value: int) -> Written:
    writer = session.target.register_writer
    if writer is None:
        raise CommandError(_refusal(session))
    before = read_register(read_cpu(session.target), name)
    writer.write(name, value)
    after = read_register(read_cpu(session.target), name)
    if after != value:
        became = "stayed" if after == before else "became"
        raise CommandError(f"{name} {became} {after:#x}: the target did not take {value:#x}")
    return Written(name, f"{before:#x}", f"{after:#x}")


def _set_memory(session: Session, address: Address, value: int, width: int) -> Written:
    writer = session.target.linear_writer
    if writer is None:
        raise CommandError(_refusal(session))
    if address.space != "linear":
        raise CommandError(f"{address.space} memory cannot be written: give a linear address")
    if not -(1 << (8 * width - 1)) <= value < 1 << (8 * width):
        raise UsageError(f"set: {value:#x} does not fit in {width} bytes (see -w)")
    new = (value % (1 << (8 * width))).to_bytes(width, "little")
    before = session.target.linear.read(address.value, width)
    writer.write(address.value, new)
    after = session.target.linear.read(address.value, width)
    if after != new:
        raise MemoryFault(address.space, address.value, width, "write")
    return Written(f"{address.value:#010x}", before[::-1].hex(), after[::-1].hex())
