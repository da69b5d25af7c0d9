"""Reading tasks out of tables that a guest may have made to do harm, and how much is read."""

import struct
from dataclasses import replace

import pytest
from klosdbg.errors import MemoryFault
from klosdbg.ports import Target
from klosdbg.tasks.known import TaskFinder
from klosdbg.tasks.reading import read_tasks
from klosdbg.x86.cpu import Cpu, SegmentRegister, TableRegister
from tests.unit.klos.frozen import cpu

GDT, TSSS = 0x10000, 0x40000
SIZE = 104


class Linear:
    """Linear memory up to 1 MiB, of which pages may be missing; counts the bytes that are read."""

    def __init__(self) -> None:
        self.content = bytearray(1 << 20)
        self.holes: set[int] = set()
        self.asked = self.trips = 0

    def read(self, address: int, size: int) -> bytes:
        found = self.read_many([(address, size)])[0]
        if found is None:
            raise MemoryFault("linear", address, size)
        return found

    def read_many(self, requests: list[tuple[int, int]]) -> list[bytes | None]:
        self.trips += 1
        self.asked += sum(size for _, size in requests)
        return [self._part(*request) for request in requests]

    def _part(self, address: int, size: int) -> bytes | None:
        pages = range(address >> 12, (address + size - 1 >> 12) + 1)
        whole = address + size <= len(self.content)
        return (
            bytes(self.content[address : address + size])
            if whole and not self.holes & set(pages)
            else None
        )

    def put_tss(self, selector: int, base: int, access: int = 0x89, limit: int = SIZE - 1) -> None:
        low = limit | (base & 0xFFFF) << 16
        high = base >> 16 & 0xFF | access << 8 | base & 0xFF000000
        struct.pack_into("<II", self.content, GDT + selector, low, high)


class Held:
    """Registers that a test sets."""

    def __init__(self, found: Cpu) -> None:
        self.cpu = found

    def read(self) -> Cpu:
        return self.cpu


def guest(limit: int, tr: int = 0x20) -> tuple[Target, Linear, Held]:
    """A guest in a task, with a GDT of which no more is set up."""
    registers = cpu()
    held = SegmentRegister("tr", tr, TSSS, SIZE - 1, 0x8B00)
    segments = {**registers.segments, "tr": held}
    there = replace(registers, segments=segments, gdtr=TableRegister(GDT, limit), cr0=0x11)
    memory, source = Linear(), Held(there)
    memory.put_tss(tr, TSSS, 0x8B)
    return Target("a test", source, memory), memory, source


def test_a_table_full_of_tsss() -> None:
    """8191 of them are read in a few round trips, and no memory is read twice."""
    target, memory, _ = guest(0xFFFF)
    for selector in range(8, 0x10000, 8):
        memory.put_tss(selector, TSSS + selector % 0x8000 * 13)
    found = read_tasks(target).tasks
    assert len(found) == 8191
    assert memory.trips <= 3
    assert memory.asked <= 0x10000 + 4096 * SIZE + 8


def test_what_is_not_there() -> None:
    """A hole in the middle of a TSS, and one that wraps round: none of them ends the list."""
    target, memory, _ = guest(0x7F)
    memory.put_tss(0x28, 0x50FD0)
    memory.put_tss(0x30, 0xFFFFFFF0)
    memory.put_tss(0x38, 0x60000, limit=0x10)
    memory.put_tss(0x40, 0x70000, access=0x81, limit=0x2B)
    memory.holes.add(0x51)
    tasks = {task.selector: task for task in read_tasks(target).tasks}
    assert {s: t.refusal for s, t in tasks.items()} == {
        0x20: "",
        0x28: "not mapped: #PF",
        0x30: "not mapped: #PF",
        0x38: "limit 0x10: #TS",
        0x40: "CS is null: #TS",
    }
    assert (tasks[0x28].eip, tasks[0x28].cs) == (0, None)
    assert tasks[0x40].tss.bits == 16


def test_a_gdt_that_is_not_mapped() -> None:
    target, memory, _ = guest(0x7F)
    memory.holes.add(GDT >> 12)
    assert read_tasks(target).tasks == ()
    assert TaskFinder().find(target) is None


@pytest.mark.parametrize(("limit", "most"), [(0x7FF, 0x800), (0xFFFF, 0x1000)])
def test_what_each_stop_costs(limit: int, most: int) -> None:
    """No more than 4 KiB a stop, on the average of many; and a second TSS is soon seen."""
    target, memory, _ = guest(limit)
    finder = TaskFinder()
    for _ in range(160):
        assert finder.find(target) is None
    assert memory.asked <= 160 * most
    memory.put_tss(0x30, TSSS)
    assert any(finder.find(target) for _ in range(16))
    found = [finder.find(target) for _ in range(160)]
    assert all(found)
    assert memory.asked <= (160 + 176) * most


def test_a_task_switch_is_seen_at_once() -> None:
    target, memory, held = guest(0xFFFF)
    finder = TaskFinder()
    assert finder.find(target) is None
    memory.put_tss(0x28, TSSS)
    there = held.cpu
    held.cpu = replace(
        there, segments={**there.segments, "tr": replace(there.segments["tr"], selector=0x28)}
    )
    found = finder.find(target)
    assert found is not None
    assert found.who_runs is not None
    runs = found.who_runs()
    assert runs is not None
    assert (runs.name, runs.tid) == ("task 0x28", 0x28)


def test_one_tss_for_each_processor() -> None:
    """Two processors with a TSS each switch no tasks; a third TSS waits for somebody."""
    target, memory, held = guest(0x7F)
    other = replace(held.cpu.segments["tr"], selector=0x28)
    second = replace(held.cpu, segments={**held.cpu.segments, "tr": other})
    both = replace(target, processors=lambda: (0, [held.cpu, second]))
    memory.put_tss(0x28, TSSS + SIZE, 0x8B)
    assert TaskFinder().find(both) is None
    assert read_tasks(both).one_per_processor
    assert [task.processor for task in read_tasks(both).tasks] == [0, 1]
    memory.put_tss(0x30, TSSS + 2 * SIZE)
    struct.pack_into("<I", memory.content, TSSS + 2 * SIZE + 76, 8)
    found = TaskFinder().find(both)
    assert found is not None
    assert found.threads is not None
    threads = {thread.number: thread for thread in found.threads()}
    assert {n: t.saved is None for n, t in threads.items()} == {
        0x20: True,
        0x28: False,
        0x30: False,
    }
    assert threads[0x28].doing == "runs on processor 1"
