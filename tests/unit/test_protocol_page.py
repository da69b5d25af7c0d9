"""docs/protocol.md says of every packet what the server does with it."""

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from klosdbg.server.client import PACKET_SIZE, Client
from klosdbg.server.hub import Hub
from klosdbg.server.monitor import READ_ONLY
from klosdbg.server.packets import _FEATURES, _HANDLERS, answer
from klosdbg.server.registers import RegisterLayout
from klosdbg.session import Session
from klosdbg.wire.rsp import encode
from klosdbg.wire.target_xml import parse_target_xml
from tests.unit.klos.frozen import symbols, target

PAGE = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()
ANSWERED, EMPTY = PAGE.split("## Packets that are answered empty")


def packets(part: str) -> list[str]:
    rows = re.findall(r"^\| (`.*?) \|", part.split("\n## ")[0], re.M)
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row)]


@pytest.fixture
def client() -> Iterator[tuple[Hub, Client]]:
    session = Session(symbols=symbols())
    session.attach(target())
    hub = Hub(session)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        joined = Client(ours, 1, hub.session())
        hub.join(joined)
        yield hub, joined


def test_every_packet_that_is_answered_is_on_the_page() -> None:
    listed = {
        re.sub(r"(?<=[Zz])\d", "", name) for name in packets(ANSWERED.split("that are ans")[1])
    }
    listed = listed - {"bs", "bc"} | {"b"}
    assert {name.encode() for name in listed} == set(_HANDLERS)


@pytest.mark.parametrize("name", packets(EMPTY))
def test_what_the_page_calls_empty_is_empty(name: str, client: tuple[Hub, Client]) -> None:
    answer(*client, name.encode() + (b",c0100000,4" if name[0] == "Z" else b""))
    assert bytes(client[1]._output) == encode(b"")


def test_features_limits_and_monitor_commands_are_on_the_page() -> None:
    for feature in _FEATURES.decode().split(";"):
        assert f"`{re.split('[=+]', feature)[0]}" in PAGE, feature
    assert f"PacketSize={PACKET_SIZE:x}" in PAGE
    for command in READ_ONLY:
        assert f"`{command.removeprefix('info ')}`" in PAGE, command


@pytest.mark.parametrize("wide", [False, True])
def test_our_own_client_understands_the_description(wide: bool) -> None:
    layout = RegisterLayout(wide)
    described = parse_target_xml({"target.xml": layout.target_xml})
    assert [r.name for r in described.registers] == [r.name for r in layout.registers]
    assert [r.bits for r in described.registers] == [r.bits for r in layout.registers]
    assert described.is_64_bit == wide
    values = {register.name: 1 for register in layout.registers if register.name != "system"}
    assert described.decode(layout.encode_all(values)).items() >= values.items()
