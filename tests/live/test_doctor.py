"""klosdbg doctor on this machine: what it says for a bug report."""

import json
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest
from klosdbg.images import KLOS, PROBE, build_id
from tests.build import make
from tests.live.driver import assert_fits, klosdbg
from tests.live.tiny import QEMU, needs_qemu

pytestmark = [pytest.mark.qemu, needs_qemu]


def test_it_names_the_versions_here() -> None:
    """The block at the end, and in the JSON; each version is what the program says of itself."""
    make(PROBE.parents[1])
    ran = klosdbg("doctor", "--accel", "tcg", "--json")
    named = json.loads(ran.out)["environment"]
    assert (named["klosdbg"], named["python"]) == (version("klosdbg"), platform.python_version())
    assert platform.release() in named["system"]
    number, _, path = named["qemu"].removesuffix(")").partition(" (")
    assert Path(path).name == QEMU
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
    assert f"version {number} " in said
    assert named["accelerators"] == "tcg ok"
    assert named["klos.elf"] == f"build {build_id(KLOS)}"
    shown = klosdbg("doctor", "--accel", "tcg")
    assert_fits(shown.out)
    block = shown.out.split("For a bug report:\n\n")[1]
    assert block.split() == [word for row in named.items() for word in " ".join(row).split()]


def test_where_there_is_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing is said to be, and klosdbg cannot do its work."""
    monkeypatch.setenv("PATH", str(tmp_path))
    ran = klosdbg("doctor", "--json", "--qemu", "./absent", cwd=tmp_path)
    named = json.loads(ran.out)["environment"]
    assert (named["qemu"], named["gdb"]) == ("not installed (./absent)", "not installed")
    assert named["accelerators"] == "tcg cannot-start, kvm cannot-start"
    assert "bochs" not in named
    assert ran.code != 0
