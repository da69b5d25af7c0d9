"""What KLOS adds to what a session shows: the selectors' roles."""

from klosdbg.klos.names import ROLES, current_info
from klosdbg.session import Session


def selector_roles(session: Session) -> dict[str, int]:
    """Map the roles that KLOS gives to selectors to their values; empty where KLOS is not there."""
    info = current_info(session)
    return {role: getattr(info, name) for role, name in ROLES.items()} if info else {}
