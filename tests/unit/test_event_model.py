"""The event model, its document, filters, trees, statistics, and the ring's overruns."""

import json
import struct
from dataclasses import fields, replace
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from klosdbg.errors import DataError, MemoryFault
from klosdbg.events.document import event_data, event_of
from klosdbg.events.event import Back, Event, Place, Resumed, Spent, Time, Transfer
from klosdbg.events.expression import parse_expression
from klosdbg.events.filters import EventFilter
from klosdbg.events.statistics import statistics
from klosdbg.events.tree import EventTree, by_recording, event_trees
from klosdbg.klos.abi import KlosArray, KlosEvent
from klosdbg.klos.layout import size_of
from klosdbg.klos.recorder.ring import RingRecorder
from klosdbg.recording.discovery import Stub
from klosdbg.recording.flow import Flow
from klosdbg.recording.shared_stubs import funnel
from klosdbg.views import Style, data, text

PLACE = Place(0x1B, 0x401000, 0x401000, 3, 0x23, 0x7000, "app+0x4")
EVENT = Event(
    seq=7,
    time=Time(1 << 60, "tsc"),
    vector=13,
    error_code=0x72,
    source=PLACE,
    stub=0xC0100000,
    out=Transfer("lret", 0xC0100100, 0, 3, 0x1B, 0xC0200000, 0x2B, 0xC0300000, 0xC0310000),
    handler=0xC0200000,
    back=Back("call-gate", 0x3B, 0xC0100200),
    tlb_flush=True,
    eoi=False,
    resumed=Resumed(PLACE, False, process="app", pid=4, tid=5),
    depth=1,
    process="app",
    pid=4,
    tid=5,
    spent=Spent(None, 900),
)
BARE = Event(1, Time(1, "host-ns", True), 32, None, PLACE, *(None,) * 7, depth=1, process=None)


def vary(**changes: object) -> Event:
    return replace(EVENT, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("event", [EVENT, BARE])
def test_a_document_brings_the_event_back(event: Event) -> None:
    document = json.loads(json.dumps(event_data(event)))
    assert event_of(document) == event
    names = {"seq", "time", "vector", "error_code", "source", "stub", "out", "handler", "back"}
    assert names | {"tlb_flush", "eoi", "resumed", "depth", "process"} <= set(document)
    assert document["schema"] == "klosdbg/event/1"


def test_the_error_code_is_decoded() -> None:
    document = event_data(EVENT)
    assert document["error"] == {"ext": 0, "idt": 1, "ti": 0, "index": 14}
    assert event_data(BARE)["error"] is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from([f.name for f in fields(Event)]), json_values))
def test_a_damaged_document_is_refused_in_one_line(changes: dict[str, object]) -> None:
    message = ""
    try:
        event_of(event_data(EVENT) | changes)
    except DataError as error:
        message = str(error)
    assert "\n" not in message


@pytest.mark.parametrize("document", [None, 3, [], {}, {"schema": "klosdbg/event/2"}])
def test_what_is_no_event_is_refused(document: object) -> None:
    with pytest.raises(DataError):
        event_of(document)


@pytest.mark.parametrize(
    ("wanted", "holds"),
    [
        (EventFilter(), True),
        (EventFilter(vectors=frozenset({13})), True),
        (EventFilter(vectors=frozenset({14})), False),
        (EventFilter(process="app"), True),
        (EventFilter(process="4"), True),
        (EventFilter(process="other"), False),
        (EventFilter(handler=0xC0200000), True),
        (EventFilter(handler=1), False),
        (EventFilter(addresses=(0x400000, 0x401000)), True),
        (EventFilter(addresses=(0x401001, 0x500000)), False),
        (EventFilter(cpl=3), True),
        (EventFilter(cpl=0), False),
        (EventFilter(errors=True), True),
        (EventFilter(condition=parse_expression("error.index == 14")), True),
        (EventFilter(condition=parse_expression("depth > 1")), False),
    ],
)
def test_filters(wanted: EventFilter, holds: bool) -> None:
    assert wanted.wants(EVENT) == holds


