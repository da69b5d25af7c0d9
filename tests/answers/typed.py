"""Answers to cases through ``klosdbg decode``, as a user would type it."""

import io
import json
import tempfile
from pathlib import Path

from klosdbg.commands.base import split
from klosdbg.frontend import Frontend
from klosdbg.session import Session

from tests.answers.facts import Answer, Facts


def printed(line: str, file: str = "") -> str:
    """Run a ``decode`` line, whose ``FILE`` holds ``file``, and check that its text fits."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "pasted"
        path.write_text(file)
        words = [str(path) if word == "FILE" else word for word in split(f"decode {line}")]
        out = io.StringIO()
        Frontend(Session(), out).run_words(words)
    shown = out.getvalue()
    assert "--json" in words or max(map(len, shown.splitlines())) <= 80
    return shown


def typed(line: str, file: str = "") -> list[Facts]:
    """Run a ``decode`` line and return its documents."""
    assert printed(line, file).startswith("read as ")
    return [json.loads(row) for row in printed(f"{line} --json", file).splitlines()]


def assembler_source(case: Facts) -> Facts:
    (source,) = typed("gdt -f FILE", case["nasm"])
    (words,) = typed(f"gdt {case['words']}")
    assert source["entries"] == words["entries"]
    return {
        "slots": [
            {"kind": entry["kind"]}
            | {
                name: entry[name]
                for name in ("base", "limit", "last_byte", "dpl", "db", "readable", "writable")
                if name in entry
            }
            for entry in source["entries"]
        ]
    }


ANSWERS: dict[str, Answer] = {
    "220": assembler_source,
}
