"""A public docstring names the errors that its function raises, read off the source."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from klosdbg import errors

ROOT = Path(__file__).parent.parent / "klosdbg"
FILES = sorted(ROOT.rglob("*.py"))
ERRORS = {name for name, held in vars(errors).items() if isinstance(held, type)}
ERRORS.add("ArgumentTypeError")
"""Of argparse: what a parser of an argument raises."""
SCOPES = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda


def public_functions(body: list[ast.stmt]) -> Iterator[ast.FunctionDef]:
    """Yield functions and methods, but what is private, and commands: their help is declared."""
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from public_functions(node.body)
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            decorators = (d.func if isinstance(d, ast.Call) else d for d in node.decorator_list)
            if "command" not in map(ast.unparse, decorators):
                yield node


def raised(nodes: list[ast.stmt]) -> Iterator[str]:
    """Yield the errors that a body raises by itself."""
    unread: list[ast.AST] = [*nodes]
    while unread:
        node = unread.pop()
        if isinstance(node, ast.Raise) and node.exc is not None:
            error = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            yield ast.unparse(error).rpartition(".")[2]
        if not isinstance(node, SCOPES):
            unread += ast.iter_child_nodes(node)


def unnamed(path: Path) -> list[tuple[str, str]]:
    """List the functions of a file with the errors that they raise and do not name."""
    return [
        (function.name, error)
        for function in public_functions(ast.parse(path.read_text()).body)
        for error in sorted(ERRORS.intersection(raised(function.body)))
        if f"``{error}``" not in (ast.get_docstring(function) or "")
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_errors_that_are_raised_are_named(path: Path) -> None:
    """So whoever calls knows them without reading on."""
    assert unnamed(path) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("def f():\n '''Do.'''\n raise CommandError('no')", [("f", "CommandError")]),
        ("def f():\n '''Do, or raise ``CommandError``.'''\n raise CommandError('no')", []),
        ("def f():\n if 1:\n  raise errors.DataError", [("f", "DataError")]),
        ("class C:\n def f(self):\n  raise TargetLost()", [("f", "TargetLost")]),
        ("class _C:\n def f(self):\n  raise TargetLost()", []),
        ("def f():\n def g():\n  raise DataError()", []),
        ("@command('f')\ndef f():\n raise CommandError()", []),
        ("def f():\n raise ValueError", []),
    ],
)
def test_the_rule_catches(tmp_path: Path, source: str, found: list[tuple[str, str]]) -> None:
    """A planted one is found, and nothing else is."""
    planted = tmp_path / "planted.py"
    planted.write_text(source)
    assert unnamed(planted) == found
