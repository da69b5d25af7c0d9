"""Replies, requests and target descriptions."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from klosdbg.errors import ProtocolError
from klosdbg.wire.rsp_replies import (
    StopReply,
    ThreadId,
    Transfer,
    is_error,
    is_stop,
    parse_features,
    parse_hex,
    parse_stop,
    parse_thread_id,
    parse_thread_list,
    parse_vcont_actions,
)
from klosdbg.wire.rsp_requests import (
    BreakpointRequest,
    MemoryRequest,
    VContAction,
    parse_breakpoint,
    parse_memory,
    parse_vcont,
)
from klosdbg.wire.target_xml import included, parse_target_xml

QEMU_XML = b"""<?xml version="1.0"?>
<!DOCTYPE target SYSTEM "gdb-target.dtd">
<target><architecture>i386</architecture><xi:include href="i386-32bit.xml"/></target>"""

QEMU_CORE_XML = b"""<?xml version="1.0"?>
<!DOCTYPE feature SYSTEM "gdb-target.dtd">
<feature name="org.gnu.gdb.i386.core">
  <reg name="eax" bitsize="32" type="int32" regnum="0"/>
  <reg name="eip" bitsize="32" type="code_ptr"/>
  <!-- <reg name="cs_base" bitsize="32" type="int32"/> -->
  <reg name="st0" bitsize="80" type="i387_ext"/>
