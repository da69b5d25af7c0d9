"""Tasks as klosdbg shows them under QEMU, and as Bochs has them at the same instruction."""

import struct
from typing import Any

import pytest
from tests import bochs
from tests.bochs_text import parse_info_gdt, parse_info_ldt, parse_info_tss
from tests.live.driver import driving
from tests.live.hardware_tasks import CALLEE, FAR, FAR_BASE, LDTS, MAIN, SMALL, USER
from tests.live.tiny import image, needs_qemu

WHY_NOT = bochs.available()

pytestmark = [
    pytest.mark.bochs,
    pytest.mark.qemu,
    needs_qemu,
    pytest.mark.skipif(WHY_NOT is not None, reason=WHY_NOT or ""),
    pytest.mark.xdist_group("bochs"),
]

Document = dict[str, Any]
TASKS = (MAIN, USER, FAR, SMALL, CALLEE)
# Where the manual has the fields of a task's state, in a TSS of 32 and of 16 bits.
PLACES = {"back_link": (0, "H"), "cr3": (28, "I"), "eip": (32, "I"), "eflags": (36, "I")}
PLACES |= {"cs": (76, "H"), "ldt": (96, "H")}
PLACES16 = {"back_link": (0, "H"), "eip": (14, "H"), "eflags": (16, "H"), "cs": (36, "H")}
PLACES16 |= {"ldt": (42, "H")}


@pytest.fixture(scope="module")
def ours() -> Document:
    """Where the task that the far one has called has just gone back to it."""
    with driving(image("tasks")) as driver:
        driver.line(f"until {FAR_BASE + driver.address('far_called'):#x}")
        documents = {line: driver.models(line) for line in ("tasks", "gdt --all", "tss", "regs")}
        documents["ldt"] = driver.models("ldt --all")
        documents |= {f"tss {s:#x}": driver.models(f"tss {s:#x}") for s in TASKS}
        documents |= {f"ldt {s:#x}": driver.models(f"ldt --all --of {s:#x}") for s in LDTS}
        return documents


@pytest.fixture(scope="module")
def theirs(ours: Document, tmp_path_factory: pytest.TempPathFactory) -> bochs.Stop:
    iso = bochs.build_iso(image("tasks"), tmp_path_factory.mktemp("tasks"))
    tables = [ours[f"tss {s:#x}"] for s in TASKS] + [ours[f"ldt {s:#x}"] for s in LDTS]
    dumps = [(table["base"], table["limit"] + 1) for table in tables]
    commands = ["info gdt 0 11", "info ldt 0 2", "info tss"]
    return bochs.stop_at(iso, ours["regs"]["linear"], commands, dumps)


def comparable(fields: dict[str, int]) -> dict[str, int]:
    """Leave arithmetic flags out, which the loaders set otherwise, and QEMU's reserved bit 3."""
    return fields | {"eflags": fields["eflags"] & ~0x8DD}


def test_which_tasks_are_busy(ours: Document, theirs: bochs.Stop) -> None:
    printed = parse_info_gdt(theirs.outputs["info gdt 0 11"])["entries"]
    for task in ours["tasks"]["tasks"]:
        entry = printed[task["selector"] // 8]
        assert entry["kind"] == f"tss{task['bits']}"
        assert (entry["base"], entry["length"]) == (task["base"], task["limit"])
        assert entry["busy"] == task["busy"]
    assert [task["selector"] for task in ours["tasks"]["tasks"] if task["busy"]] == [FAR]


def test_what_each_has_saved(ours: Document, theirs: bochs.Stop) -> None:
    """Every field that says where it goes on, out of Bochs' memory by the manual's offsets."""
    for selector, raw in zip(TASKS, theirs.memory, strict=False):
        task = next(t for t in ours["tasks"]["tasks"] if t["selector"] == selector)
        if not task["current"]:
            places = PLACES if task["bits"] == 32 else PLACES16
            saved = {n: struct.unpack_from(f"<{f}", raw, at)[0] for n, (at, f) in places.items()}
            assert comparable(saved) == comparable({name: task[name] for name in places})


def test_the_tss_of_the_one_that_runs(ours: Document, theirs: bochs.Stop) -> None:
    printed = parse_info_tss(theirs.outputs["info tss"])
    assert printed.pop("valid") == 1
    assert printed.pop("selector") == FAR
    assert ours["tss"] == ours[f"tss {FAR:#x}"]
    assert comparable({name: ours["tss"][name] for name in printed}) == comparable(printed)


def test_every_ldt(ours: Document, theirs: bochs.Stop) -> None:
    """That of the task that runs as Bochs prints it, those of the others as its memory holds."""
    printed = parse_info_ldt(theirs.outputs["info ldt 0 2"])
    assert printed["base"] == ours["ldt"]["base"] == ours[f"ldt {FAR:#x}"]["base"]
    for selector, raw in zip(LDTS, theirs.memory[len(TASKS) :], strict=True):
        shown = [int(e["raw"], 16) for e in ours[f"ldt {selector:#x}"]["entries"]]
        assert shown == list(struct.unpack("<3Q", raw))
