"""Profiles: what ``klos_info`` says, said by a file, for a KLOS image that has none.

docs/porting.md describes the format. A profile is untrusted input: everything in it is checked.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from klosdbg.errors import DataError
from klosdbg.klos.abi import KlosArray, KlosInfo, KlosSite
from klosdbg.klos.constants import NONE, Site
from klosdbg.klos.layout import members
from klosdbg.klos.profile_layouts import ENTRIES, Source, read_fields

FORMAT = 1
_MOST_BYTES = 1 << 20
_MOST_SITES = 4096
_TOP = 1 << 32
_WIDTHS = (1, 2, 4, 8)
_EXPRESSION = re.compile(r"([A-Za-z_.$][\w.$]*)(?:\s*([+-])\s*(0x[0-9a-fA-F]+|\d+))?")
_FIXED = ("magic", "version", "size", "build_id")
_REQUIRED = ("csos", "dsapp", "dsos", "app_top", "os_text_start", "os_text_end")
_KEYS = ("profile", "name", "symbols", "facts", "sites", "arrays")
_ARRAYS = tuple(m.name for m in members(KlosInfo) if m.nested is KlosArray)
_SCALARS = tuple(m.name for m in members(KlosInfo) if m.nested is None and m.name not in _FIXED)
_KINDS = {kind.name.lower().replace("_", "-"): kind for kind in Site}
_SITE_KEYS = tuple(m.name for m in members(KlosSite))


@dataclass(frozen=True, slots=True)
class SymbolOffset:
    """An address: a symbol (empty for none) and an offset from it."""

    symbol: str
    offset: int


@dataclass(frozen=True, slots=True)
class Fact:
    """A value: of the place itself, or, with a ``width``, of so many bytes of memory there."""

    place: SymbolOffset
    width: int = 0


@dataclass(frozen=True, slots=True)
class ArrayFacts:
    """An array of the image's. ``sources`` says where its entries keep the fields, if not as ours.

    Maps names of our structure to where the image has them.
    """

    address: Fact
    count: Fact
    entry_size: Fact
    sources: Mapping[str, Source] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SiteFacts:
    """A patch site: our structure's numbers, given as facts."""

    name: str
    kind: int
    width: int
    service: int
    immediate: Fact
    start: Fact
    loaded: Fact
    end: Fact


@dataclass(frozen=True, slots=True)
class Profile:
    """What a profile says; see docs/porting.md."""

    name: str
    symbols: Mapping[str, int]
    facts: Mapping[str, Fact]
    arrays: Mapping[str, ArrayFacts]
    sites: tuple[SiteFacts, ...]


