"""Write the command reference, docs/commands.md, out of the declarations: ``make docs``."""

from collections.abc import Iterator

from klosdbg.commands import collect
from klosdbg.commands.base import Arg, Command
from klosdbg.commands.help import HEADINGS

_INTRODUCTION = """\
# Commands

Written by `make docs` from the declarations in `klosdbg/commands/`; do not edit.

Each command is the same in the shell, after `-c`, in a file for `-x` and on
standard input. All take `--json`, which prints one JSON document a line, and
`--help`. Those that read the guest take `--stop`: where a running guest cannot
be read, stop it, read, and resume it. What an ADDRESS may be, and the exit
codes, are in the [guide](guide.md).
"""


def reference() -> str:
    """Return the whole reference as Markdown."""
    commands = list(dict.fromkeys(collect().values()))
    parts = [_INTRODUCTION]
    for group, heading in HEADINGS.items():
        parts.append(f"## {heading}\n")
        parts += [_section(command) for command in commands if command.group == group]
    return "\n".join(parts)


def _section(command: Command) -> str:
    lines = [f"### {command.name}", "", _sentence(command.summary), ""]
    lines += [f"    {_usage(command)}", ""]
    lines += _arguments(command)
    lines.append(f"Example: `{command.example}`" + _also(command))
    return "\n".join([*lines, ""])


def _sentence(summary: str) -> str:
    return summary[0].upper() + summary[1:] + "."


def _usage(command: Command) -> str:
    stop = ["[--stop]"] if command.reads else []
    return " ".join([command.name, *map(_in_usage, command.args), *stop])


def _in_usage(arg: Arg) -> str:
    count = arg.options.get("nargs")
    if not arg.names[0].startswith("-"):
        shown = _value(arg)
        return {"?": f"[{shown}]", "*": f"[{shown} ...]", "+": f"{shown} ...", None: shown}[count]
    return f"[{arg.names[-1]} {_value(arg)}]" if _value(arg) else f"[{arg.names[-1]}]"


def _value(arg: Arg) -> str:
    if arg.options.get("action") == "store_true":
        return ""
    named: str | tuple[str, ...] | None = arg.options.get("metavar")
    if isinstance(named, tuple):
        return " ".join(named)
    return named or "|".join(map(str, arg.options.get("choices", ()))) or arg.names[0].upper()


def _arguments(command: Command) -> Iterator[str]:
    told = [arg for arg in command.args if arg.options.get("help")]
    for arg in told:
        option = arg.names[0].startswith("-")
        shown = " ".join(filter(None, (", ".join(arg.names), _value(arg)))) if option else ""
        yield f"- `{shown or _value(arg)}`: {arg.options['help']}"
    if told:
        yield ""


def _also(command: Command) -> str:
    return f". Also: {', '.join(f'`{name}`' for name in command.aliases)}" * bool(command.aliases)


if __name__ == "__main__":
    print(reference(), end="")
