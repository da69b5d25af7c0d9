"""In which order the server serves what has come at once."""

import socket
from pathlib import Path
from tempfile import TemporaryDirectory

from klosdbg.server.listen import listen
from klosdbg.server.server import Server
from klosdbg.wire.rsp import encode
from tests.unit.test_server_packets import Control, frozen


def test_who_comes_as_the_controller_leaves_gets_control() -> None:
    """``gdb -batch`` says ``k`` and is gone, while the next client connects already."""
    with TemporaryDirectory() as directory:
        Path(directory).chmod(0o700)
        path = f"{directory}/s"
        server = Server(frozen(Control()), listen(f"unix:{path}"))
        with socket.socket(socket.AF_UNIX) as leaving, socket.socket(socket.AF_UNIX) as coming:
            leaving.connect(path)
            server.turn()
            first = server.hub.controller
            leaving.sendall(encode(b"k"))
            coming.connect(path)
            server.turn()
            (second,) = server.clients
            assert first is not None
            assert first is not second is server.hub.controller
        server.close()
