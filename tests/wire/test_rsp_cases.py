"""Conversations that real clients and stubs had, and what each of them means (tests/cases)."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from klosdbg.errors import ProtocolError
from klosdbg.wire.inforegs import parse_info_registers
from klosdbg.wire.rsp import (
    BadPacket,
    Codec,
    Interrupt,
    Notification,
    Packet,
    checksum,
    encode,
    escape,
)
from klosdbg.wire.rsp_replies import (
    MAX_PACKET_SIZE,
    Transfer,
    is_error,
    parse_features,
    parse_hex,
    parse_stop,
    parse_vcont_actions,
)
from klosdbg.wire.rsp_requests import parse_breakpoint, parse_memory, parse_vcont
from klosdbg.wire.target_xml import parse_target_xml

CASES = Path(__file__).parent.parent / "cases"
PROSE = {"diagnosis", "note"}


class Case:
    """A case; the test has to look at every key that is expected, but for prose."""

    def __init__(self, prefix: str) -> None:
        (path,) = CASES.glob(f"{prefix}-*.yaml")
        content = yaml.safe_load(path.read_text())
        assert content["kind"] == "rsp"
        self.input: dict[str, Any] = content["input"]
        self._expected: dict[str, Any] = content["expected"]
        self._seen: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        self._seen.add(key)
        return self._expected[key]

    def finish(self) -> None:
        assert self._expected.keys() - self._seen - PROSE == set()


@pytest.fixture
def case(request: pytest.FixtureRequest) -> Any:
    loaded = Case(request.param)
    yield loaded
    loaded.finish()


def of_case(prefix: str) -> Any:
    return pytest.mark.parametrize("case", [prefix], indirect=True)


def test_every_case_of_this_kind_has_a_test() -> None:
    named = re.findall(r'^@of_case\("(\d+)"\)', Path(__file__).read_text(), re.MULTILINE)
    kinds = {
        path.name[:3]: yaml.safe_load(path.read_text())["kind"] for path in CASES.glob("*.yaml")
    }
    assert sorted(named) == sorted(number for number, kind in kinds.items() if kind == "rsp")


def payload(frame: str, *, run_length: bool = True) -> bytes:
    (event,) = Codec(run_length=run_length).feed(frame.encode("latin-1"))
    assert isinstance(event, Packet | Notification), (frame, event)
    return event.payload


CORE = ("eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi", "eip", "eflags")
SELECTORS = ("cs", "ss", "ds", "es", "fs", "gs")
BASES = ("fs_base", "gs_base", "k_gs_base")
CONTROL = ("cr0", "cr2", "cr3", "cr4", "cr8", "efer")
X87 = ("fctrl", "fstat", "ftag", "fiseg", "fioff", "foseg", "fooff", "fop")
I386_REGISTERS: tuple[tuple[str, int], ...] = (
    *((name, 32) for name in (*CORE, *SELECTORS, *BASES, *CONTROL)),
    *((f"st{number}", 80) for number in range(8)),
    *((name, 32) for name in X87),
    *((f"xmm{number}", 128) for number in range(8)),
    ("mxcsr", 32),
)
SYSTEM = I386_REGISTERS[16:25]


def describe(registers: tuple[tuple[str, int], ...]) -> Any:
    rows = "".join(f'<reg name="{name}" bitsize="{bits}"/>' for name, bits in registers)
    return parse_target_xml({"target.xml": f"<target>{rows}</target>".encode()})


@of_case("110")
def test_g_is_decoded_by_the_description(case: Case) -> None:
    full = describe(I386_REGISTERS)
    without_system = describe(tuple(r for r in I386_REGISTERS if r not in SYSTEM))
    linux = describe((*(r for r in I386_REGISTERS if r not in SYSTEM), ("orig_eax", 32)))
    assert full.size == 344
    sizes = [int(re.split(r" = | ", row)[-1]) for row in case["layout_344"]]
    parts = [
        full.registers[a:b] for a, b in ((0, 16), (16, 25), (25, 33), (33, 41), (41, 49), (49, 50))
    ]
    assert [sum(register.size for register in part) for part in parts] == sizes
    assert case["layout_308"] == f"same without the {len(SYSTEM)} system registers"
    assert without_system.size == 308
    assert case["layout_312"] == f"{without_system.size} + orig_eax (Linux i386 description)"
    assert linux.size == 312
    assert {name: full.find(name).offset for name in case["offset_of"]} == case["offset_of"]
    digits = case.input["text"].split(": ")[1].split("...")[0]
    decoded = full.decode(digits.encode())
    assert {name: f"{decoded[name]:#x}" for name in case["decoded"]} == case["decoded"]


@of_case("112")
def test_runs_expand_in_binary_replies(case: Case) -> None:
    wire = bytes.fromhex(case.input["reply_hex"])
    reply = payload(wire.decode("latin-1"))
    assert reply.replace(b"\0", b"\\0").decode() == case["payload_after_rle"]
    assert f"{checksum(wire[1:-3]):#x}" == case["reply_checksum"]
    length, _, data = reply[1:].partition(b";")
    assert case["announced_length"] == f"{int(length, 16):#x} = {int(length, 16)} bytes".replace(
        "0X", "0x"
    )
    assert len(data) == case["actual_length_after_decode"]
    assert len(wire[1:-3].partition(b";")[2]) == case["wire_length"]
    requests = [payload(frame, run_length=False) for frame in case.input["packets"]]
    path = parse_hex(requests[0].split(b":")[2].split(b",")[0], "a path")
    assert path.decode() == case["open_path"]
    sums = dict(zip(("vFile:open...", "F5", "vFile:pread:5,3fff,0"), requests, strict=True))
    assert {name: f"{checksum(p):02x}" for name, p in sums.items()} == case["checksums"]


@of_case("114")
def test_a_long_reply_with_many_runs(case: Case) -> None:
    frame = re.sub(r"\n *", "", case.input["packet"])
    reply = payload(frame)
    data = parse_hex(reply, "memory")
    assert f"{checksum(frame[1:-3].encode()):#x}" == case["checksum"]
    assert len(reply) == case["decoded_hex_digits"]
    assert len(data) == case["decoded_bytes"] == int(case.input["request_length"], 16)
    assert len(frame[1:-3]) == case["encoded_length"]
    assert data.hex().startswith(case["first_bytes"])
    assert data.hex().endswith(case["last_bytes"])
    assert frame.count("*") == case["runs"]
    for cut in range(1, len(frame)):
        codec = Codec()
        pieces = codec.feed(frame[:cut].encode()) + codec.feed(frame[cut:].encode())
        assert pieces == [Packet(reply)]


@of_case("116")
def test_a_stub_that_cannot_step(case: Case) -> None:
    payloads = [payload(frame) for frame in case.input["packets"]]
    assert case["checksums_ok"] is True
    offered = parse_vcont_actions(payloads[0])
    assert offered == set(case["vcont_reply_actions"])
    assert {"c", "C", "s", "S"} - offered == set(case["missing"])
    for action, wanted in zip(parse_vcont(payloads[1]), case["request_actions"], strict=True):
        assert action.thread is not None
        assert action.action == wanted["action"]
        assert action.thread.pid == wanted["pid"]
        assert action.thread.tid == int(str(wanted["tid"]).removesuffix(" (all)"))


@of_case("118")
def test_a_log_of_gdb(case: Case) -> None:
    log = case.input["log"]
    sent = [payload(frame) for frame in re.findall(r"Sending packet: (\$.*?#..)", log)]
    assert len(sent) == 5
    assert case["checksums_ok"] is True
    received = re.findall(r"Packet received: ?(.*)", log)
    request = parse_memory(sent[-1])
    assert f"{request.address:#x}" == case["m_reply"]["address"]
    assert parse_hex(received[-1].encode(), "memory").hex(" ") == case["m_reply"]["bytes"]
    assert received[0] == ""
    assert encode(b"").decode() in case["empty_reply"]
    assert not is_error(b"")
    assert Codec().feed(b"\x03") == [Interrupt()]
    assert re.findall(r"S(\d\d)", case["ctrl_c"]) == ["05", "02"]
    assert parse_stop(received[2].encode()).code == 5
    assert case["elided_reply_not_parseable"] is True
    with pytest.raises(ProtocolError):
        parse_hex(b"7300[16 bytes omitted]", "memory")


@of_case("120")
def test_chunks_go_on_from_what_was_received(case: Case) -> None:
    example = case["constructed_example"]
    transfer = Transfer("features", "target.xml", 0xFFB)
    assert transfer.request().decode() == example["first"]
    transfer.feed(b"m" + bytes(example["got"]))
    assert transfer.request().decode() == example["second"]
    assert "decoded bytes received" in case["next_offset"]
    assert "requested" in case["wrong"]
    assert case["terminators"] == {"m": "more data follows", "l": "last chunk"}
    assert not transfer.done
    transfer.feed(b"l")
    assert transfer.done


@of_case("122")
def test_a_star_in_data_is_escaped(case: Case) -> None:
    data = bytes.fromhex(case["decoded"])
    assert escape(data).hex(" ") == case["correct_wire"]
    assert payload(encode(data).decode("latin-1")) == data
    assert [step.split()[0] for step in case["order_for_receiver"]] == [
        "check",
        "expand",
        "unescape",
    ]
    assert "(13 repeats)" in case["ambiguous_wire"]
    assert payload("$0**#84") == b"0" * 14
    assert "cannot be run-length coded" in case["run_of_escaped"]
    assert payload('$}\n*"#d3') == b"*" + b"\n" * 5


@of_case("124")
def test_acknowledgements_belong_to_the_connection(case: Case) -> None:
    codec = Codec(run_length=False)
    codec.feed(encode(b"QStartNoAckMode"))
    assert "itself been acknowledged" in case["switch_point"]
    assert codec.take_acks() == b"+"
    codec.start_no_ack_mode()
    assert len(case["violations"]) == 4
    codec.feed(encode(b"qSupported"))
    assert codec.take_acks() == b""
    assert "ignore stray + and -" in case["client_rule"]
    assert codec.feed(b"+-") == []
    assert codec.feed(b"\x03") == [Interrupt()]
    fresh = Codec()
    fresh.feed(encode(b"OK"))
    assert fresh.take_acks() == b"+"


REGISTERS = """
EAX=00000000 EBX=00000000 ECX=00000000 EDX=00000000
ESI=00000000 EDI=00000000 EBP=00000000 ESP=00000000
EIP={eip:08x} EFL=00000002 [-------] CPL=0 II=0 A20=1 SMM=0 HLT=0
ES =0000 00000000 0000ffff 00009300
CS ={cs:04x} {base:08x} 0000ffff 00009b00
SS =0000 00000000 0000ffff 00009300
DS =0000 00000000 0000ffff 00009300
FS =0000 00000000 0000ffff 00009300
GS =0000 00000000 0000ffff 00009300
LDT=0000 00000000 0000ffff 00008200
TR =0000 00000000 0000ffff 00008b00
GDT=     00000000 0000ffff
IDT=     00000000 0000ffff
CR0=60000010 CR2=00000000 CR3=00000000 CR4=00000000
EFER=0000000000000000
"""


@of_case("126")
def test_linear_addresses_come_from_the_hidden_base(case: Case) -> None:
    def linear(cs: int, base: int, eip: int) -> str:
        cpu = parse_info_registers(REGISTERS.format(cs=cs, base=base, eip=eip))
        return f"{cpu.linear_pc:#x}"

    wanted = case["linear"]
    assert wanted["reset"].split()[0] == linear(0xF000, 0xFFFF0000, 0xFFF0)
    assert wanted["after_far_jump"] == linear(0xF000, 0xF0000, 0xE05B)
    assert wanted["ljmp_7e0"] == linear(0x7E0, 0x7E00, 0)
    assert case["z0_address"] == "linear", (
        "tests/live/test_rsp_live.py stops where CS base is not 0"
    )
    assert case["pc_register"] == "offset only"


@of_case("128")
def test_stops_told_by_notification(case: Case) -> None:
    notification = payload(case.input["notification"])
    assert isinstance(Codec().feed(case.input["notification"].encode())[0], Notification)
    codec = Codec()
    codec.feed(case.input["notification"].encode())
    assert codec.take_acks() == b""
    frames = [payload(frame) for frame in case.input["packets"]]
    assert frames[0] == b"vStopped"
    assert frames[-1] == b"OK"
    stops = [parse_stop(p) for p in (notification.partition(b":")[2], *frames[1:-1])]
    names = {5: "ebp", 4: "esp", 8: "eip"}
    for stop, registers, thread in zip(stops, case["registers"], case["threads"], strict=True):
        assert stop.code == int(case["signal"], 16)
        values = {names[n]: int.from_bytes(raw, "little") for n, raw in stop.registers.items()}
        assert values == {name: int(value, 16) for name, value in registers.items()}
        assert stop.thread is not None
        assert (stop.thread.pid, stop.thread.tid) == (thread["pid"], thread["tid"])
    assert len(case["rules"]) == 4


@of_case("130")
def test_escapes_that_stubs_disagree_on(case: Case) -> None:
    accepted = [payload(frame, run_length=False) for frame in case.input["accepted_by_both_tests"]]
    write = parse_memory(accepted[0])
    assert write.address == int(case["decode_first"]["address"], 16)
    assert write.size == case["decode_first"]["length"]
    assert write.data is not None
    assert write.data.hex(" ") == case["decode_first"]["data_hex"]
    assert "raw #" in case["disputed_reading_a"]
    assert "bad packet" in case["disputed_reading_b"]
    assert "reading b" in case["qemu"]
    for frame in case.input["disputed"]:
        events = Codec(run_length=False).feed(frame.encode())
        assert isinstance(events[0], BadPacket), "a frame ends at the first #"
        assert not any(isinstance(event, Packet) for event in events)
    (refused,) = Codec(run_length=False).feed(case.input["reject"].encode())
    assert isinstance(refused, BadPacket)
    assert "7d 0a" in case["qemu_star"]
    assert escape(b"*").hex(" ") == "7d 0a"
    assert "never escape 0x03" in case["rule"]
    assert escape(b"\x03") == b"\x03"
    breakpoint_request = parse_breakpoint(accepted[2])
    assert breakpoint_request.kind == 1
    assert f"{breakpoint_request.address:#x}" in case["z_type"]
    assert f"kind {breakpoint_request.size}" in case["z_type"]


@of_case("132")
def test_a_packet_size_printed_in_decimal(case: Case) -> None:
    frames = case.input["packets"]
    payloads = [payload(frame) for frame in frames]
    features = parse_features(payloads[3])
    assert features.announced_size == case["packetsize_as_hex"]
    assert features.packet_size == MAX_PACKET_SIZE
    assert f"{MAX_PACKET_SIZE:#x}" in case["packetsize_probably_meant"]
    assert [len(frame) for frame in frames] == case.input["wire_lengths"]
    assert case["wire_lengths_ok"] is True
    assert "QStartNoAckMode" in features.supported
    codec = Codec()
    codec.feed(frames[1].encode())
    codec.start_no_ack_mode()
    assert "last one" in case["last_ack"]
    assert codec.take_acks() == b"+"
    codec.feed(frames[3].encode())
    assert codec.take_acks() == b""
