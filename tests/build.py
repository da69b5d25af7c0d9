"""Build guests for tests, one worker at a time."""

import fcntl
import os
import subprocess
from pathlib import Path


def make(directory: Path, *variables: str) -> None:
    """Run make in a directory; workers of a parallel test run wait for one another."""
    lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = subprocess.run(
            ["make", "-s", "-C", directory, *variables], capture_output=True, text=True
        )
    finally:
        os.close(lock)
    assert made.returncode == 0, made.stderr
