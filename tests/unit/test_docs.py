"""The examples of the documentation do what it says that they do."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from klosdbg.__main__ import main
from klosdbg.commands import collect
from klosdbg.commands.base import split
from klosdbg.frontend import find_command
from klosdbg.options import build_parser

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "docs" / "guide.md"]
MAXIMUM_README = 250


def transcripts() -> Iterator[tuple[str, str]]:
    """Yield each ``$ klosdbg decode ...`` and the output that stands under it."""
    for page in PAGES:
        for block in re.findall(r"(?:^    .*\n)+", page.read_text(), re.MULTILINE):
            lines = [line[4:] for line in block.splitlines()]
            if lines[0].startswith("$ klosdbg decode"):
                yield from _commands(lines)


def _commands(lines: list[str]) -> Iterator[tuple[str, str]]:
    starts = [i for i, line in enumerate(lines) if line.startswith("$ ")]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        yield lines[start].removeprefix("$ klosdbg "), "\n".join(lines[start + 1 : end]) + "\n"


def klosdbg_lines() -> Iterator[str]:
    """Yield each command line that begins with ``klosdbg``, without what the shell adds."""
    for page in PAGES:
        for line in re.findall(r"^    (?:\$ |echo \w+ \| )?klosdbg (.*)$", page.read_text(), re.M):
            yield re.split(r" [|<] | \|$", line)[0]


@pytest.mark.parametrize(("line", "expected"), list(transcripts()))
def test_decode_examples(line: str, expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The output in the documentation is the output of klosdbg."""
    assert main(split(line)) == 0
    assert capsys.readouterr().out == expected


@pytest.mark.parametrize("line", sorted(set(klosdbg_lines())))
def test_command_lines_parse(line: str) -> None:
    """Every command line has options that klosdbg knows, and commands that it has."""
    words = split(line)
    if words[0] in ("decode", "doctor"):
        command, rest = find_command(words)
        assert command.parse(rest)
        return
    at = words.index("--") if "--" in words else len(words)
    args = build_parser().parse_args(words[:at])
    for wanted in vars(args).get("commands", ()):
        command, rest = find_command(split(wanted))
        assert command.parse(rest)


def test_the_guide_names_commands_that_exist() -> None:
    """What the guide's tables list in their first column can be typed."""
    guide = (ROOT / "docs" / "guide.md").read_text()
    rows = re.findall(r"^\| (`[a-z].*?`) \|", guide, re.M)
    typed = [line for row in rows for line in re.findall(r"`([^`]+)`", row)]
    known = [line for line in typed if line.split()[0] in collect()]
    assert len(known) > 20
    for line in known:
        command, rest = find_command(split(line))
        assert command.parse(rest)


def test_the_readme_stays_short() -> None:
    """It is read whole."""
    assert len((ROOT / "README.md").read_text().splitlines()) <= MAXIMUM_README
