"""Settings of every test."""

import os
import signal
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes says more about the machine than about klosdbg. The examples are the
# same each time; `pytest --hypothesis-profile=random` looks for others.
settings.register_profile("random", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("klosdbg", settings.get_profile("random"), derandomize=True)
settings.load_profile("klosdbg")

os.environ["COLUMNS"] = "80"

# A shell ignores it for what it starts with `&`, and so does all that is started from there.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def short_path() -> Iterator[Path]:
    """Make a directory with a short name: that of a socket in it has 107 bytes at most."""
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory)


@pytest.fixture
def dead_port() -> Iterator[int]:
    """Hold a port of 127.0.0.1, at which nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]
