"""klos_info is found by symbol and by scanning, and a guest that lies raises one clear error."""

import struct
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from klosdbg.errors import CommandError, KlosdbgError
from klosdbg.klos.abi import STRUCTURES, KlosArray, KlosInfo, KlosSite
from klosdbg.klos.checks import check_klos
from klosdbg.klos.constants import Flag
from klosdbg.klos.find import decode_info, find_klos, read_array
from klosdbg.klos.layout import decode, members, size_of
from klosdbg.klos.mailbox import ask
from klosdbg.klos.outcomes import read_bench, read_outcomes
from klosdbg.klos.processes import read_frames, read_processes, read_threads
from klosdbg.klos.system import read_handlers, read_klos, read_services
from klosdbg.ports import Target
from tests.unit.klos.frozen import OS_BASE, place, ram, symbols, target

INFO = 0xC0100000 - OS_BASE
SIZE = size_of(KlosInfo)
FIELDS = {member.name: member for member in members(KlosInfo)}


def test_by_symbol_and_by_scanning() -> None:
    """Both ways find the same."""
    named = find_klos(target(), symbols())
    scanned = find_klos(target(), None)
    assert (named.found, scanned.found) == ("symbol", "scan")
    assert named.address == scanned.address == place("klos_info")
    assert named.info == scanned.info


def test_fields_are_what_the_compiler_wrote() -> None:
    """Strings, selectors, arrays and 64-bit numbers come out as they went in."""
    info = find_klos(target(), symbols()).info
    assert (info.magic, info.build_id) == ("KLOSINFO", "0123456789abcdef")
    assert (info.csos, info.dsapp, info.dsos, info.gate_selector) == (0x1B, 0x23, 0x57, 0x3B)
    assert info.sites == KlosArray(place("sites"), 4, 48)
    assert info.random_state == 0x8000_0000_0000_0001


def test_all_checks_agree() -> None:
    """A frozen KLOS that is in order has nothing wrong."""
    frozen = target()
    checks = check_klos(frozen, find_klos(frozen, symbols()))
    assert [check for check in checks if check.result != "ok"] == []
    assert len(checks) > 30


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("gdt", 0xC0101008, {"gdt"}),
        ("ldt_limit", 0xFE, {"ldt_limit", "ldt_selector"}),
        ("idt", 0, {"idt"}),
        ("tss", 0xC0105000, {"tss", "tss_selector"}),
        ("iomap", 1, {"iomap"}),
        ("csos", 0x23, {"csos"}),
        ("dsapp", 0x33, {"dsapp", "sites"}),
        ("dsos", 0x5F, {"dsos", "sites"}),
        ("core_code", 0x10, {"core_code", "gate_selector"}),
        ("gate_selector", 0x28, {"gate_selector"}),
        ("return_gate", 0xC0104005, {"return_gate"}),
        ("commit_vector", 50, {"commit_vector"}),
        ("app_top", 0xB0000000, {"dsapp"}),
        ("os_text_end", 0xC0108001, {"handlers"}),
        ("core_text_start", 0xC0104101, {"stubs"}),
        ("current_pid", 1, {"current_pid", "current_thread"}),
        ("current_pid", 99, {"current_pid"}),
        ("current_thread", 0xC010A001, {"current_thread"}),
        ("current_thread", 0, {"current_pid"}),
    ],
)
def test_a_corrupted_field_is_named(field: str, value: int, named: set[str]) -> None:
    """Each check notices its own field, and others hold."""
    memory = ram()
    write(memory, field, value)
    frozen = target(memory)
    checks = check_klos(frozen, find_klos(frozen, symbols()))
    assert {check.name for check in checks if check.result == "wrong"} == named


@pytest.mark.parametrize(
    ("symbol", "offset", "named"),
    [("stub_table", 4 * 33, {"stubs"}), ("handlers", 11, {"handlers"}), ("cell", 0, {"sites"})],
)
def test_a_corrupted_table_is_named(symbol: str, offset: int, named: set[str]) -> None:
    """One wrong entry of a table is enough."""
    memory = ram()
    memory[place(symbol) - OS_BASE + offset] ^= 0x40
    frozen = target(memory)
    checks = check_klos(frozen, find_klos(frozen, symbols()))
    assert {check.name for check in checks if check.result == "wrong"} == named


def test_a_relocation_under_way_is_no_fault() -> None:
    """While the sequence is odd, DSOS and the patch sites may disagree."""
    memory = ram()
    write(memory, "sequence", 3)
    write(memory, "dsos", 0x5F)
    frozen = target(memory)
    checks = check_klos(frozen, find_klos(frozen, symbols()))
    assert {c.name for c in checks if c.result == "unknown"} == {"dsos", "sites"}
    assert not any(c.result == "wrong" for c in checks)


def test_an_event_under_way_hides_the_process() -> None:
    """In an event CR3 may belong to a process that is about to go."""
    memory = ram()
    write(memory, "event_depth", 1)
    write(memory, "current_pid", 1)
    frozen = target(memory)
    checks = check_klos(frozen, find_klos(frozen, symbols()))
    assert [(c.name, c.result) for c in checks if c.result != "ok"] == [("current_pid", "unknown")]


def write(memory: bytearray, field: str, value: int) -> None:
    member = FIELDS[field]
    struct.pack_into("<" + member.code, memory, INFO + member.offset, value)


def test_before_it_booted() -> None:
    """The image is found where it was loaded, and only what needs no tables is told."""
    memory = ram()
    write(memory, "flags", 0)
    frozen = target(memory)
    assert not read_klos(frozen, None).checks
    assert not read_klos(frozen, None).found_fault
    with pytest.raises(CommandError, match="until klos_ready"):
        read_processes(frozen, None, everything=True)


