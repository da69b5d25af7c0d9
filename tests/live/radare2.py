"""radare2's command line, as its Python package ships it: libraries, and no program.

``python tests/live/radare2.py WORDS`` is ``r2 WORDS``. It is a process of its own, as a crash of
radare2 would be.
"""

import ctypes
import sys
from importlib.util import find_spec
from pathlib import Path

R2 = (sys.executable, __file__)


def libraries() -> Path | None:
    """Where the package has its shared libraries; None where it is not installed."""
    package = find_spec("libr")
    return Path(str(package.origin)).parent / "libr" if package else None


def main(words: list[str]) -> int:
    """Run radare2 with these words after its name."""
    found = libraries()
    if found is None:
        raise SystemExit("no radare2: pip install r2libr")
    library = ctypes.CDLL(str(found / "libr_main.so"))
    encoded = [b"r2", *(word.encode() for word in words)]
    return int(library.r_main_radare2(len(encoded), (ctypes.c_char_p * len(encoded))(*encoded)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
