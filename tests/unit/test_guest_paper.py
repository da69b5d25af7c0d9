"""The guest's comments lead to the right section of the paper, and to what exists."""

import re
from collections.abc import Iterator
from pathlib import Path

GUEST = Path(__file__).parents[2] / "guest"
FILES = sorted(p for p in GUEST.rglob("*.*") if "build" not in p.relative_to(GUEST).parts)
SOURCES = [p for p in FILES if p.suffix in {".c", ".S", ".h", ".def", ".ld"}]

SECTIONS = ["1", "2", "2.1", "2.2", "2.3", "2.3.1", "2.3.2", "2.3.3", "2.4", "3", "4", "5", "6"]
"""The paper's own numbering."""

NUMBERS = r"\d+(?:\.\d+)*(?:, \d+(?:\.\d+)*)*"
GENERATED = {"bare_0", "bare_1", "do_NAME", "service_NAME", "EventN_Ring0Stub"}
"""Names that macros put together."""


def name(path: Path) -> str:
    return path.relative_to(GUEST).as_posix()


def comments(path: Path) -> list[str]:
    """Return each comment of a file, as one line."""
    found = re.findall(r"/\*(.*?)\*/", path.read_text(), re.DOTALL)
    return [re.sub(r"\s*\n \*", "", text) for text in found]


def cited(text: str) -> set[str]:
    """Return the sections of the paper that a comment cites: ``paper, 2.1, 2.3.2``."""
    return {
        section
        for found in re.findall(f"paper, ({NUMBERS})", text)
        for section in found.split(", ")
    }


def table() -> dict[str, set[str]]:
    """Return the README's table, from section to files."""
    rows = re.findall(r"^\| ([\d.]+) \|.*\| (.*) \|$", (GUEST / "README.md").read_text(), re.M)
    assert len(rows) == len(dict(rows))
    return {section: set(re.findall(r"`(.+?)`", files)) for section, files in rows}


def test_the_table_is_what_the_files_cite() -> None:
    headers = {name(path): cited(comments(path)[0]) for path in SOURCES if comments(path)}
    sections = set().union(*headers.values())
    assert sections <= set(SECTIONS)
    assert table() == {
        section: {path for path, cites in headers.items() if section in cites}
        for section in sections
    }


def test_a_file_cites_what_its_header_cites() -> None:
    """A reader of the header alone misses no section."""
    for path in SOURCES:
        header, *others = comments(path) or [""]
        assert cited(" ".join(others)) <= cited(header), name(path)


def test_every_section_says_whose_it_is() -> None:
    for path in SOURCES:
        text = re.sub(rf"(?:paper|SDM Vol\. \d[A-D]), {NUMBERS}", "", " ".join(comments(path)))
        assert not re.search(r"\b\d\.\d", text), name(path)


def named(pattern: str) -> Iterator[tuple[Path, str]]:
    for path in SOURCES:
        for text in comments(path):
            yield from ((path, word) for word in re.findall(pattern, text))


def test_files_that_comments_name_exist() -> None:
    for path, word in named(r"[\w*][\w./*-]*\.(?:c|S|h|def|ld|md)\b"):
        assert any(file.match(word) for file in FILES), f"{name(path)}: {word}"


def test_names_in_comments_exist() -> None:
    """Functions, macros and fields: whatever has an underscore. ``KLOS_WAIT_*`` is a family."""
    texts = [re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL) for path in SOURCES]
    known = set(re.findall(r"\w+", " ".join(texts))) | GENERATED
    for path, word in named(r"\b(?!IA32_|\S*\.[chS]\b)[A-Za-z]\w*_\w*"):
        family = word.endswith("_") and any(other.startswith(word) for other in known)
        assert word in known or family, f"{name(path)}: {word}"
