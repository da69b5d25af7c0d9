"""Build the images that a wheel holds: KLOS, the probe guest, the host's timing program.

They are data: QEMU runs two of them, and the third has no library but Linux. So the wheel is one
for every platform. They are built elsewhere than a checkout's own, from nothing.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_IMAGES = {"guest": "klos.elf", "guest/probe": "probe.elf", "guest/hostprobe": "cycles64"}
_TOOLS = ("make", "gcc", "ld", "sha1sum")
_PACKAGES = "gcc, make, binutils and coreutils"


class ImagesHook(BuildHookInterface):
    """Puts the images into a wheel, under ``klosdbg`` as they are under a checkout."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the images; an editable install uses those that its checkout builds."""
        if version == "editable":
            return
        missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
        if missing:
            sys.exit(f"klosdbg: {missing[0]} is missing: install {_PACKAGES}, which build KLOS")
        self._built = tempfile.TemporaryDirectory(prefix="klosdbg-images-")
        for directory, image in _IMAGES.items():
            path = Path(self._built.name, directory, image)
            _make(Path(self.root, directory), path)
            build_data["force_include"][str(path)] = f"klosdbg/{directory}/build/{image}"

    def finalize(self, version: str, _build_data: dict[str, Any], _artifact_path: str) -> None:
        """Remove what was built: it is in the wheel."""
        if version != "editable":
            self._built.cleanup()


def _make(directory: Path, image: Path) -> None:
    """Build one image, whatever the environment says of how to build others."""
    known = {name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ}
    command = ["make", f"-j{os.cpu_count() or 1}", f"BUILD={image.parent}", str(image)]
    made = subprocess.run(command, cwd=directory, env=known, capture_output=True, text=True)
    if made.returncode:
        sys.exit(f"{made.stderr}klosdbg: cannot build {image.name}: it takes a gcc that knows -m32")
