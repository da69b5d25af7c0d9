"""Where stubs run together, so that one breakpoint sees the events of many vectors.

QEMU looks through all breakpoints again and again; a guest with 256 of them crawls. Most stubs push
their vector's number and jump to common code: a stop there tells the vector by what was pushed.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from klosdbg.recording.discovery import Stub
from klosdbg.recording.flow import Flow
from klosdbg.x86.disasm import Instruction

_HARMLESS = ("nop", "cld", "cli", "clac", "endbr32", "endbr64", "lfence")
_LONGEST = 16
_FEW = 8


@dataclass(frozen=True, slots=True)
class Arrival:
    """A stub at a place that it comes to; ``pushed`` is what it pushed before, last first.

    None stands for a word that is not known.
    """

    stub: Stub
    pushed: tuple[int | None, ...] = ()

    def matches(self, words: Sequence[int]) -> bool:
        """Tell whether the words on the stack can be what this stub pushed."""
        return len(words) >= len(self.pushed) and all(
            known is None or known == found
            for known, found in zip(self.pushed, words, strict=False)
        )


def funnel(stubs: Sequence[Stub], flow: Flow) -> dict[int, tuple[Arrival, ...]]:
    """Map linear addresses to stop at to the stubs that come there, so that few cover them all."""
    found: dict[int, list[Arrival]] = defaultdict(list)
    walks = {stub.vector: dict(_walk(stub, flow)) for stub in stubs}
    passed = Counter(address for walk in walks.values() for address in walk)
    for stub in stubs:
        walk = walks[stub.vector]
        common = (at for at in walk if passed[at] > 1) if len(stubs) > _FEW else iter(())
        meeting = next(common, stub.entry)
        found[meeting].append(Arrival(stub, walk[meeting]))
    return {at: tuple(group) for at, split in found.items() for at, group in _told_apart(at, split)}


def _told_apart(at: int, group: list[Arrival]) -> Iterator[tuple[int, tuple[Arrival, ...]]]:
    """Stop at their entries instead where what they push does not tell the stubs apart."""
    keys = Counter(arrival.pushed[:1] for arrival in group)
    known = all(arrival.pushed and arrival.pushed[0] is not None for arrival in group)
    if len({arrival.stub.entry for arrival in group}) == 1 or (known and max(keys.values()) == 1):
        yield at, tuple(group)
        return
    by_entry: dict[int, list[Arrival]] = defaultdict(list)
    for arrival in group:
        by_entry[arrival.stub.entry].append(Arrival(arrival.stub))
    yield from ((entry, tuple(same)) for entry, same in by_entry.items())


def _walk(stub: Stub, flow: Flow) -> Iterator[tuple[int, tuple[int | None, ...]]]:
    """Follow a stub while it only pushes and jumps: each address, and what it pushed before.

    Real mode's stubs push words of both widths, and few vectors are used: they are not followed.
    """
    at = stub.entry
    pushed: tuple[int | None, ...] = ()
    yield at, pushed
    for _ in range(_LONGEST if stub.kind != "ivt" else 0):
        instruction = flow.instruction(at, stub.bits)
        if instruction is None:
            return
        name, after = instruction.mnemonic, instruction.address + instruction.size
        if name == "push":
            pushed = (_constant(instruction, stub.bits), *pushed)
        elif name == "jmp" and instruction.target is not None:
            after = instruction.target
        elif name not in _HARMLESS:
            return
        at = after
        yield at, pushed


def _constant(instruction: Instruction, bits: int) -> int | None:
    try:
        value = int(instruction.operands, 0)
    except ValueError:
        return None
    return value & ((1 << bits) - 1)
