"""The registers after each step: hidden parts are read again only when one may have changed."""

from dataclasses import replace

from klosdbg.ports import Target
from klosdbg.read import read_cpu
from klosdbg.x86.cpu import GPR32, SEGMENTS, Cpu
from klosdbg.x86.operation import Operation

_CONTROL = ("cr0", "cr3", "cr4", "efer")
_NAMES = frozenset((*GPR32, *SEGMENTS, *_CONTROL, "eip", "eflags", "cr2"))
_VM = 1 << 17
_LOADS = frozenset(
    (0x07, 0x17, 0x1F, 0x8E, 0x9A, 0xC4, 0xC5, 0xCA, 0xCB, 0xCC, 0xCD, 0xCE, 0xCF, 0xEA)
)
_TWO_BYTE_LOADS = frozenset(
    (0x00, 0x01, 0x05, 0x07, 0x22, 0x30, 0x34, 0x35, 0xA1, 0xA9, 0xAA, 0xB2, 0xB4, 0xB5)
)


class StepRegisters:
    """Read the registers of a guest that is stepped by us alone."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._known: Cpu | None = None

    def read(self) -> Cpu:
        """Read every register."""
        self._known = self._quick(self._known) or read_cpu(self._target)
        return self._known

    def executed(self, operation: Operation) -> None:
        """Note what the guest executed: what loads a segment or a table needs a full reading."""
        if loads_hidden_parts(operation) or operation.mnemonic == "hlt":
            self._known = None

    def forget(self) -> None:
        """Read everything next time: the guest did something that nobody watched."""
        self._known = None

    def _quick(self, known: Cpu | None) -> Cpu | None:
        if known is None or self._target.read_general is None:
            return None
        values = self._target.read_general(_NAMES)
        if not values.keys() >= {*GPR32, *SEGMENTS, *_CONTROL}:
            return None
        same = all(known.segments[name].selector == values[name] for name in SEGMENTS)
        same = same and all(getattr(known, name) == values[name] for name in _CONTROL)
        if not same or (known.eflags ^ values["eflags"]) & _VM:
            return None
        return replace(
            known,
            gpr={name: values[name] for name in GPR32},
            eip=values["eip"],
            eflags=values["eflags"],
            cr2=values.get("cr2", known.cr2),
        )


def loads_hidden_parts(operation: Operation) -> bool:
    """Tell whether an instruction may load a hidden part without changing a selector's value."""
    first, second = operation.opcode
    if first == 0x0F:
        return second in _TWO_BYTE_LOADS
    return first in _LOADS or (first == 0xFF and operation.extension in (3, 5))
