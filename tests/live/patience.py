"""How long tests wait: for what happens, however busy the host is, and not for a time."""

import time
from collections.abc import Callable

PATIENCE = 100.0
"""Seconds that anything may take, before a test calls it a failure."""


def until(condition: Callable[[], object], patience: float = PATIENCE) -> None:
    """Wait until a function of no arguments returns something true."""
    ends = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.01)
