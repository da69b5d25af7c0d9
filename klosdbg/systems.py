"""Which of the systems that klosdbg knows a guest runs: the one place that lists them."""

from klosdbg.klos.known import find_klos_system
from klosdbg.ports import Symbols, Target
from klosdbg.system import UNKNOWN, System
from klosdbg.tasks.known import TaskFinder


def find_system(
    target: Target, symbols: Symbols | None, search: bool = False, tasks: TaskFinder | None = None
) -> System:
    """Ask each system whether it is the one; ``UNKNOWN`` where none is, or nothing can be read.

    ``search`` lets it take as long as searching all memory does. ``tasks`` remembers of one guest
    what it need not read anew at each stop.
    """
    klos = find_klos_system(target, symbols, search)
    return klos or (tasks or TaskFinder()).find(target) or UNKNOWN