@pytest.mark.parametrize(("vector", "error"), [(1, False), (3, False), (14, True), (32, False)])
def test_what_counts_as_an_error(vector: int, error: bool) -> None:
    assert EventFilter(errors=True).wants(vary(vector=vector)) == error


def test_nested_events_are_inside() -> None:
    depths = (1, 2, 3, 2, 1)
    trees = event_trees([vary(seq=n, depth=d) for n, d in enumerate(depths, 1)])
    assert [tree.event.seq for tree in trees] == [1, 5]
    assert [tree.event.seq for tree in trees[0].nested] == [2, 4]
    assert trees[0].nested[0].nested[0].event.seq == 3


def test_recordings_are_shown_one_after_the_other() -> None:
    """Each under its number; what begins inside an event is not put into one of another."""
    events = [vary(seq=1, depth=1), vary(seq=1, depth=2, recording=2)]
    first, tree, second, other = by_recording(events, event_trees)
    assert (text(first, Style()), text(second, Style())) == ("recording 1", "recording 2")
    assert [tree, other] == [EventTree(event) for event in events]
    assert list(by_recording(events[:1], event_trees)) == [tree]
    assert data(first, Style()) == {}


def test_a_recording_that_begins_inside_an_event() -> None:
    trees = event_trees([vary(seq=1, depth=2), vary(seq=2, depth=1)])
    assert [tree.event.seq for tree in trees] == [1, 2]


def test_statistics() -> None:
    events = [vary(seq=n, spent=Spent(None, n)) for n in range(1, 101)]
    found = statistics([*events, replace(BARE, seq=101)])
    first, second = found.vectors
    assert (first.vector, first.count, first.median, first.percentile_99) == (13, 100, 50, 99)
    assert (first.slowest, first.slowest_seq) == (100, 100)
    assert (second.vector, second.count, second.median) == (32, 1, None)
    assert (found.total, found.incomplete, found.perturbed) == (101, 1, True)
    assert statistics([]).vectors == ()


@pytest.mark.parametrize("event", [EVENT, BARE, vary(depth=9, process="p" * 24, seq=10**6)])
def test_views_fit(event: Event) -> None:
    style = Style()
    for model in (event, event_trees([event])[0], statistics([event])):
        assert max(map(len, text(model, style).splitlines())) <= 80
        assert str(data(model, style)["schema"]).startswith("klosdbg/event")


class Memory:
    """Zeros, but for some bytes."""

    def __init__(self, contents: dict[int, bytes]) -> None:
        self.bytes = bytearray(0x20000)
        for address, raw in contents.items():
            self.write(address, raw)

    def write(self, address: int, raw: bytes) -> None:
        self.bytes[address : address + len(raw)] = raw

    def read(self, address: int, size: int) -> bytes:
        if address + size > len(self.bytes):
            raise MemoryFault("linear", address, size)
        return bytes(self.bytes[address : address + size])

    def read_many(self, requests: list[tuple[int, int]]) -> list[bytes | None]:
        return [self.read(*request) for request in requests]


def stub(vector: int, entry: int) -> Stub:
    return Stub(vector, "interrupt-gate", 0, 8, entry, 32, ())


def pushing(vector: int, at: int, target: int) -> bytes:
    """``push 0`` where the processor pushes no code, ``push vector``, ``jmp target``."""
    code = (b"" if vector == 13 else b"\x6a\x00") + bytes((0x6A, vector))
    return code + b"\xe9" + struct.pack("<i", target - (at + len(code) + 5))


def test_stubs_that_run_together_need_one_breakpoint() -> None:
    common = 0x1800
    entries = {vector: 0x1000 + 16 * vector for vector in range(32)}
    memory = Memory({at: pushing(v, at, common) for v, at in entries.items()})
    memory.write(common, b"\x60\xcf")
    places = funnel([stub(v, at) for v, at in entries.items()], Flow(memory))
    assert set(places) == {common}
    (group,) = places.values()
    (fault,) = (a for a in group if a.matches((13, 0x72, 0x401000)))
    assert (fault.stub.vector, fault.pushed) == (13, (13,))
    (timer,) = (a for a in group if a.matches((14, 0, 0x401000)))
    assert (timer.stub.vector, timer.pushed) == (14, (14, 0))


