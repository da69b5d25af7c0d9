"""How fast klosdbg is: bench."""

from argparse import Namespace
from collections.abc import Iterator

from klosdbg.commands.base import command
from klosdbg.errors import CommandError
from klosdbg.session import Session
from klosdbg.trace.bench import (
    Bench,
    Measured,
    compare_decoding,
    compare_pipeline,
    compare_tables,
)


@command(
    "bench",
    "measure klosdbg's speed, as ratios, on guests that it boots",
    example="bench",
    group="tools",
)
def bench(session: Session, _args: Namespace) -> object:
    return Bench(tuple(_measured(session)))


def _measured(session: Session) -> Iterator[Measured]:
    if session.factories is None:
        raise CommandError("bench needs to boot guests, which this front end cannot")
    with (
        session.factories.guest(shared=True) as ram,
        session.factories.guest(shared=False) as stub,
    ):
        gdtr = ram.registers.read().gdtr
        base, size = gdtr.base, 2 * (gdtr.limit + 1)
        yield compare_tables(ram.linear, stub.linear, base, size)
        yield compare_pipeline(stub.linear, base, size)
        yield compare_decoding(ram.linear.read(base, gdtr.limit + 1))
