"""A wheel, installed elsewhere: all that commands need is in it, but QEMU."""

import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile
from klosdbg import images
from tests.live.driver import KLOS, needs_klos
from tests.live.test_gdb_extension import needs_gdb_python
from tests.live.test_replay import needs_qemu_img
from tests.live.tiny import needs_qemu

pytestmark = [pytest.mark.qemu, needs_qemu, pytest.mark.xdist_group("wheel")]

ROOT = Path(__file__).parents[2]
READY = ("run", "--headless", "-c", "until klos_ready")
SOURCES = ("klosdbg", "guest", "hatch_build.py", "pyproject.toml", "README.md", "LICENSE")
_PATIENCE = 300.0

Document = dict[str, Any]


@dataclass(frozen=True)
class Installed:
    """A klosdbg in a virtual environment of its own, and an empty directory to run it in."""

    wheel: Path
    bin: Path
    empty: Path

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run it as its user does."""
        ours = {"VIRTUAL_ENV", "PYTHONPATH", "MAKEFLAGS", "MAKELEVEL"}
        given = {name: value for name, value in os.environ.items() if name not in ours}
        return subprocess.run(
            [self.bin / "klosdbg", *words],
            cwd=self.empty,
            env={**given, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
        )

    def documents(self, *words: str) -> list[Document]:
        """Run it to its good end, and return what it printed."""
        ran = self.run(*words)
        assert ran.returncode == 0, ran.stderr
        return [json.loads(line) for line in ran.stdout.splitlines()]


def pip(*words: str, python: Path = Path(sys.executable), **environment: str) -> str:
    """Run pip and return what it said, at the end whether it failed."""
    ran = subprocess.run(
        [python, "-m", "pip", "--disable-pip-version-check", *words],
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_PATIENCE,
    )
    return f"{ran.stdout}\nstatus {ran.returncode}"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy what a wheel is made of, without what was built there."""
    tree = tmp_path_factory.mktemp("tree")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(
                ROOT / name, tree / name, ignore=shutil.ignore_patterns("build", "__pycache__")
            )
        else:
            shutil.copy(ROOT / name, tree / name)
    return tree


