"""What KLOS adds to what a session shows: the selectors' roles, and the process that runs."""

from klosdbg.errors import KlosdbgError
from klosdbg.klos.names import ROLES, current_info
from klosdbg.klos.processes import read_processes
from klosdbg.read import read_cpu
from klosdbg.session import Session


def selector_roles(session: Session) -> dict[str, int]:
    """Map the roles that KLOS gives to selectors to their values; empty where KLOS is not there."""
    info = current_info(session)
    return {role: getattr(info, name) for role, name in ROLES.items()} if info else {}


def process_name(session: Session) -> str | None:
    """Name the process that runs now, once a stop; None where KLOS is not there."""
    if current_info(session) is None:
        return None
    cpu = read_cpu(session.target)
    return session.stop_cache.get(cpu, "process", lambda: _process(session))


def _process(session: Session) -> str | None:
    try:
        found = read_processes(session.target, session.symbols, False)
    except KlosdbgError:
        return None
    return next((p.name for p in found.processes if p.pid == found.current_pid), None)
