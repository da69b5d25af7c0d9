"""What the host's timing program prints is read, and anything else is one clear error."""

import os
from pathlib import Path

import pytest
from klosdbg.errors import CommandError
from klosdbg.targets.hostcycles import host_cycles, parse_cycles

PRINTED = "CYCLES|1|counter=tsc\nPATH|design-b|88.2\nPATH|int80|10836.8\nEND\n"


def test_what_it_prints() -> None:
    """A path is a mechanism and its ticks."""
    assert parse_cycles(PRINTED) == {"design_b": 88.2, "int80": 10836.8}


@pytest.mark.parametrize(
    "printed",
    ["", "END\n", PRINTED.replace("END", ""), "PATH|design-b|x\nEND\n", "PATH|new|1\nEND\n"],
)
def test_what_it_should_not_print(printed: str) -> None:
    """A result that is cut, empty or unknown is no result."""
    with pytest.raises(CommandError, match="printed no result"):
        parse_cycles(printed)


def program(directory: Path, script: str) -> Path:
    path = directory / "cycles64"
    path.write_text(f"#!/bin/sh\n{script}\n")
    os.chmod(path, 0o755)
    return path


def test_where_it_cannot_run(tmp_path: Path) -> None:
    """A kernel that forbids LDT segments, and a host of another kind, say so."""
    refuses = program(tmp_path, "echo 'CANNOT|modify_ldt is not permitted here'; exit 77")
    with pytest.raises(CommandError, match="modify_ldt is not permitted here"):
        host_cycles(refuses)
    foreign = program(tmp_path, "")
    foreign.write_bytes(b"\x7fELF of another processor")
    with pytest.raises(CommandError, match="it is no x86-64 Linux"):
        host_cycles(foreign)