</feature>"""

DESCRIPTION = {"target.xml": QEMU_XML, "i386-32bit.xml": QEMU_CORE_XML}


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"S05", StopReply("stopped", 5)),
        (b"T02thread:01;", StopReply("stopped", 2, ThreadId(1))),
        (
            b"T05thread:01;watch:00300010;",
            StopReply("stopped", 5, ThreadId(1), "watch", 0x300010),
        ),
        (b"T05awatch:10;core:0;", StopReply("stopped", 5, None, "awatch", 16, notes={"core": "0"})),
        (b"T0505:98e7ffbf;", StopReply("stopped", 5, registers={5: b"\x98\xe7\xff\xbf"})),
        (b"W00", StopReply("exited", 0)),
        (b"W7f;process:1", StopReply("exited", 0x7F)),
        (b"X09", StopReply("terminated", 9)),
    ],
)
def test_stop_replies(payload: bytes, expected: StopReply) -> None:
    assert parse_stop(payload) == expected
    assert is_stop(payload)


@pytest.mark.parametrize(
    "payload",
    [b"", b"OK", b"T", b"Tzz", b"T05thread", b"T05watch:xyz;", b"T0505:9;", b"Wxx", b"W1zz"],
)
def test_garbage_is_no_stop_reply(payload: bytes) -> None:
    with pytest.raises(ProtocolError, match="a stop reply"):
        parse_stop(payload)


STARTS = (b"T05", b"S05", b"W0", b"X0", b"m", b"vCont;", b"Z0,", b"M0,0", b"PacketSize=", b"<t")


@given(st.builds(bytes.__add__, st.sampled_from((b"", *STARTS)), st.binary(max_size=40)))
def test_parsers_take_any_bytes(payload: bytes) -> None:
    parsers = (
        parse_stop,
        parse_features,
        parse_vcont_actions,
        parse_thread_list,
        parse_breakpoint,
        parse_memory,
        parse_vcont,
        parse_target_xml_alone,
    )
    for parser in parsers:
        with contextlib.suppress(ProtocolError):
            parser(payload)


def parse_target_xml_alone(payload: bytes) -> object:
    return parse_target_xml({"target.xml": payload})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1f", ThreadId(0x1F)),
        ("-1", ThreadId(-1)),
        ("0", ThreadId(0)),
        ("p2.1", ThreadId(1, 2)),
        ("p1.-1", ThreadId(-1, 1)),
        ("p1", ThreadId(-1, 1)),
        ("p-1.-1", ThreadId(-1, -1)),
    ],
)
def test_thread_ids(text: str, expected: ThreadId) -> None:
    assert parse_thread_id(text) == expected


@pytest.mark.parametrize("text", ["", "p", "p.1", "-2", "1.2", "p1.", "zz"])
def test_garbage_is_no_thread_id(text: str) -> None:
    with pytest.raises(ProtocolError):
        parse_thread_id(text)


def test_features_are_hexadecimal_and_clamped() -> None:
    features = parse_features(b"PacketSize=1000;qXfer:features:read+;foo-;bar?;x=y")
    assert features.packet_size == 0x1000
    assert features.supported == {"qXfer:features:read"}
    assert features.values["x"] == "y"
    assert parse_features(b"PacketSize=1").packet_size == 64
    assert parse_features(b"").packet_size == 400


def test_errors_are_told_from_data() -> None:
    assert is_error(b"E14")
    assert is_error(b"E.no such register")
    assert not is_error(b"")
    assert not is_error(b"E144"), "two bytes of memory and a half are no error"
    with pytest.raises(ProtocolError):
        parse_hex(b"7300[16 bytes omitted]", "memory")
    with pytest.raises(ProtocolError):
        parse_hex(b"73 00", "memory")


def test_a_transfer_goes_on_from_what_was_received() -> None:
    transfer = Transfer("features", "target.xml", 0xFFB)
    assert transfer.request() == b"qXfer:features:read:target.xml:0,ffb"
    transfer.feed(b"m" + b"x" * 2045)
    assert transfer.request() == b"qXfer:features:read:target.xml:7fd,ffb"
    transfer.feed(b"lend")
    assert transfer.done
    assert transfer.data == b"x" * 2045 + b"end"


@pytest.mark.parametrize("reply", [b"", b"E01", b"m", b"xyz"])
def test_a_transfer_refuses_garbage_and_never_spins(reply: bytes) -> None:
    with pytest.raises(ProtocolError):
        Transfer("features", "target.xml", 10).feed(reply)


def test_a_transfer_has_an_end() -> None:
    transfer = Transfer("features", "target.xml", 10, limit=10)
    with pytest.raises(ProtocolError, match="never ends"):
        transfer.feed(b"m" + b"x" * 11)


def test_registers_in_comments_do_not_count() -> None:
    description = parse_target_xml(DESCRIPTION)
    assert description.architecture == "i386"
    assert [(r.name, r.number, r.offset) for r in description.registers] == [
        ("eax", 0, 0),
        ("eip", 1, 4),
        ("st0", 2, 8),
    ]
    assert description.size == 18
    assert not description.is_64_bit
    assert included(QEMU_XML) == ["i386-32bit.xml"]


def test_numbers_may_jump_and_come_in_any_order() -> None:
    xml = b'<t><reg name="b" bitsize="16" regnum="7"/><reg name="a" bitsize="8" regnum="3"/></t>'
    description = parse_target_xml({"target.xml": xml})
    assert [(r.name, r.number, r.offset) for r in description.registers] == [
        ("a", 3, 0),
        ("b", 7, 1),
    ]


def test_g_leaves_out_what_is_unknown_or_missing() -> None:
    description = parse_target_xml(DESCRIPTION)
    assert description.decode(b"01000000" + b"x" * 8 + b"00" * 10) == {"eax": 1, "st0": 0}
    assert description.decode(b"0100000002000000") == {"eax": 1, "eip": 2}
    with pytest.raises(ProtocolError, match="registers in hexadecimal"):
        description.decode(b"hello, world")


@pytest.mark.parametrize(
    ("xml", "reason"),
    [
        (b"<target>", "not XML"),
        (b"", "not XML"),
        (b'<!DOCTYPE t [<!ENTITY a "b">]><t>&a;</t>', "entities"),
        (b'<t><reg name="a" bitsize="7"/></t>', "7 bits"),
        (b'<t><reg name="a" bitsize="99999992"/></t>', "bits"),
        (b'<t><reg name="a" bitsize="x"/></t>', "bitsize"),
        (b'<t><xi:include href="target.xml"/></t>', "in vain"),
        (b"<t>" + b'<reg name="a" bitsize="8"/>' * 2000 + b"</t>", "2000 registers"),
    ],
)
def test_bad_descriptions_are_refused_in_a_line(xml: bytes, reason: str) -> None:
    with pytest.raises(ProtocolError, match=reason):
        parse_target_xml({"target.xml": xml})


def test_an_entity_hidden_by_its_encoding_is_refused() -> None:
    xml = '<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE t [<!ENTITY a "b">]><t>&a;</t>'
    with pytest.raises(ProtocolError, match="entities"):
        parse_target_xml({"target.xml": xml.encode("utf-16")})


def test_requests() -> None:
    assert parse_breakpoint(b"z0,1000,1") == BreakpointRequest(False, 0, 0x1000, 1)
    assert parse_breakpoint(b"Z1,ff,3;X1,22") == BreakpointRequest(True, 1, 0xFF, 3)
    assert parse_memory(b"m10,20") == MemoryRequest(0x10, 0x20)
    assert parse_memory(b"M10,2:0aff") == MemoryRequest(0x10, 2, b"\x0a\xff")
    assert parse_memory(b"X10,2:::") == MemoryRequest(0x10, 2, b"::")
    assert parse_vcont(b"vCont;C05:1;c") == [
        VContAction("C", 5, ThreadId(1)),
        VContAction("c"),
    ]


@pytest.mark.parametrize(
    "payload", [b"M10,2:0a", b"M10,2", b"m10,2:00", b"m10", b"q10,2", b"m1z,2"]
)
def test_bad_memory_requests(payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_memory(payload)


@pytest.mark.parametrize("payload", [b"vCont", b"vCont;", b"vCont;q", b"vCont;C5", b"vCont;s:zz"])
def test_bad_resume_requests(payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_vcont(payload)
