"""The dependency rule of ARCHITECTURE.md, read off the imports."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "klosdbg"

MAY_IMPORT = {
    "errors": set(),
    "interrupts": set(),
    "images": {"errors"},
    "options": {"errors"},
    "x86": set(),
    "models": {"x86"},
    "ports": {"x86"},
    "wire": {"errors", "x86"},
    "read": {"errors", "x86", "models", "ports"},
    "klos": {"errors", "x86", "ports", "read"},
    "events": {"errors", "x86"},
    "recording": {"errors", "interrupts", "x86", "models", "ports", "read", "klos", "events"},
    "silicon": {"errors", "x86", "models", "ports", "read", "klos", "recording"},
    "captures": {"errors", "interrupts", "x86", "ports", "wire", "read", "klos", "events"},
    "bench": {"x86", "ports"},
    "session": {"errors", "models", "ports", "klos", "events", "recording", "captures", "bench"},
    "running": {
        "errors",
        "interrupts",
        "x86",
        "models",
        "ports",
        "read",
        "klos",
        "events",
        "recording",
        "session",
    },
    "targets": {"errors", "interrupts", "x86", "ports", "wire"},
    "views": {"x86", "models", "klos", "events", "recording", "silicon", "captures", "bench"},
    "commands": {
        "errors",
        "x86",
        "models",
        "ports",
        "wire",
        "read",
        "klos",
        "events",
        "recording",
        "silicon",
        "captures",
        "bench",
        "session",
        "running",
    },
    "frontend": {"errors", "session", "views", "commands"},
    "completion": {"errors", "read", "session", "commands"},
    "shell": {
        "errors",
        "models",
        "read",
        "klos",
        "session",
        "running",
        "views",
        "commands",
        "frontend",
        "completion",
    },
    "server": {
        "errors",
        "x86",
        "models",
        "ports",
        "wire",
        "read",
        "klos",
        "session",
        "running",
        "views",
        "commands",
        "frontend",
    },
}
ROOTS = {"__main__", "factories", "__init__", "gdb_entry"}
OUTSIDE_ONLY_IN = {"targets", "server"}
OUTSIDE = {"socket", "subprocess", "mmap", "gdb", "selectors", "asyncio", "socketserver", "qemu"}


def part_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def violations(path: Path) -> Iterator[str]:
    part = part_of(path)
    if part in ROOTS:
        return
    for name in imports(path):
        first, _, rest = name.partition(".")
        if first == "klosdbg" and rest:
            other = rest.split(".")[0]
            if (
                other != part
                and other not in MAY_IMPORT[part]
                and (ROOT / other).with_suffix(".py").exists() | (ROOT / other).is_dir()
            ):
                yield f"{part} imports {name}"
        elif first in OUTSIDE and part not in OUTSIDE_ONLY_IN:
            yield f"{part} imports {name}"


FILES = sorted(ROOT.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_dependencies_point_one_way(path: Path) -> None:
    """A part imports only what the map allows."""
    assert list(violations(path)) == []


@pytest.mark.parametrize(
    ("source", "part"),
    [
        ("from klosdbg.read import read_cpu", "views"),
        ("import klosdbg.targets.rsp", "commands"),
        ("import socket", "commands"),
        ("from klosdbg import session", "x86"),
    ],
)
def test_the_rule_catches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, part: str
) -> None:
    """A planted forbidden import is found."""
    planted = tmp_path / part / "planted.py"
    planted.parent.mkdir()
    planted.write_text(source)
    monkeypatch.setattr(f"{__name__}.part_of", lambda _path: part)
    assert list(violations(planted))


def test_views_never_read_memory() -> None:
    """No view calls a port."""
    for path in (ROOT / "views").glob("*.py"):
        called = {
            n.func.attr
            for n in ast.walk(ast.parse(path.read_text()))
            if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)
        }
        assert not called & {"read", "read_many", "write"}, path


def test_no_file_is_too_long() -> None:
    """Files stay short enough to be read at once."""
    for path in [*FILES, *ROOT.parent.glob("guest/**/*.[chS]"), *ROOT.parent.glob("tests/**/*.py")]:
        assert len(path.read_text().splitlines()) <= 400, path