def test_a_file_in_memory_is_no_candidate() -> None:
    """An ELF file with the image in it, below the image, is passed over."""
    memory = ram()
    image = elf_file(memory[INFO : INFO + SIZE], offset=0x1000, loads_at=INFO)
    memory[0x8000 : 0x8000 + len(image)] = image
    assert find_klos(target(memory), None).address == place("klos_info")
    write(memory, "flags", 0)
    memory[0x9000 + FIELDS["flags"].offset] = 0
    assert find_klos(target(memory), None).address == INFO


def elf_file(content: bytes | bytearray, offset: int, loads_at: int) -> bytes:
    """Make an ELF file of one segment, whose bytes are at ``offset``."""
    identification = b"\x7fELF\x01\x01\x01".ljust(16, b"\0")
    header = struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, 0, 52, 0, 0, 52, 32, 1, 0, 0, 0)
    size = len(content)
    segment = struct.pack("<8I", 1, offset, OS_BASE + loads_at, loads_at, size, size, 7, 0x1000)
    return (identification + header + segment).ljust(offset, b"\0") + bytes(content)


def test_a_forgery_is_passed_over() -> None:
    """Fields that make no sense, or tables that are not the processor's, lose to the real ones."""
    memory = ram()
    real = bytes(memory[INFO : INFO + SIZE])
    for at, field, value in (
        (0x1010, "app_top", 0xFFFFFFFF),
        (0x2020, "gdt", 0x1000),
        (0x3030, "gdt", 0xC0180000),
        (0x4040, "csos", 0),
        (0x5050, "physical_size", 0x1000),
        (0x6000, "flags", 0),
    ):
        memory[at : at + SIZE] = real
        struct.pack_into("<" + FIELDS[field].code, memory, at + FIELDS[field].offset, value)
    assert find_klos(target(memory), None).address == place("klos_info")


def test_there_is_none() -> None:
    """Without the magic the error says what was searched."""
    with pytest.raises(CommandError, match=r"no KLOS found.*64 MiB"):
        find_klos(target(bytearray(0x200000)), symbols())
    with pytest.raises(CommandError, match="no physical memory"):
        find_klos(replace(target(), physical=None), None)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("version", 2, "version 2, this klosdbg reads version 1"),
        ("size", SIZE - 4, f"says that it has {SIZE - 4} bytes"),
        ("size", 0xFFFFFFFF, "says that it has"),
    ],
)
def test_another_version_is_refused(field: str, value: int, message: str) -> None:
    """Version and size are checked before anything else is believed."""
    memory = ram()
    write(memory, field, value)
    with pytest.raises(CommandError, match=message):
        find_klos(target(memory), symbols())


def test_newer_fields_at_the_end_are_skipped() -> None:
    """Entries may be larger than ours; those that are smaller, too many or too far are refused."""
    frozen = target()
    sites = find_klos(frozen, symbols()).info.sites
    wider = replace(sites, count=2, entry_size=96)
    assert (
        read_array(frozen, replace(wider, address=sites.address), KlosSite, "sites")[1].name
        == "bare"
    )
    for array, problem in (
        (replace(sites, entry_size=47), "entries of 47 bytes"),
        (replace(sites, entry_size=0), "entries of 0 bytes"),
        (replace(sites, count=0xFFFFFFFF), "more than 4 MiB"),
        (replace(sites, address=0xFFFFFFF0), "past 4 GiB"),
    ):
        with pytest.raises(CommandError, match=rf"klos_info\.sites makes no sense: .*{problem}"):
            read_array(frozen, array, KlosSite, "sites")
    assert read_array(frozen, KlosArray(0, 0, 0), KlosSite, "sites") == []


@pytest.mark.parametrize("structure", STRUCTURES.values(), ids=list(STRUCTURES))
@given(data=st.data())
def test_every_structure_decodes_from_any_bytes(structure: type, data: st.DataObject) -> None:
    """Decoding is total, and what it makes of strings upsets no terminal."""
    raw = data.draw(st.binary(min_size=size_of(structure), max_size=size_of(structure)))
    decoded = decode(structure, raw)
    for member in members(structure):
        value = getattr(decoded, member.name)
        assert not isinstance(value, str) or value.isprintable()


COMMANDS: tuple[Callable[[Target], object], ...] = (
    lambda t: read_klos(t, symbols()),
    lambda t: read_processes(t, symbols(), True),
    lambda t: read_threads(t, symbols()),
    lambda t: read_services(t, symbols()),
    lambda t: read_handlers(t, symbols(), True),
    lambda t: read_frames(t, symbols()),
    lambda t: read_outcomes(t, symbols(), "selftest"),
    lambda t: read_bench(t, symbols()),
    lambda t: ask(t, symbols(), "ping", 1, 0.0),
)


@settings(deadline=None, max_examples=60)
@given(junk=st.binary(min_size=SIZE - 16, max_size=SIZE - 16), booted=st.booleans())
def test_any_klos_info_raises_nothing_else(junk: bytes, booted: bool) -> None:
    """Whatever follows the magic and the version, an error is one of ours."""
    memory = ram()
    memory[INFO + 16 : INFO + SIZE] = junk
    if booted:
        write(memory, "flags", Flag.BOOTED)
    errors = [error_of(read, target(memory)) for read in COMMANDS]
    assert not any("\n" in error for error in errors)


def error_of(read: Callable[[Target], object], frozen: Target) -> str:
    try:
        find_klos(frozen, None)
        read(frozen)
    except KlosdbgError as error:
        return str(error)
    return ""


@given(st.binary(max_size=SIZE + 8))
def test_any_bytes_for_klos_info(raw: bytes) -> None:
    """Short, long and meaningless bytes are refused in one line."""
    with pytest.raises(CommandError):
        decode_info(raw, 0x1000)
