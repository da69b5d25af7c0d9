"""Getting a guest to where it answers."""

from klosdbg.errors import CommandError
from klosdbg.klos.find import find_klos
from klosdbg.klos.mailbox import run_until_ready
from klosdbg.read import read_cpu
from klosdbg.running.execution import run_to
from klosdbg.session import Session


def reach_ready(session: Session) -> None:
    """Let the guest run until KLOS is ready; it must be stopped, and stays where it is if ready."""
    if session.control.running:
        raise CommandError("the guest is running: 'interrupt' it before you write to it")
    ready = session.symbols.address("klos_ready") if session.symbols else None
    here = read_cpu(session.target).linear_pc
    if here == ready or find_klos(session.target, session.symbols).ready:
        return
    if ready is None:
        run_until_ready(session.target, session.symbols, session.timeout)
        return
    stop = run_to(session, ready, "KLOS did not become ready")
    if stop.linear != ready:
        raise CommandError(f"the guest stopped ({stop.reason}) before KLOS was ready")
