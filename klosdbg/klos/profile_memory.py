"""The ``klos_info`` that a profile makes up, laid over memory where nothing is mapped.

Everything that reads KLOS then reads a profile's image like any other. Nothing is written to the
guest: the structures are put together from live memory each time that they are read.
"""

import struct
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from klosdbg.errors import KlosdbgError, MemoryFault
from klosdbg.klos.abi import KlosArray, KlosInfo, KlosSite
from klosdbg.klos.constants import ABI_VERSION, Flag
from klosdbg.klos.layout import members, size_of
from klosdbg.klos.profile import ArrayFacts, Fact, Profile, SiteFacts, SymbolOffset
from klosdbg.klos.profile_layouts import ENTRIES, rewrite
from klosdbg.ports import Memory, ReadAtStop, Symbols, Target
from klosdbg.x86.cpu import Cpu

BASE = 0xFFFE_0000
SIZE = 0x2_0000
_SYMBOL = "klos_info"
_MAGIC = b"KLOSINFO"
_MOST_BYTES = 1 << 20
_IOMAP_BASE = 0x66
_IRQ_VECTOR = 32
_SITES = BASE + 0x1000
_MASK = 0xFFFF_FFFF
_READY = Flag.BOOTED | Flag.READY


class ProfiledSymbols:
    """An image's symbols, with those of a profile and ``klos_info`` added."""

    def __init__(self, symbols: Symbols | None, profile: Profile) -> None:
        self._symbols = symbols
        self._own = {**profile.symbols, _SYMBOL: BASE}
        self.images = getattr(symbols, "images", ())
        self._names = {address: name for name, address in self._own.items()}

    def address(self, name: str) -> int | None:
        """Look a symbol up; the profile's win."""
        found = self._own.get(name)
        return found if found is not None or not self._symbols else self._symbols.address(name)

    def name(self, address: int) -> str | None:
        """Name an address by the image, or by a symbol of the profile that is exactly there."""
        found = self._symbols.name(address) if self._symbols else None
        return found or self._names.get(address)

    def names(self) -> list[str]:
        """List every symbol."""
        return sorted({*self._own, *(self._symbols.names() if self._symbols else ())})

    def frame(self, pc: int) -> tuple[str, int] | None:
        """Say where the caller's frame is."""
        return self._symbols.frame(pc) if self._symbols else None


def use_profile(
    target: Target, symbols: Symbols | None, profile: Profile
) -> tuple[Target, ProfiledSymbols]:
    """Give a target and symbols that know KLOS by a profile."""
    named = ProfiledSymbols(symbols, profile)
    made = _Made(target, named, profile)
    at_stop, read_at_stop = target.linear_at_stop, target.read_at_stop
    profiled = replace(
        target,
        linear=ProfiledMemory(target.linear, made),
        linear_at_stop=ProfiledMemory(at_stop, made) if at_stop else None,
        read_at_stop=_read_at_stop(read_at_stop, made) if read_at_stop else None,
    )
    return profiled, named


def _read_at_stop(read: ReadAtStop, made: "_Made") -> ReadAtStop:
    """Read what is made up elsewhere, and the rest in the one round trip."""

    def profiled(
        names: Collection[str], requests: list[tuple[int, int]]
    ) -> tuple[Mapping[str, int], list[bytes | None]]:
        real = [request for request in requests if not _inside(request[0])]
        values, found = read(names, real)
        rest, ours = iter(found), ProfiledMemory(made.target.linear, made)
        return values, [
            ours.read_many([request])[0] if _inside(request[0]) else next(rest)
            for request in requests
        ]

    return profiled


class ProfiledMemory:
    """Linear memory with the made-up structures over it."""

    def __init__(self, memory: Memory, made: "_Made") -> None:
        self._memory, self._made = memory, made

    def read(self, address: int, size: int) -> bytes:
        """Read exactly ``size`` bytes, or raise ``MemoryFault``."""
        if not _inside(address):
            return self._memory.read(address, size)
        raw = self._made.image()[address - BASE : address - BASE + size]
        if len(raw) < size:
            raise MemoryFault("linear", address, size)
        return raw

    def read_many(self, requests: list[tuple[int, int]]) -> list[bytes | None]:
        """Read several ranges; None where one faults."""
        if not any(_inside(address) for address, _ in requests):
            return self._memory.read_many(requests)
        return [self._try(address, size) for address, size in requests]

    def _try(self, address: int, size: int) -> bytes | None:
        try:
            return self.read(address, size)
        except MemoryFault:
            return None


def _inside(address: int) -> bool:
    return BASE <= address < BASE + SIZE


