"""Build guests for tests, one worker at a time."""

import fcntl
import subprocess
import tempfile
from hashlib import sha256
from pathlib import Path


def make(directory: Path, *variables: str) -> None:
    """Run make in a directory; workers of a parallel test run wait for one another."""
    name = sha256(str(directory.resolve()).encode()).hexdigest()[:16]
    with open(Path(tempfile.gettempdir()) / f"make-{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = subprocess.run(
            ["make", "-s", "-C", directory, *variables], capture_output=True, text=True
        )
    assert made.returncode == 0, made.stderr
