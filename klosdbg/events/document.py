"""An event as the JSON document ``klosdbg/event/1``, and back."""

import dataclasses
import types
import typing
from collections.abc import Mapping
from functools import cache
from typing import Any, get_args, get_origin, get_type_hints

from klosdbg.errors import DataError
from klosdbg.events.event import Event
from klosdbg.x86.vectors import vector_name

SCHEMA = "klosdbg/event/1"
_WIDE = 1 << 53
_WIDEST = 1 << 64


def event_data(event: Event) -> dict[str, object]:
    """Make the document of an event: integers over 53 bits are ``0x`` strings."""
    error = event.error
    plain = _fields(event)
    del plain["own_name"]
    return {
        "schema": SCHEMA,
        **plain,
        "name": event.name,
        "error": dict(error.fields) if error else None,
        "complete": event.complete,
    }


def event_of(document: object) -> Event:
    """Make an event of a document, or raise ``DataError`` for one that is none."""
    if not isinstance(document, Mapping) or document.get("schema") != SCHEMA:
        raise DataError(f"this is no event: its schema is not {SCHEMA}")
    named = {**document, "own_name": document.get("name")}
    event: Event = _structure(Event, named, "event")
    return dataclasses.replace(event, own_name=None) if vector_name(event.vector) else event


def _fields(model: Any) -> dict[str, object]:
    return {f.name: _plain(getattr(model, f.name)) for f in dataclasses.fields(model)}


def _plain(value: Any) -> object:
    if dataclasses.is_dataclass(value):
        return _fields(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= _WIDE:
        return f"{value:#x}"
    return value


@cache
def _members(kind: type) -> tuple[tuple[str, Any, bool], ...]:
    hints = get_type_hints(kind)
    missing = dataclasses.MISSING
    return tuple((f.name, hints[f.name], f.default is missing) for f in dataclasses.fields(kind))


def _structure(kind: type, document: object, where: str) -> Any:
    if not isinstance(document, Mapping):
        raise DataError(f"{where} is no JSON object: the recording is damaged")
    values = {}
    for name, hint, required in _members(kind):
        if name in document:
            values[name] = _value(hint, document[name], f"{where}.{name}")
        elif required:
            raise DataError(f"{where} has no {name!r}: the recording is damaged")
    return kind(**values)


def _value(hint: Any, value: object, where: str) -> Any:
    if get_origin(hint) in (types.UnionType, typing.Union):
        if value is None:
            return None
        (hint,) = (part for part in get_args(hint) if part is not type(None))
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _structure(hint, value, where)
    if get_origin(hint) is typing.Literal:
        return _checked(value, value in get_args(hint) and isinstance(value, str), where)
    if hint is int:
        return _integer(value, where)
    return _checked(value, isinstance(value, hint), where)


def _integer(value: object, where: str) -> int:
    if isinstance(value, str) and value.startswith("0x") and len(value) <= 18:
        try:
            return int(value, 16)
        except ValueError:
            pass
    whole = isinstance(value, int) and not isinstance(value, bool)
    number: int = _checked(value, whole and abs(value) < _WIDEST, where)  # type: ignore[arg-type]
    return number


def _checked(value: object, holds: bool, where: str) -> Any:
    if not holds:
        raise DataError(f"{where} cannot be {str(value)[:40]!r}: the recording is damaged")
    return value