@dataclass(frozen=True, slots=True)
class _Made:
    target: Target
    symbols: ProfiledSymbols
    profile: Profile

    def image(self) -> bytes:
        """Put ``klos_info``, the sites, and the arrays of other layouts together."""
        numbers = self._evaluate(self._facts())
        info: dict[str, Any] = {n: numbers[f] for n, f in self.profile.facts.items()}
        made = bytearray(_SITES - BASE) + b"".join(
            _site(site, numbers) for site in self.profile.sites
        )
        if self.profile.sites:
            info["sites"] = (_SITES, len(self.profile.sites), size_of(KlosSite))
        for name, array in self.profile.arrays.items():
            info[name] = self._array(name, array, numbers, made, info)
        ready = _READY if info["dsos"] else 0
        assumed = {"flags": ready, "irq_vector": _IRQ_VECTOR, "events_on": 1}
        values = _told_by_processor(self.target) | assumed | info
        encoded = encode_info(values)
        made[: len(encoded)] = encoded
        return bytes(made[:SIZE])

    def _facts(self) -> Iterable[Fact]:
        yield from self.profile.facts.values()
        for site in self.profile.sites:
            yield from (site.immediate, site.start, site.loaded, site.end)
        for array in self.profile.arrays.values():
            yield from (array.address, array.count, array.entry_size)

    def _evaluate(self, facts: Iterable[Fact]) -> dict[Fact, int]:
        """Give each fact its number, those in memory in one round trip; 0 where none is mapped."""
        unique = list(dict.fromkeys(facts))
        numbers = {fact: self._place(fact.place) for fact in unique}
        held = [fact for fact in unique if fact.width]
        raws = self.target.linear.read_many([(numbers[fact], fact.width) for fact in held])
        for fact, raw in zip(held, raws, strict=True):
            numbers[fact] = int.from_bytes(raw or b"", "little")
        return numbers

    def _place(self, place: SymbolOffset) -> int:
        base = self.symbols.address(place.symbol) if place.symbol else 0
        if base is None:
            raise KlosdbgError(
                f"the profile names the symbol {place.symbol!r}, which is not there: "
                "give the image with --symbols"
            )
        return base + place.offset

    def _array(
        self,
        name: str,
        array: ArrayFacts,
        numbers: Mapping[Fact, int],
        made: bytearray,
        info: dict[str, Any],
    ) -> tuple[int, int, int]:
        address, count, size = (numbers[f] for f in (array.address, array.count, array.entry_size))
        if not array.sources or count * size > _MOST_BYTES:
            return address, count, size
        (raw,) = self.target.linear.read_many([(address, count * size)])
        entries = rewrite(ENTRIES[name], raw or b"", size, array.sources)
        start, ours = BASE + len(made), size_of(ENTRIES[name])
        made += entries
        if name == "threads" and size:
            index, rest = divmod(info.get("current_thread", 0) - address, size)
            if 0 <= index < count and not rest:
                info["current_thread"] = start + index * ours
        return start, len(entries) // ours, ours


def _site(site: SiteFacts, numbers: Mapping[Fact, int]) -> bytes:
    places = (numbers[f] & _MASK for f in (site.immediate, site.start, site.loaded, site.end))
    fixed = (site.kind, site.width, site.service, site.name.encode()[:23])
    return struct.pack("<4I2HI24s", *places, *fixed)


def encode_info(values: Mapping[str, Any]) -> bytes:
    """Write ``klos_info`` as the guest would; what is not told is 0."""
    fixed: dict[str, Any] = {"magic": _MAGIC, "version": ABI_VERSION, "size": size_of(KlosInfo)}
    return b"".join(_member(m, {**values, **fixed}.get(m.name)) for m in members(KlosInfo))


def _member(member: Any, value: Any) -> bytes:
    if member.nested is KlosArray:
        return struct.pack("<3I", *(number & _MASK for number in value or (0, 0, 0)))
    if member.code.endswith("s"):
        return struct.pack("<" + member.code, value or b"")
    return struct.pack("<" + member.code, (value or 0) & ((1 << (8 * member.size)) - 1))


def _told_by_processor(target: Target) -> dict[str, int]:
    cpu: Cpu = target.registers.read()
    ldtr, tr = cpu.segments["ldtr"], cpu.segments["tr"]
    (raw,) = target.linear.read_many([(tr.base + _IOMAP_BASE, 2)])
    base = int.from_bytes(raw or b"", "little")
    return {
        "gdt": cpu.gdtr.base,
        "gdt_limit": cpu.gdtr.limit,
        "ldt": ldtr.base,
        "ldt_limit": ldtr.limit,
        "ldt_selector": ldtr.selector,
        "idt": cpu.idtr.base,
        "idt_limit": cpu.idtr.limit,
        "tss": tr.base,
        "tss_limit": tr.limit,
        "tss_selector": tr.selector,
        "iomap": tr.base + base,
        "iomap_size": max(tr.limit - base, 0),
    }
