"""The dependency rule of ARCHITECTURE.md, read off the imports."""

import ast
import os
from collections.abc import Iterable, Iterator
from functools import cache
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
    "paged": {"errors", "x86", "ports"},
    "other_task": {"errors", "x86", "ports", "read"},
    "system": {"x86", "ports", "recording"},
    "stop_cache": {"x86"},
    "stops": {"errors", "interrupts", "ports"},
    "klos": {
        "errors",
        "x86",
        "models",
        "ports",
        "read",
        "paged",
        "events",
        "recording",
        "system",
    },
    "tasks": {"errors", "x86", "ports", "read", "other_task", "events", "recording", "system"},
    "systems": {"ports", "system", "klos", "tasks"},
    "events": {"errors", "x86"},
    "recording": {
        "errors",
        "interrupts",
        "x86",
        "models",
        "ports",
        "read",
        "other_task",
        "paged",
        "events",
    },
    "silicon": {"errors", "x86", "models", "ports", "read", "system", "recording"},
    "captures": {
        "errors",
        "interrupts",
        "x86",
        "models",
        "ports",
        "wire",
        "read",
        "other_task",
        "paged",
        "system",
        "tasks",
        "events",
    },
    "bench": {"x86", "ports"},
    "session": {
        "errors",
        "x86",
        "models",
        "ports",
        "stop_cache",
        "stops",
        "system",
        "systems",
        "tasks",
        "events",
        "recording",
        "captures",
        "bench",
    },
    "running": {
        "errors",
        "interrupts",
        "x86",
        "models",
        "ports",
        "read",
        "events",
        "recording",
        "session",
    },
    "targets": {"errors", "interrupts", "x86", "ports", "paged", "wire"},
    "views": {
        "x86",
        "models",
        "klos",
        "tasks",
        "events",
        "recording",
        "silicon",
        "captures",
        "bench",
    },
    "commands": {
        "errors",
        "x86",
        "models",
        "ports",
        "wire",
        "read",
        "other_task",
        "klos",
        "tasks",
        "events",
        "recording",
        "silicon",
        "captures",
        "bench",
        "session",
        "running",
        "systems",
    },
    "frontend": {"errors", "x86", "models", "session", "views", "commands"},
    "completion": {"errors", "read", "session", "commands"},
    "shell": {
        "errors",
        "models",
        "read",
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
        "other_task",
        "paged",
        "session",
        "stops",
        "running",
        "views",
        "commands",
        "frontend",
        "system",
    },
}
KNOW_KLOS = {
    *(f"commands/{name}.py" for name in ("attack", "bench", "dsos", "klos")),
    *(f"views/{name}.py" for name in ("dsos", "gadgets", "guesses", "klos", "klos_lists")),
    *(f"views/{name}.py" for name in ("klos_runs", "relocations", "watch")),
    "systems.py",
}
"""What is there for KLOS alone, and the one place that lists the systems; the rest is generic."""
ROOMS = {path.parent.name for path in ROOT.glob("*/__init__.py")}
ROOTS = {"__main__", "factories", "__init__", "gdb_entry"}
READERS = ("klosdbg.ports", "klosdbg.read", "klosdbg.session")
"""What a module that reads a target imports, itself or through another."""
OUTSIDE_ONLY_IN = {"targets", "server"}
OUTSIDE = {"socket", "subprocess", "mmap", "gdb", "selectors", "asyncio", "socketserver", "qemu"}


def part_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


@cache
def imports(path: Path) -> tuple[str, ...]:
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.append(node.module or "")
            names += (f"{node.module}.{alias.name}" for alias in node.names)
    return tuple(names)


def parts_imported(path: Path) -> Iterator[tuple[str, str]]:
    """Yield each part of klosdbg that a file imports, with the name that it imports."""
    for name in imports(path):
        first, _, rest = name.partition(".")
        part = rest.split(".")[0]
        if first == "klosdbg" and ((ROOT / part).with_suffix(".py").exists() or part in ROOMS):
            yield part, name


def violations(path: Path) -> Iterator[str]:
    part = part_of(path)
    if part in ROOTS:
        return
    for other, name in parts_imported(path):
        if other != part and other not in MAY_IMPORT[part]:
            yield f"{part} imports {name}"
    if part not in OUTSIDE_ONLY_IN:
        outside = (name for name in imports(path) if name.partition(".")[0] in OUTSIDE)
        yield from (f"{part} imports {name}" for name in outside)


