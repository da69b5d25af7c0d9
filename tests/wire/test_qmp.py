"""QMP from a QEMU that does what the real one seldom does."""

import contextlib
import json
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from klosdbg.errors import TargetLost
from klosdbg.targets.qmp import Qmp

GREETING = {"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 0}}, "capabilities": []}}
EVENT = {"event": "RESUME", "timestamp": {"seconds": 1, "microseconds": 2}}
REFUSED = {"error": {"class": "GenericError", "desc": "not today"}}
DONE: dict[str, object] = {"return": {}}


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("klosdbg.targets.qmp.CONNECT_TIMEOUT", 20.0)


@contextmanager
def answering(directory: Path, *handshakes: Sequence[dict[str, object]]) -> Iterator[str]:
    """Greet and answer each client with the next of these, and then tell it that all runs."""
    path = str(directory / "qmp")
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen(len(handshakes))

    def serve() -> None:
        for answers in handshakes:
            connection, _ = server.accept()
            with connection, contextlib.suppress(ConnectionError):
                _say(connection, answers[0])
                connection.recv(4096)
                for answer in answers[1:]:
                    _say(connection, answer)
                while request := connection.recv(4096):
                    status = {"status": "running", "running": True, "singlestep": False}
                    _say(connection, {"return": status, "id": json.loads(request)["id"]})

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"unix:{path}"
    finally:
        thread.join(10)
        server.close()
    assert not thread.is_alive(), "fewer clients came than were expected"


def _say(connection: socket.socket, message: dict[str, object]) -> None:
    connection.sendall(json.dumps(message).encode() + b"\n")


@pytest.mark.parametrize("early", [(EVENT, GREETING), (GREETING, EVENT, DONE)])
def test_an_event_may_come_in_the_handshake(
    short_path: Path, early: Sequence[dict[str, object]]
) -> None:
    """QEMU sends them as soon as it has read the request, or to whoever comes next."""
    with answering(short_path, early, early, (GREETING, DONE)) as spec:
        qmp = Qmp(spec)
        assert qmp.status() == "running"
        qmp.close()


def test_a_handshake_that_is_refused_is_told_in_a_line(short_path: Path) -> None:
    with answering(short_path, *[(GREETING, REFUSED)] * 5) as spec:
        qmp = Qmp(spec)
        with pytest.raises(TargetLost, match="negotiation failed") as raised:
            qmp.status()
        assert "\n" not in str(raised.value)
        qmp.close()
