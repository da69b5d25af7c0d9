"""What an event and its parts have, for expressions: checked before they run, and looked up."""

import ast
import difflib
from collections.abc import Collection, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, Literal, get_args, get_origin, get_type_hints

from klosdbg.errors import UsageError
from klosdbg.events.event import Back, Event, Place, Resumed, Spent, Time, Transfer
from klosdbg.x86.errorcode import ErrorCode

EVENT_NAMES = frozenset(f.name for f in fields(Event)) - {"own_name"}
EVENT_NAMES |= {"name", "error", "cpl", "complete"}
_SELECTOR_NAMES = ("raw", "form", "ext", "idt", "ti", "index", "table", "selector", "null")
_FAULT_NAMES = ("p", "w", "u", "rsvd", "i", "pk", "ss", "hlat", "sgx", "cpec", "encl")
_PARTS = (Event, ErrorCode, Time, Place, Transfer, Back, Resumed, Spent)
_DERIVED = {"name": str, "error": ErrorCode, "cpl": int, "complete": bool}


def member(owner: object, name: str, text: str) -> object:
    """Look an attribute of an event, or of a part of one, up; ``UsageError`` for any other."""
    if isinstance(owner, ErrorCode) and name in owner.fields:
        return owner.fields[name]
    _require_member(type(owner), name, text)
    return getattr(owner, name, None)


def check_members(tree: ast.expr, text: str, local: Collection[str]) -> None:
    """Raise ``UsageError`` for an attribute that is nowhere.

    ``local`` are the names of loops, which may be any.
    """
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute):
            continue
        owner = _type_of(node.value, local)
        if owner is not None:
            _require_member(owner, node.attr, text)
        elif not any(node.attr in _members(part) for part in _PARTS):
            raise UsageError(f"{shown(text)}: no {node.attr!r} in an event")


def _type_of(node: ast.expr, local: Collection[str]) -> Any:
    """Tell the type that an expression has where it is not None; None where any may come."""
    if isinstance(node, ast.Name):
        return None if node.id in local else _members(Event).get(node.id)
    if isinstance(node, ast.Attribute):
        owner = _type_of(node.value, local)
        return _members(owner).get(node.attr) if owner in _PARTS else None
    return None


def _require_member(owner: type, name: str, text: str) -> None:
    if owner not in _PARTS:
        raise UsageError(f"{shown(text)}: {kind_of(owner)} has no {name!r}")
    allowed = _members(owner)
    if name not in allowed:
        close = difflib.get_close_matches(name, allowed, 2)
        hint = f"did you mean {' or '.join(close)}?" if close else ", ".join(sorted(allowed))
        raise UsageError(f"{shown(text)}: no {name!r} there: {hint}")


@cache
def _members(part: type) -> Mapping[str, Any]:
    """Map what a part has to its types."""
    if part is ErrorCode:
        return dict.fromkeys((*_SELECTOR_NAMES, *_FAULT_NAMES))
    if not is_dataclass(part):
        return {}
    found = {name: _plain(hint) for name, hint in get_type_hints(part).items()}
    found = {f.name: found[f.name] for f in fields(part)}
    return found if part is not Event else {n: (found | _DERIVED)[n] for n in EVENT_NAMES}


def _plain(hint: Any) -> Any:
    """Take the type out of ``int | None`` and ``Literal["call-gate"]``."""
    if get_origin(hint) is Literal:
        return str
    return next((_plain(part) for part in get_args(hint) if part is not type(None)), hint)


def shown(text: str) -> str:
    """Quote an expression for an error."""
    return repr(text if len(text) <= 60 else text[:57] + "...")


def kind_of(kind: type) -> str:
    """Say what values of a type are."""
    names = {bool: "a truth value", int: "a number", str: "text", tuple: "a list", list: "a list"}
    return "nothing" if kind is type(None) else names.get(kind, f"an {kind.__name__}")
