"""Directories that only we can enter, removed by us or, after a violent death, by the next start.

A lock on a file inside is held as long as the owner lives; the kernel lets go of it when the owner
dies, however it dies. So whoever can take the lock may remove the directory.
"""

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
import time
from pathlib import Path

_PREFIX = "klosdbg-"
_LOCK = "lock"
_MIN_AGE = 10.0


class PrivateDirectory:
    """A directory of mode 0700 with a life no longer than its owner's."""

    def __init__(self) -> None:
        remove_abandoned()
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._lock = os.open(self.path / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def remove(self) -> None:
        """Remove the directory and all in it. Doing it twice does no harm."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def remove_abandoned() -> None:
    """Remove the directories of owners that died without removing theirs."""
    for path in Path(tempfile.gettempdir()).glob(_PREFIX + "*"):
        with contextlib.suppress(OSError):
            if _is_ours(path) and _is_abandoned(path / _LOCK):
                shutil.rmtree(path, ignore_errors=True)


def _is_ours(path: Path) -> bool:
    status = path.lstat()
    old_enough = time.time() - status.st_mtime > _MIN_AGE
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and old_enough


def _is_abandoned(lock: Path) -> bool:
    descriptor = os.open(lock, os.O_RDWR | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True
