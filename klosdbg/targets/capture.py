"""Opening a capture from the file system: a finished zip, or the directory of one that was not."""

import io
from pathlib import Path

from klosdbg.errors import DataError
from klosdbg.wire.bundle_directory import directory_members
from klosdbg.wire.bundle_read import Bundle, open_bundle
from klosdbg.wire.bundle_zip import MOST_MEMBER, zip_members

_PART = ".part"


def open_capture(path: Path) -> Bundle:
    """Open a capture: a zip, or the directory of a recording that was not finished.

    Raise ``DataError`` for what cannot be read or is no capture.
    """
    if not path.exists() and path.with_name(path.name + _PART).is_dir():
        path = path.with_name(path.name + _PART)
    try:
        if path.is_dir():
            return open_bundle(directory_members(path), unfinished=True)
        if path.stat().st_size > MOST_MEMBER:
            raise DataError(f"the capture is refused: it has more than {MOST_MEMBER >> 20} MiB")
        return open_bundle(zip_members(io.BytesIO(path.read_bytes())))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError(f"cannot open {path}: {reason}: check its path") from None
    except DataError as error:
        raise DataError(f"cannot open {path}: {error}") from None
