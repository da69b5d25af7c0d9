"""The members of a capture that was not finished: a directory, as bounded as a zip."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from klosdbg.errors import DataError
from klosdbg.wire.bundle_zip import CHUNK, MOST_MEMBER, Members

_MOST_LISTED = 10_000


def directory_members(directory: Path) -> Members:
    """List a directory's members, or raise ``DataError`` for too many.

    Links and what klosdbg was packing are left out.
    """
    members = Members()
    for number, path in enumerate(sorted(directory.rglob("*"))):
        if number > _MOST_LISTED:
            raise DataError("it is no recording: too many files")
        if path.is_file() and not path.is_symlink() and path.name != "packed":
            members.add(path.relative_to(directory).as_posix(), partial(_pieces, path))
    return members


def _pieces(path: Path) -> Iterator[bytes]:
    left = MOST_MEMBER
    try:
        with path.open("rb") as file:
            while left > 0 and (chunk := file.read(CHUNK)):
                left -= len(chunk)
                yield chunk
    except OSError as error:
        raise DataError(f"{path.name} cannot be read: {error.strerror}") from None
