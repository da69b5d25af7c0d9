"""Which of the systems that klosdbg knows a guest runs: the one place that lists them."""

from klosdbg.klos.known import find_klos_system
from klosdbg.ports import Symbols, Target
from klosdbg.system import UNKNOWN, System

_FINDERS = (find_klos_system,)


def find_system(target: Target, symbols: Symbols | None, search: bool = False) -> System:
    """Ask each system whether it is the one; ``UNKNOWN`` where none is, or nothing can be read.

    ``search`` lets it take as long as searching all memory does.
    """
    found = (find(target, symbols, search) for find in _FINDERS)
    return next((system for system in found if system is not None), UNKNOWN)