def load_profile(path: Path) -> Profile:
    """Read a profile, or raise ``DataError`` that names what is wrong in it."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError(f"cannot read the profile {path}: {reason}: check its path") from None
    if len(raw) > _MOST_BYTES:
        raise DataError(f"profile {path}: {len(raw)} bytes are more than 1 MiB: is it a profile?")
    return parse_profile(raw, path.name)


def parse_profile(raw: bytes, source: str) -> Profile:
    """Read a profile out of YAML, or raise ``DataError``, in which ``source`` names it."""
    import yaml

    try:
        document = yaml.safe_load(raw)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        said = " ".join(str(error).split())[:200]
        raise DataError(f"profile {source}: no YAML: {said}") from None
    try:
        return _profile(_mapping(document, "the profile", _KEYS))
    except _WrongError as wrong:
        raise DataError(f"profile {source}: {wrong} (docs/porting.md)") from None


class _WrongError(Exception):
    pass


def _profile(document: Mapping[str, Any]) -> Profile:
    if document.get("profile") != FORMAT:
        raise _WrongError(f"'profile: {FORMAT}' is the format that this klosdbg reads")
    facts = _mapping(document.get("facts"), "facts", _SCALARS)
    missing = [name for name in _REQUIRED if name not in facts]
    if missing:
        raise _WrongError(f"facts: {', '.join(missing)} missing")
    symbols = _mapping(document.get("symbols", {}), "symbols", None)
    arrays = _mapping(document.get("arrays", {}), "arrays", _ARRAYS)
    return Profile(
        name=str(document.get("name", "KLOS"))[:64],
        symbols={name: _number(at, f"symbols.{name}", _TOP) for name, at in symbols.items()},
        facts={name: _fact(value, f"facts.{name}") for name, value in facts.items()},
        arrays={name: _array(value, name) for name, value in arrays.items()},
        sites=tuple(_sites(document.get("sites", []))),
    )


def _mapping(value: object, where: str, known: tuple[str, ...] | None) -> Mapping[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise _WrongError(f"{where}: a mapping of names is wanted")
    strange = [key for key in value if known is not None and key not in known]
    if strange:
        raise _WrongError(f"{where}: {strange[0]!r} is unknown")
    return value


def _number(value: object, where: str, end: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < end:
        raise _WrongError(f"{where}: a number from 0 to {end - 1:#x} is wanted")
    return value


def _place(value: object, where: str) -> SymbolOffset:
    if isinstance(value, str):
        found = _EXPRESSION.fullmatch(value.strip())
        if found is None:
            raise _WrongError(f"{where}: {value!r} is neither a number nor symbol+offset")
        offset = int(found[3] or "0", 0)
        return SymbolOffset(found[1], -offset if found[2] == "-" else offset)
    return SymbolOffset("", _number(value, where, 1 << 64))


def _fact(value: object, where: str) -> Fact:
    if not isinstance(value, dict):
        return Fact(_place(value, where))
    given = _mapping(value, where, ("at", "width"))
    width = given.get("width", 4)
    if width not in _WIDTHS or "at" not in given:
        raise _WrongError(f"{where}: 'at: ADDRESS' and 'width: 1, 2, 4 or 8' are wanted")
    return Fact(_place(given["at"], where), width)


def _array(value: object, name: str) -> ArrayFacts:
    where = f"arrays.{name}"
    given = _mapping(value, where, ("address", "count", "entry_size", "fields"))
    missing = [key for key in ("address", "count", "entry_size") if key not in given]
    if missing:
        raise _WrongError(f"{where}: {', '.join(missing)} missing")
    sources: Mapping[str, Source] = {}
    if "fields" in given:
        if name not in ENTRIES:
            raise _WrongError(f"{where}: 'fields' are for {', '.join(ENTRIES)} alone")
        try:
            sources = read_fields(ENTRIES[name], given["fields"])
        except ValueError as error:
            raise _WrongError(f"{where}.fields: {error}") from None
    address, count, size = (
        _fact(given[k], f"{where}.{k}") for k in ("address", "count", "entry_size")
    )
    return ArrayFacts(address, count, size, sources)


def _sites(value: object) -> Iterator[SiteFacts]:
    if not isinstance(value, list) or len(value) > _MOST_SITES:
        raise _WrongError(f"sites: a list of at most {_MOST_SITES} sites is wanted")
    for number, site in enumerate(value):
        yield _site(_mapping(site, f"sites[{number}]", _SITE_KEYS), f"sites[{number}]")


def _site(given: Mapping[str, Any], where: str) -> SiteFacts:
    kind = given.get("kind", "design-b")
    if kind not in _KINDS or given.get("width", 4) not in (2, 4) or "immediate" not in given:
        kinds = ", ".join(_KINDS)
        raise _WrongError(f"{where}: 'immediate', 'width: 2 or 4' and 'kind' ({kinds}) are wanted")
    immediate, width = _fact(given["immediate"], f"{where}.immediate"), given.get("width", 4)
    cell = _KINDS[kind] == Site.EVENT_CORE
    nowhere = Fact(SymbolOffset("", 0))
    before = nowhere if cell else _moved(immediate, -1 if width == 4 else -2)
    behind = nowhere if cell else _moved(immediate, width)
    return SiteFacts(
        name=str(given.get("name", "site"))[:23],
        kind=_KINDS[kind],
        width=width,
        service=_number(given.get("service", NONE), f"{where}.service", _TOP),
        immediate=immediate,
        start=_fact(given["start"], f"{where}.start") if "start" in given else before,
        loaded=_fact(given["loaded"], f"{where}.loaded") if "loaded" in given else behind,
        end=_fact(given["end"], f"{where}.end") if "end" in given else behind,
    )


def _moved(fact: Fact, by: int) -> Fact:
    return Fact(SymbolOffset(fact.place.symbol, fact.place.offset + by), fact.width)
