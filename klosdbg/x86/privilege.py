"""Instructions that belong to ring 0 (SDM Vol. 3A, 5.9; others say so on their page in Vol. 2)."""

from klosdbg.x86.bits import bit
from klosdbg.x86.cpu import Cpu
from klosdbg.x86.operation import Operation

_TSD, _PCE = 2, 8
_TWO_BYTE = (
    0x06,  # CLTS
    0x07,  # SYSRET
    0x08,  # INVD
    0x09,  # WBINVD
    *range(0x20, 0x24),  # MOV to and from control and debug registers
    0x30,  # WRMSR
    0x32,  # RDMSR
    0x35,  # SYSEXIT
)
_NAMES = ("hlt", "lgdt", "lidt", "lldt", "ltr", "lmsw", "invlpg", "invpcid", "swapgs", "xsetbv")


def needs_ring0(cpu: Cpu, operation: Operation) -> bool:
    """Tell whether an instruction is refused in the other rings, as CR4 stands.

    CLI, STI and I/O are not: they go by IOPL, the virtual interrupt flag and the I/O bitmap.
    """
    if operation.mnemonic in _NAMES:
        return True
    first, second = operation.opcode
    if first != 0x0F:
        return False
    if operation.mnemonic in ("rdtsc", "rdtscp"):
        return bool(bit(cpu.cr4, _TSD))
    if operation.mnemonic == "rdpmc":
        return not bit(cpu.cr4, _PCE)
    return second in _TWO_BYTE
