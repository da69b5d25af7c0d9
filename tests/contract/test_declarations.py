"""What every declaration of a command promises, and that docs/commands.md is what they say."""

from pathlib import Path

import pytest
from klosdbg.commands import collect
from klosdbg.commands.base import Command, split
from klosdbg.commands.help import HEADINGS
from klosdbg.frontend import find_command
from scripts.reference import reference

ROOT = Path(__file__).parents[2]
COMMANDS = list(dict.fromkeys(collect().values()))
WIDTH = 80

# A new command belongs into exactly one of these, or it declares that it reads.
WRITES = {"set", "silicon", "mailbox", "selftest", "attack", "bench-services", "dsos trigger"}
RUNS = {"rs", "rc", "c", "s", "n", "until", "finish", "interrupt", "reset", "detach", "dsos watch"}
RUNS |= {"gdb"}
TOUCHES_NO_GUEST = {"quit", "help", "decode", "doctor", "sym", "console", "b", "del", "info b"}
TOUCHES_NO_GUEST |= {"echo", "snaps", "at", "expect", "export", "bench"}
TOUCHES_NO_GUEST |= {"capture start", "capture note", "capture stop", "capture info"}
RUNS |= {"events record", "events follow", "events start", "events stop"}
TOUCHES_NO_GUEST |= {"events show", "events stats", "b event"}

every_command = pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c.name)


@every_command
def test_a_declaration_is_whole(command: Command) -> None:
    """A name that one can type, one line of summary, a heading in ``help``."""
    assert all(
        name == name.strip().lower() and len(name.split()) <= 2
        for name in (command.name, *command.aliases)
    )
    assert command.summary == command.summary.strip().rstrip(".")
    assert command.summary[:1].islower() or command.summary.split()[0].isupper()
    assert command.group in HEADINGS
    assert all(arg.options.get("help") or arg.options.get("choices") for arg in command.args)


@every_command
def test_the_example_parses(command: Command) -> None:
    """The example of a command is one of that command."""
    found, rest = find_command(split(command.example, command.keeps_quotes))
    assert found is command
    assert found.parse(rest) is not None


@every_command
def test_help_fits(command: Command) -> None:
    """Help ends in the example and fits a terminal of 80 columns."""
    shown = command.help().splitlines()
    assert shown[-1] == f"example: {command.example}"
    assert max(map(len, shown)) <= WIDTH
    assert command.parse(["--help"]) is None


def test_what_a_command_does_to_the_guest_is_declared() -> None:
    """Reading commands have ``--stop``; the others are known to write, to run or to do neither."""
    reads = {command.name for command in COMMANDS if command.reads}
    assert reads | WRITES | RUNS | TOUCHES_NO_GUEST == {command.name for command in COMMANDS}
    assert not reads & (WRITES | RUNS | TOUCHES_NO_GUEST)
    assert all(("--stop" in command.options) == command.reads for command in COMMANDS)


@pytest.mark.parametrize("name", sorted(WRITES))
def test_writing_commands_say_so(name: str) -> None:
    """Their help says that they write to the guest."""
    shown = " ".join(collect()[name].help().split())
    assert (
        "this changes the guest" in shown
        or "this writes to the guest" in shown
        or ("which writes to it" in shown)
    )


def test_every_command_takes_json() -> None:
    """JSON is to be had from each."""
    assert all({"--json", "--help"} <= set(command.options) for command in COMMANDS)


def test_the_reference_is_current() -> None:
    """docs/commands.md is what the declarations say: run ``make docs``."""
    assert (ROOT / "docs" / "commands.md").read_text() == reference()