def test_stubs_that_push_nothing_keep_theirs() -> None:
    memory = Memory({0x1000: b"\xe9\xfb\x0f\x00\x00", 0x1010: b"\xe9\xeb\x0f\x00\x00"})
    memory.write(0x2000, b"\xcf")
    stubs = [stub(v, 0x1000 if v % 2 else 0x1010) for v in range(20)]
    places = funnel(stubs, Flow(memory))
    assert set(places) == {0x1000, 0x1010}
    assert all(arrival.pushed == () for group in places.values() for arrival in group)


def test_far_transfers_are_found_past_branches() -> None:
    code = b"\x85\xc0\x74\x02\x60\xcb\x61\xcf"
    exits = Flow(Memory({0x1000: code})).exits(0x1000, 32)
    assert {(e.kind, e.address) for e in exits} == {("lret", 0x1005), ("iret", 0x1007)}


@settings(deadline=None, max_examples=30)
@given(st.binary(min_size=1, max_size=64), st.sampled_from([16, 32, 64]))
def test_any_code_can_be_followed(code: bytes, bits: int) -> None:
    Flow(Memory({0x1000: code})).exits(0x1000, bits)


RING, COUNT, ENTRIES = 0x10000, 0x8000, 16


class Facts:
    """A KLOS without anything but its ring."""

    def __init__(self, memory: Memory) -> None:
        self.fixed = memory
        events = KlosArray(RING, ENTRIES, size_of(KlosEvent))
        self.info = SimpleNamespace(events=events, csos=0x1B)

    def offset(self, _field: str) -> int:
        return COUNT

    def process(self, _pid: int) -> None: ...

    def symbol(self, _address: int) -> None: ...

    def stub(self, _vector: int) -> None: ...

    def back(self) -> None: ...

    def source(self, *_frame: object) -> Place:
        return PLACE

    def resumed_at(self, *_frame: object) -> Place:
        return PLACE


def ring_of(memory: Memory) -> RingRecorder:
    recorder = RingRecorder(SimpleNamespace(linear=memory, control=None), None)  # type: ignore[arg-type]
    recorder._facts = Facts(memory)  # type: ignore[assignment]
    return recorder


def happen(memory: Memory, *numbers: int, newest: int) -> None:
    for number in numbers:
        memory.write(RING + (number - 1) % ENTRIES * size_of(KlosEvent), struct.pack("<I", number))
    memory.write(COUNT, struct.pack("<I", newest))


def test_the_ring_is_read_in_order_and_once() -> None:
    memory = Memory({})
    recorder = ring_of(memory)
    assert list(recorder.poll()) == []
    happen(memory, 1, 2, 3, newest=3)
    assert [event.seq for event in recorder.poll()] == [1, 2, 3]
    happen(memory, *range(4, 19), newest=18)
    assert [event.seq for event in recorder.poll()] == list(range(4, 19))
    assert (list(recorder.poll()), recorder.lost) == ([], 0)


def test_an_event_under_way_is_waited_for() -> None:
    """The nested one is written first; order is that of the beginnings all the same."""
    memory = Memory({})
    recorder = ring_of(memory)
    happen(memory, 2, newest=2)
    assert list(recorder.poll()) == []
    happen(memory, 1, newest=2)
    assert [event.seq for event in recorder.poll()] == [1, 2]


def test_what_was_overwritten_unread_is_counted() -> None:
    memory = Memory({})
    recorder = ring_of(memory)
    happen(memory, *range(1, 41), newest=40)
    assert [event.seq for event in recorder.poll()] == list(range(25, 41))
    assert recorder.lost == 24


def test_at_the_end_what_never_ended_is_left_out() -> None:
    memory = Memory({})
    recorder = ring_of(memory)
    happen(memory, 1, 3, newest=3)
    assert [event.seq for event in recorder.stop()] == [1, 3]
