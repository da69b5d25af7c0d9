"""The codec: every frame whole, byte by byte, with trailing data, and corrupted."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from klosdbg.wire.rsp import (
    Ack,
    BadPacket,
    Codec,
    Interrupt,
    Junk,
    Nack,
    Notification,
    Packet,
    RspEvent,
    checksum,
    encode,
    escape,
)

FRAMES: dict[bytes, RspEvent] = {
    b"$#00": Packet(b""),
    b"$OK#9a": Packet(b"OK"),
    b"$Z1,189D67D8,3#E5": Packet(b"Z1,189D67D8,3"),
    b"$0* #7a": Packet(b"0000"),
    b"$}\x03}\x04}]}\n#62": Packet(b"#$}*"),
    b'$*"#4c': BadPacket("a run of nothing"),
    b"$0*#5a": BadPacket("a run without a count"),
    b"$0*\x1f#79": BadPacket("run count b'\\x1f'"),
    b"$a}#de": BadPacket("an escape without a byte"),
    b"$OK#9b": BadPacket("checksum 9b where 9a is right"),
    b"$OK#zz": BadPacket("checksum digits b'zz'"),
    b"%Stop:T05#99": Notification(b"Stop:T05"),
    b"+": Ack(),
    b"-": Nack(),
    b"\x03": Interrupt(),
}
frames = pytest.mark.parametrize("frame", FRAMES, ids=repr)


@frames
def test_a_frame_decodes_whole(frame: bytes) -> None:
    assert Codec().feed(frame) == [FRAMES[frame]]


@frames
def test_a_frame_decodes_byte_by_byte(frame: bytes) -> None:
    codec = Codec()
    events = [event for byte in frame for event in codec.feed(bytes([byte]))]
    assert events == [FRAMES[frame]]


@frames
def test_a_frame_decodes_before_trailing_data(frame: bytes) -> None:
    codec = Codec()
    assert codec.feed(frame + b"$tail") == [FRAMES[frame]]
    assert codec.feed(b"#aa") == [Packet(b"tail")]


@given(st.binary())
def test_payloads_survive_the_wire(payload: bytes) -> None:
    assert Codec().feed(encode(payload)) == [Packet(payload)]
    assert Codec(run_length=False).feed(encode(payload)) == [Packet(payload)]
    assert Codec().feed(b"%" + encode(payload)[1:]) == [Notification(payload)]


@given(st.lists(st.binary(max_size=20)), st.data())
def test_cutting_the_stream_anywhere_changes_nothing(
    payloads: list[bytes], data: st.DataObject
) -> None:
    stream = b"+".join(encode(payload) for payload in payloads)
    whole = Codec().feed(stream)
    codec = Codec()
    pieces = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        pieces += codec.feed(stream[:size])
        stream = stream[size:]
    assert pieces == whole


@given(st.binary(min_size=1), st.integers(min_value=0), st.integers(1, 255))
def test_one_wrong_byte_never_passes_for_the_packet(payload: bytes, at: int, wrong: int) -> None:
    frame = bytearray(encode(payload))
    frame[at % len(frame)] ^= wrong
    if bytes(frame[:-2]) != encode(payload)[:-2] or frame[-2:].lower() != encode(payload)[-2:]:
        assert Packet(payload) not in Codec().feed(bytes(frame))


@given(st.binary(max_size=2000))
def test_any_bytes_at_all_are_taken(noise: bytes) -> None:
    codec = Codec(limit=100)
    codec.feed(noise)
    codec.feed(b"#00" * 2)
    assert Packet(b"OK") in codec.feed(b"#00$OK#9a")


@given(st.binary())
def test_checksum_is_the_sum(data: bytes) -> None:
    assert checksum(data) == sum(data) % 256


def test_checksum_of_the_largest_bytes() -> None:
    assert checksum(b"\xff" * 100_000) == 255 * 100_000 % 256


def test_only_four_bytes_are_escaped() -> None:
    changed = [byte for byte in range(256) if escape(bytes([byte])) != bytes([byte])]
    assert bytes(changed) == b"#$*}"


def test_a_star_in_a_request_is_a_star() -> None:
    assert Codec(run_length=False).feed(b"$a*b#ed") == [Packet(b"a*b")]


def test_runs_expand_before_escapes() -> None:
    body = b'}\x03*"'
    assert Codec().feed(b"$%b#%02x" % (body, checksum(body))) == [Packet(b"#" + b"\x03" * 5)]


def test_packets_are_acknowledged_once() -> None:
    codec = Codec()
    codec.feed(b"$OK#9a$OK#00%Stop:T05#99$OK#9a")
    assert codec.take_acks() == b"+-+"
    assert codec.take_acks() == b""


def test_no_ack_mode_drops_stray_acknowledgements() -> None:
    codec = Codec()
    codec.feed(b"$OK#9a")
    codec.start_no_ack_mode()
    assert codec.take_acks() == b"+", "the OK to QStartNoAckMode is the last to be acknowledged"
    assert codec.feed(b"+-$OK#9a-+") == [Packet(b"OK")]
    assert codec.take_acks() == b""


def test_acknowledging_early_leaves_nothing_to_send_later() -> None:
    codec = Codec()
    assert codec.acknowledge_early(2) == b"+"
    codec.feed(b"$OK#9a$OK#9a$T05#b9")
    assert codec.take_acks() == b"+"


def test_junk_is_reported_and_skipped() -> None:
    assert Codec().feed(b"SSH-2.0 $OK#9a") == [
        Junk(b"SSH"),
        Nack(),
        Junk(b"2.0 "),
        Packet(b"OK"),
    ]


def test_a_packet_beyond_the_limit_is_refused_once_and_skipped() -> None:
    codec = Codec(limit=10)
    events = (
        codec.feed(b"$" + b"a" * 12)
        + codec.feed(b"a" * 1000)
        + codec.feed(b"#")
        + codec.feed(b"00")
    )
    assert events == [BadPacket("longer than 10 bytes")]
    assert codec.feed(b"$OK#9a") == [Packet(b"OK")]


def test_runs_cannot_grow_beyond_the_limit() -> None:
    body = b"0" + b"*~" * 50
    frame = b"$%b#%02x" % (body, checksum(body))
    assert Codec(limit=1000).feed(frame) == [BadPacket("longer than 1000 bytes")]
    assert Codec().feed(frame) == [Packet(b"0" * (1 + 50 * 97))]


def test_an_interrupt_byte_within_a_packet_is_data() -> None:
    assert Codec(run_length=False).feed(b"$X0,1:\x03#22\x03") == [Packet(b"X0,1:\x03"), Interrupt()]


def test_time_is_linear_in_pieces() -> None:
    def feed(pieces: int) -> float:
        codec = Codec(limit=1 << 24)
        codec.feed(b"$")
        began = time.process_time()
        for _ in range(pieces):
            codec.feed(b"0" * 64)
        return time.process_time() - began

    feed(100)
    short, long = (min(feed(pieces) for _ in range(3)) for pieces in (1000, 32_000))
    assert long < 180 * short, "32 times as long, not 1024 times"
