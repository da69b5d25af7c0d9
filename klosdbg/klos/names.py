"""The roles of descriptor table slots, as KLOS tells them."""

from collections.abc import Mapping
from typing import Protocol

from klosdbg.errors import KlosdbgError
from klosdbg.klos.abi import KlosInfo
from klosdbg.klos.cache import StopCache
from klosdbg.klos.find import SYMBOL, find_by_symbol
from klosdbg.ports import Symbols, Target
from klosdbg.x86.selector import Selector

ROLES = {
    "csos": "csos",
    "dsapp": "dsapp",
    "dsos": "dsos",
    "core_code": "core_code",
    "core_data": "core_data",
    "tss": "tss_selector",
    "fault_tss": "fault_tss_selector",
    "ldt": "ldt_selector",
    "gate": "gate_selector",
}


class Debuggee(Protocol):
    """What this package needs of a session."""

    @property
    def target(self) -> Target:
        """The target, or a ``CommandError``."""

    @property
    def symbols(self) -> Symbols | None:
        """The symbols, where there are any."""

    @property
    def stop_cache(self) -> StopCache:
        """What was read at this stop."""


def slot_names(session: Debuggee, table: str) -> Mapping[int, str]:
    """Map indices of a table to roles; empty where KLOS is not there, or cannot be read now."""
    info = current_info(session)
    return selector_names(info, table) if info else {}


def selector_roles(session: Debuggee) -> dict[str, int]:
    """Map the roles that KLOS gives to selectors to their values; empty where KLOS is not there."""
    info = current_info(session)
    return {role: getattr(info, name) for role, name in ROLES.items()} if info else {}


def current_info(session: Debuggee) -> KlosInfo | None:
    """Read ``klos_info`` by its symbol, once a stop; None where it is not there."""
    if session.symbols is None or session.symbols.address(SYMBOL) is None:
        return None
    try:
        cpu = session.target.registers.read()
        return session.stop_cache.get(cpu, SYMBOL, lambda: _info(session))
    except KlosdbgError:
        return None


def _info(session: Debuggee) -> KlosInfo | None:
    try:
        found = find_by_symbol(session.target, session.symbols)
    except KlosdbgError:
        return None
    return found.info if found else None


def selector_names(info: KlosInfo, table: str) -> dict[int, str]:
    """Map indices of a table to the roles of the selectors that select from it."""
    selectors = {role: Selector(getattr(info, name)) for role, name in ROLES.items()}
    return {s.index: role for role, s in selectors.items() if s.table == table and not s.null}
