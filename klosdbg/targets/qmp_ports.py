"""Memory and registers of a guest that runs, through QMP. Reads only."""

import re
from typing import Literal

from klosdbg.errors import MemoryFault, TargetError, TargetLost
from klosdbg.targets.private_dir import PrivateDirectory
from klosdbg.targets.qmp import Qmp
from klosdbg.wire.inforegs import parse_info_registers
from klosdbg.x86.cpu import Cpu

_ROW = re.compile(r"^[0-9a-f]+:((?: 0x[0-9a-f]{2})+)\s*$", re.MULTILINE)


class QmpRegisters:
    """The registers of a guest that runs: they are those of one moment, and of CPU 0."""

    def __init__(self, qmp: Qmp) -> None:
        self._qmp = qmp

    def read(self) -> Cpu:
        """Read every register."""
        return parse_info_registers(self._qmp.monitor("info registers"))


class Exchange:
    """A private directory through which QEMU hands memory over, as long as it can write there."""

    def __init__(self) -> None:
        self._directory: PrivateDirectory | None = None
        self._usable = True

    def read(self, qmp: Qmp, command: str, address: int, size: int) -> bytes | None:
        """Have QEMU save memory and return it; None where no file can be shared with QEMU."""
        if not self._usable:
            return None
        self._directory = self._directory or PrivateDirectory()
        path = self._directory.path / "memory"
        try:
            qmp.execute(command, val=address, size=size, filename=str(path))
            return path.read_bytes()
        except FileNotFoundError:
            self._usable = False
        except TargetError as error:
            if isinstance(error, TargetLost) or "open" not in str(error).lower():
                raise
            self._usable = False
        finally:
            path.unlink(missing_ok=True)
        return None

    def close(self) -> None:
        """Remove the directory."""
        if self._directory:
            self._directory.remove()


class QmpMemory:
    """Memory of a guest that runs. Linear addresses go through CPU 0's tables of the moment."""

    def __init__(self, qmp: Qmp, exchange: Exchange, space: Literal["linear", "physical"]) -> None:
        self._qmp = qmp
        self._exchange = exchange
        self._space = space

    def read(self, address: int, size: int) -> bytes:
        """Read exactly ``size`` bytes, or raise ``MemoryFault``."""
        if size == 0:
            return b""
        command = "memsave" if self._space == "linear" else "pmemsave"
        try:
            data = self._exchange.read(self._qmp, command, _signed(address), size)
        except TargetLost:
            raise
        except TargetError:
            raise MemoryFault(self._space, address, size) from None
        if data is None:
            data = self._read_by_monitor(address, size)
        if len(data) != size:
            raise MemoryFault(self._space, address, size)
        return data

    def read_many(self, requests: list[tuple[int, int]]) -> list[bytes | None]:
        """Read several ``(address, size)`` ranges, neighbours at once; None where one faults."""
        results: list[bytes | None] = []
        for group in _neighbours(requests):
            results += self._read_group(group)
        return results

    def _read_group(self, group: list[tuple[int, int]]) -> list[bytes | None]:
        try:
            whole = self.read(group[0][0], sum(size for _, size in group))
        except MemoryFault:
            if len(group) == 1:
                return [None]
            middle = len(group) // 2
            return self._read_group(group[:middle]) + self._read_group(group[middle:])
        start = group[0][0]
        return [whole[address - start : address - start + size] for address, size in group]

    def _read_by_monitor(self, address: int, size: int) -> bytes:
        command = "x" if self._space == "linear" else "xp"
        printed = self._qmp.monitor(f"{command} /{size}xb {address:#x}")
        return bytes(int(byte, 16) for row in _ROW.findall(printed) for byte in row.split())


def _signed(address: int) -> int:
    """Write an address as QMP's ``int``, which is signed."""
    return address - (1 << 64) if address >> 63 else address


def _neighbours(requests: list[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    groups: list[list[tuple[int, int]]] = []
    for address, size in requests:
        if groups and sum(groups[-1][-1]) == address:
            groups[-1].append((address, size))
        else:
            groups.append([(address, size)])
    return groups
