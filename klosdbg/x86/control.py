"""The control registers, EFER and the debug registers taken together (SDM Vol. 3A, 2.5)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from klosdbg.x86.bits import bit, bits
from klosdbg.x86.checks_control import check_control
from klosdbg.x86.cpu import Cpu
from klosdbg.x86.findings import Finding
from klosdbg.x86.flags import Flags, decode_flags
from klosdbg.x86.paging import LEVELS, Mode, Paging, paging_of


@dataclass(frozen=True, slots=True)
class Cr2:
    """CR2, the linear address of the last page fault."""

    raw: int
    register: str = "cr2"


@dataclass(frozen=True, slots=True)
class Cr3:
    """CR3; ``mode`` (None: paging is off) and ``pcide`` (CR4.PCIDE) say what its bits mean.

    Where it is not known whether PCIDE is set (None), the fields of both are there.
    """

    raw: int
    mode: Mode | None
    pcide: bool | None = False
    register: str = "cr3"

    @property
    def base(self) -> int:
        """The physical address of the paging structure that each walk begins at."""
        return Paging(self.mode or "32-bit", self.raw).root

    @property
    def fields(self) -> Mapping[str, int]:
        """The values of what stands beside the base; PAE paging ignores all of that."""
        if self.mode == "PAE":
            return {}
        named: dict[str, int] = {}
        if not self.pcide:
            named |= {"pwt": bits(self.raw, 3, 3), "pcd": bits(self.raw, 4, 4)}
        if self.pcide or (self.pcide is None and not self._narrow):
            named["pcid"] = bits(self.raw, 11, 0)
        if self._narrow:
            return named
        return named | {"lam_u57": bits(self.raw, 61, 61), "lam_u48": bits(self.raw, 62, 62)}

    @property
    def _narrow(self) -> bool:
        return self.mode is None or LEVELS[self.mode] == 2


ControlRegister = Flags | Cr2 | Cr3


@dataclass(frozen=True, slots=True)
class Control:
    """What controls a processor, and which of its settings cannot or should not go together."""

    registers: tuple[ControlRegister, ...]
    findings: tuple[Finding, ...]

    def only(self, name: str) -> "Control | None":
        """Give the register of that name alone; None where it is not among them."""
        chosen = tuple(r for r in self.registers if r.register == name)
        found = tuple(f for f in self.findings if f.where == name.upper())
        return replace(self, registers=chosen, findings=found) if chosen else None


def decode_control(cpu: Cpu) -> Control:
    """Decode CR0, CR2, CR3, CR4 and EFER, and DR6 and DR7 where they are known."""
    return Control(tuple(_registers(cpu)), tuple(check_control(cpu)))


def _registers(cpu: Cpu) -> Iterator[ControlRegister]:
    yield decode_flags("cr0", cpu.cr0)
    yield Cr2(cpu.cr2)
    paging = paging_of(cpu)
    yield Cr3(cpu.cr3, paging.mode if paging else None, pcide=bit(cpu.cr4, 17))
    yield decode_flags("cr4", cpu.cr4)
    yield decode_flags("efer", cpu.efer)
    yield from (decode_flags(f"dr{n}", cpu.dr[n]) for n in (6, 7) if n in cpu.dr)
