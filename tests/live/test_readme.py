"""The session that README.md shows is one that can be had."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from klosdbg.shell import prompt_text
from tests.live.driver import KLOS, driving, needs_klos
from tests.live.tiny import needs_qemu

pytestmark = [pytest.mark.qemu, needs_qemu, needs_klos]
README = Path(__file__).parents[2] / "README.md"
_PROMPT = re.compile(r"(\(klosdbg [^)]*\)) (.*)")
# Where things lie, what a function begins with and how that is encoded is the affair of who builds
# the image, and one flag that of QEMU.
_OF_THE_BUILD = re.compile(
    r"(?m)^  0x[0-9a-f]{8}  [0-9a-f]{2} .*$|\b(?:0x)?[0-9a-f]{8}\b|build [0-9a-f]+"
    r"|sysenter(?: wbinvd-refused)?;| {2,}"
)


def session() -> Iterator[tuple[str, str, list[str]]]:
    """Yield each prompt, the line typed there, and what stands under it."""
    blocks = re.findall(r"(?:^    .*\n|^\n)+", README.read_text(), re.MULTILINE)
    (block,) = (block for block in blocks if "(klosdbg ring0" in block)
    rows = [line[4:] for line in block.rstrip().splitlines()]
    starts = [n for n, row in enumerate(rows) if _PROMPT.match(row)]
    for start, end in zip(starts, [*starts[1:], len(rows)], strict=True):
        found = _PROMPT.match(rows[start])
        assert found
        yield found[1], found[2], rows[start + 1 : end]


def pattern(rows: list[str]) -> str:
    """Match these lines; ``...`` stands for any number of them."""
    parts = (r"(?:.*\n)*?" if row == "..." else re.escape(plain(row)) + r"\n" for row in rows)
    return "".join(parts)


def plain(shown: str) -> str:
    return _OF_THE_BUILD.sub(" ", shown)


def test_the_session_of_the_readme() -> None:
    """Prompts, commands and output; its clock is its instructions, so that it goes one way."""
    with driving(KLOS, "-icount", "shift=0,sleep=off", append="seed=7") as driver:
        driver.line("until _start")
        for prompt, line, rows in session():
            shown = "".join(word for _, word in prompt_text(driver.session, 100)).strip()
            assert plain(shown) == plain(prompt)
            printed = plain(driver.line(line))
            assert re.fullmatch(pattern(rows), printed), f"{line}:\n{printed}"
