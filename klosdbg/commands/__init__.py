"""Every command. A family is a module here; a new family needs one file and its name here."""

import importlib
from functools import cache

from klosdbg.commands.base import Command

FAMILIES = (
    "look",
    "memory",
    "klos",
    "events",
    "capture",
    "snapshots",
    "dsos",
    "attack",
    "run",
    "silicon",
    "reverse",
    "breakpoints",
    "write",
    "decode",
    "doctor",
    "bench",
    "gdb",
    "help",
)


@cache
def collect() -> dict[str, Command]:
    """Map every name and alias to its command; two commands of one name are a bug."""
    commands: dict[str, Command] = {}
    for family in FAMILIES:
        module = importlib.import_module(f"klosdbg.commands.{family}")
        for declared in vars(module).values():
            if isinstance(declared, Command):
                for name in (declared.name, *declared.aliases):
                    if name in commands:
                        raise AssertionError(f"two commands are called {name!r}")
                    commands[name] = declared
    return commands