@pytest.fixture(scope="module")
def installed(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Build the wheel, and install it with what it depends on."""
    place = tmp_path_factory.mktemp("wheel")
    said = pip("wheel", str(tree), "--no-deps", "-w", str(place))
    assert said.endswith("status 0"), said
    assert not (tree / "guest" / "build").exists(), "it was built in the tree"
    (wheel,) = place.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", place / "venv"], check=True)
    said = pip("install", str(wheel), python=place / "venv" / "bin" / "python")
    assert said.endswith("status 0"), said
    (place / "empty").mkdir()
    return Installed(wheel, place / "venv" / "bin", place / "empty")


def loaded(content: Path | zipfile.Path) -> list[tuple[int, bytes]]:
    """Return what is loaded of an image, and where; its DWARF names where it was built."""
    sections = ELFFile(io.BytesIO(content.read_bytes())).iter_sections()
    return [(s["sh_addr"], s.data()) for s in sections if s["sh_flags"] & SH_FLAGS.SHF_ALLOC]


@needs_klos
def test_the_images_are_those_of_make_guest(installed: Installed) -> None:
    """The same code and build ids; one wheel for every platform."""
    assert installed.wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(installed.wheel) as wheel:
        for image in (KLOS, images.PROBE, images.HOST_CYCLES):
            held = zipfile.Path(wheel, f"klosdbg/{image.relative_to(ROOT)}")
            assert loaded(held) == loaded(image)
            assert str(images.build_id(image)).encode() in held.read_bytes()


def test_run_and_selftest(installed: Installed) -> None:
    """KLOS boots, says which build it is, and its self-tests pass."""
    stop, klos, selftest = installed.documents(*READY, "-c", "klos", "-c", "selftest", "--json")
    assert stop["symbol"] == "klos_ready"
    assert klos["build_id"] == images.build_id(KLOS)
    results = [test["result"] for test in selftest["tests"]]
    assert results.count("pass") >= 16
    assert set(results) <= {"pass", "not-enforced"}


def test_doctor(installed: Installed) -> None:
    """The probe boots; the images are named, and nothing that only a checkout needs."""
    ran = installed.run("doctor", "--accel", "tcg")
    assert ran.returncode == 0, ran.stdout
    assert "\nImages of this installation\n" in ran.stdout
    assert "segment limits on memory access: NOT enforced by tcg" in ran.stdout
    assert "make" not in ran.stdout
    assert "bochs" not in ran.stdout
    (document,) = installed.documents("doctor", "--accel", "tcg", "--json")
    (probe,) = document["accelerators"]
    assert probe["status"] == "ok"
    assert len(probe["rows"]) >= 162
    places = [Path(image["path"]) for image in document["images"]]
    assert all(place.is_relative_to(installed.bin.parent) for place in places)
    assert [image["build"] for image in document["images"]] == [
        images.build_id(image) for image in (images.KLOS, images.PROBE, images.HOST_CYCLES)
    ]


def test_silicon(installed: Installed) -> None:
    """It judges what KLOS executes."""
    _, report = installed.documents(*READY, "-c", "silicon -n 300", "--json")
    assert (report["instructions"], report["refused"]) == (300, [])


def test_the_host_is_measured(installed: Installed) -> None:
    """The timing program runs, or its one line says why this host is none to measure."""
    ran = installed.run("run", "--headless", "--json", "-c", "bench-services --native")
    if ran.returncode:
        assert ran.stderr.startswith("klosdbg: cannot measure on this host: "), ran.stderr
        pytest.skip(ran.stderr.strip())
    native = json.loads(ran.stdout)["native"]
    assert native.keys() == {"design_a", "design_b", "syscall", "int80"}
    assert all(ticks > 0 for ticks in native.values())


@needs_gdb_python
def test_gdb_without_sources(installed: Installed, tree: Path) -> None:
    """gdb names functions and lines; where the sources are gone, ``list`` is one line less."""
    hidden = tree.rename(tree.with_name("hidden"))
    try:
        ran = installed.run(*READY, "-c", "gdb list klos_ready", "-c", "gdb bt")
    finally:
        hidden.rename(tree)
    assert (ran.returncode, ran.stderr) == (0, "")
    _stop, _instruction, listed, frame, *_ = ran.stdout.splitlines()
    assert "os/system.c" in listed
    assert "#0  klos_ready () at os/system.c:" in frame
    ran = installed.run(*READY, "-c", "gdb list klos_ready")
    assert "klos_ready(void)" in ran.stdout, "the sources are where the wheel was built"


@needs_gdb_python
def test_gdb_init(installed: Installed) -> None:
    """The line that it prints loads klosdbg, with all it depends on, into any gdb."""
    line = installed.run("gdb-init").stdout.strip()
    ran = subprocess.run(
        ["gdb", "-nx", "-batch", "-ex", line, "-ex", "klos decode selector 0x1b"],
        cwd=installed.empty,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
    )
    assert "GDT entry 3 at offset 0x18, rpl 3" in ran.stdout, ran.stderr


@needs_qemu_img
def test_the_same_boot_again(installed: Installed) -> None:
    """A deterministic capture of the packaged KLOS is replayed, and goes back."""
    ran = installed.run("capture", "-o", "boot.klos", "--deterministic", *READY[1:])
    assert ran.returncode == 0, ran.stderr
    reached, back = installed.documents(
        "replay", "boot.klos", "--headless", "--json", "-c", "until klos_ready", "-c", "rs"
    )
    assert reached["symbol"] == "klos_ready"
    assert str(back["symbol"]).startswith("system_main")


@pytest.fixture
def tools(tmp_path: Path) -> Callable[..., str]:
    """Give what makes a PATH of some programs and no others."""

    def path(*programs: str) -> str:
        for program in programs:
            found = shutil.which(program)
            assert found is not None
            (tmp_path / program).symlink_to(found)
        return str(tmp_path)

    return path


@pytest.mark.parametrize(
    ("there", "words", "code", "said"),
    [
        ((), ("run",), 3, "qemu-system-i386 is not installed: apt install qemu-system-x86 (Fedora"),
        (
            ("qemu-system-i386", "sh"),
            ("capture", "-o", "no.klos", "--deterministic", "--headless", "-c", "regs"),
            3,
            "qemu-img is not installed: apt install qemu-utils (Fedora",
        ),
        (("qemu-system-i386", "sh"), ("run", "--headless", "-c", "gdb bt"), 1, "apt install gdb ("),
    ],
    ids=["QEMU", "qemu-img", "gdb"],
)
def test_what_is_the_systems_is_named(
    installed: Installed,
    tools: Callable[..., str],
    there: tuple[str, ...],
    words: tuple[str, ...],
    code: int,
    said: str,
) -> None:
    """A missing program is one line, which names the packages of four systems."""
    ran = installed.run(*words, PATH=tools(*there))
    assert (ran.returncode, ran.stderr.count("\n")) == (code, 1), ran.stderr
    assert said in ran.stderr
    assert all(system in ran.stderr for system in ("Fedora", "Arch", "macOS"))
    assert list(installed.empty.glob("no.klos*")) == []


def test_a_wheel_cannot_be_built_without_make(tree: Path, tools: Callable[..., str]) -> None:
    """One line says what to install."""
    said = pip("wheel", str(tree), "--no-deps", "-w", str(tree), PATH=tools("gcc"))
    assert said.endswith("status 1")
    assert "[1 lines of output]\n      klosdbg: make is missing: install gcc, make," in said


def test_an_editable_install_builds_nothing(
    tree: Path, tmp_path: Path, tools: Callable[..., str]
) -> None:
    """A checkout's own build is used, so that no tool is needed."""
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    python = str(venv / "bin" / "python")
    said = pip("--python", python, "install", "--no-deps", "-e", str(tree), PATH=tools())
    assert said.endswith("status 0"), said
    asked = "import klosdbg.images as i; print(i.IN_CHECKOUT, i.KLOS)"
    told = subprocess.check_output([python, "-c", asked], cwd=tmp_path, text=True)
    assert told == f"True {tree / 'guest' / 'build' / 'klos.elf'}\n"
