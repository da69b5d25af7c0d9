"""DSOS, the secret data selector: where it is, and whether everything agrees."""

from argparse import Namespace

from klosdbg.commands.base import command
from klosdbg.klos.audit.run import audit
from klosdbg.klos.dsos import read_dsos
from klosdbg.session import Session


@command(
    "dsos",
    "show where DSOS is, and every prologue's immediate, decoded and compared",
    example="dsos",
    group="klos",
    reads=True,
)
def dsos(session: Session, _args: Namespace) -> object:
    return read_dsos(session.target, session.symbols)


@command(
    "dsos audit",
    "check that everything about DSOS agrees: tables, prologues, contexts, applications",
    example="dsos audit",
    group="klos",
    reads=True,
)
def dsos_audit(session: Session, _args: Namespace) -> object:
    return audit(session.target, session.symbols)
