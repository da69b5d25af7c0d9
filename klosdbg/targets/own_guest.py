"""KLOS as commands boot it by themselves: to its start, with something to do then."""

from pathlib import Path
from typing import Any

from klosdbg.errors import TargetLost
from klosdbg.ports import Symbols, Target
from klosdbg.targets.qemu import QemuOptions

_READY_TIMEOUT = 20.0


def own_guest(image: Path, orders: str = "", **options: Any) -> QemuOptions:
    """Say how to boot the image, of one seed; ``orders`` are what its option ``run`` takes."""
    append = f"seed=1 run={orders}" if orders else "seed=1"
    return QemuOptions(image, append, headless=True, **options)


def run_to_ready(target: Target, symbols: Symbols) -> None:
    """Let it run to ``klos_ready``, or raise ``TargetLost`` where there is no such symbol."""
    control, ready = target.control, symbols.address("klos_ready")
    if control is None or ready is None:
        raise TargetLost(f"{target.name} has no symbol klos_ready: it is no KLOS")
    control.insert(ready)
    control.resume()
    control.wait(_READY_TIMEOUT)
    control.remove(ready)
