"""Where our own images are: a checkout's own build, else the one that the package holds."""

import re
from pathlib import Path

from klosdbg.errors import DataError

_PACKAGE = Path(__file__).resolve().parent
_BUILD_ID = re.compile(rb"(?<![0-9a-f])[0-9a-f]{39}\0")
"""A digest of an image's sources, that its makefile gives it; nothing else in it looks so."""

IN_CHECKOUT = (_PACKAGE.parent / "guest" / "Makefile").exists()
_GUEST = (_PACKAGE.parent if IN_CHECKOUT else _PACKAGE) / "guest"

KLOS = _GUEST / "build" / "klos.elf"
PROBE = _GUEST / "probe" / "build" / "probe.elf"
HOST_CYCLES = _GUEST / "hostprobe" / "build" / "cycles64"


def found(image: Path) -> Path:
    """Return where an image is, or raise ``DataError`` that says how to get it."""
    if image.exists():
        return image
    if IN_CHECKOUT:
        raise DataError(f"{image.name} is not built yet: run 'make guest'")
    raise DataError(f"{image} is missing: install klosdbg again")


def build_id(image: Path) -> str | None:
    """Read an image's build id; None where the image, or an id in it, is missing."""
    try:
        match = _BUILD_ID.search(image.read_bytes())
    except OSError:
        return None
    return match[0][:-1].decode() if match else None