def unused_grants(files: Iterable[Path]) -> set[tuple[str, str]]:
    """Find what MAY_IMPORT allows and nobody imports, as ``(part, other)``."""
    used = {(part_of(path), other) for path in files for other, _ in parts_imported(path)}
    granted = {(part, other) for part, others in MAY_IMPORT.items() for other in others}
    return granted - used


def reached(path: Path) -> dict[str, str]:
    """Map each module that a file imports, in any depth, to the one that imports it."""
    found: dict[str, str] = {}
    unread = [(path, path.name)]
    while unread:
        importer, importer_name = unread.pop()
        for name in imports(importer):
            module = ROOT.parent.joinpath(*name.split(".")).with_suffix(".py")
            if name.startswith("klosdbg.") and module.exists() and name not in found:
                found[name] = importer_name
                unread.append((module, name))
    return found


FILES = sorted(ROOT.rglob("*.py"))
VIEWS = sorted((ROOT / "views").rglob("*.py"))


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


def test_every_grant_is_used() -> None:
    """The map allows nothing that nobody needs."""
    assert unused_grants(FILES) == set()


def test_a_grant_that_nobody_uses_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted one is named."""
    monkeypatch.setitem(MAY_IMPORT, "x86", {*MAY_IMPORT["x86"], "wire"})
    assert unused_grants(FILES) == {("x86", "wire")}


def knows_klos(path: Path) -> bool:
    """Tell whether a file imports KLOS; the room itself and the roots are no generic ones."""
    rooms = {part for part, _ in parts_imported(path)}
    return "klos" in rooms and part_of(path) not in {"klos", *ROOTS}


def test_generic_rooms_do_not_know_klos() -> None:
    """They know what is behind the door of ``System`` alone; who need not know it, does not."""
    assert {str(path.relative_to(ROOT)) for path in FILES if knows_klos(path)} == KNOW_KLOS


def test_a_generic_room_that_knows_klos_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A planted import is found."""
    planted = tmp_path / "planted.py"
    planted.write_text("from klosdbg.klos.find import find_klos")
    monkeypatch.setattr(f"{__name__}.part_of", lambda _path: "server")
    assert knows_klos(planted)


@pytest.mark.parametrize("path", VIEWS, ids=lambda p: p.name)
def test_views_never_read_memory(path: Path) -> None:
    """No view calls a port, nor anything that could: none is reached by its imports."""
    assert readers(path) == []


def readers(path: Path) -> list[str]:
    """Name what reads a target among what a file calls, or reaches by its imports."""
    called = {
        n.func.attr
        for n in ast.walk(ast.parse(path.read_text()))
        if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)
    }
    through = reached(path)
    return [
        *sorted(called & {"read", "read_many", "write"}),
        *(f"{through[name]} imports {name}" for name in READERS if name in through),
    ]


@pytest.mark.parametrize(
    "source",
    [
        "def f(memory): return memory.read(0, 4)",
        "from klosdbg.klos.find import read_array",
        "from klosdbg.captures.snapshot import take_snapshot",
        "from klosdbg.ports import Target",
    ],
)
def test_a_view_that_reads_is_found(tmp_path: Path, source: str) -> None:
    """One that calls a port, one that calls a reader, one that takes a target."""
    planted = tmp_path / "planted.py"
    planted.write_text(source)
    assert readers(planted)


def test_commands_holds_nothing_but_commands() -> None:
    """What declares none belongs elsewhere."""
    files = [
        p for p in (ROOT / "commands").glob("*.py") if p.name not in ("__init__.py", "base.py")
    ]
    assert [p.name for p in files if "\n@command(" not in p.read_text()] == []


def test_no_file_is_too_long() -> None:
    """Files stay short enough to be read at once."""
    for path in [*FILES, *ROOT.parent.glob("guest/**/*.[chS]"), *ROOT.parent.glob("tests/**/*.py")]:
        assert len(path.read_text().splitlines()) <= 400, path


@pytest.mark.xdist_group("together")
def test_tests_of_a_group_stay_together(request: pytest.FixtureRequest) -> None:
    """pytest-xdist takes groups from the end of names; where it cannot, guests boot twice."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        assert request.node.nodeid.endswith("@together")
