"""Data lines of NASM, MASM and GAS (``dd 0x0000ffff``, ``.quad 0``) to the bytes they lay down."""

import re
from collections.abc import Iterator, Sequence

from klosdbg.errors import UsageError

_SIZES = {
    "db": 1, "dw": 2, "dd": 4, "dq": 8, "do": 16,
    "byte": 1, "word": 2, "dword": 4, "qword": 8,
    ".byte": 1, ".word": 2, ".short": 2, ".hword": 2, ".value": 2, ".2byte": 2,
    ".long": 4, ".int": 4, ".4byte": 4, ".quad": 8, ".8byte": 8, ".octa": 16,
}  # fmt: skip
_ALSO_HEXADECIMAL = ("db", "dd")
_NAMES = "|".join(map(re.escape, sorted(_SIZES, key=len, reverse=True)))
_DIRECTIVE = re.compile(rf"(?<![\w.])(?:times\s+(\S+)\s+)?({_NAMES})(?=\s)", re.IGNORECASE)
_LABELS = re.compile(r"(?:\s*[\w.$@?]+:)*\s*")
_BARE_LABEL = re.compile(r"(?![0-9a-fA-F]+\s)[\w.$@?]+\s+")
_NEXT_LABEL = re.compile(r"\s+[\w.$@?]+:\s*$")
_OPERAND = re.compile(r"[0-9$-]")
_BYTES = re.compile(r"[0-9a-fA-F]{2}(?:\s+[0-9a-fA-F]{2},?)*\s*")
_SILENT = re.compile(
    r"\.?(?:section|segment|text|data|rodata|globa?l|extern|(?:p2|b)?align|bits|code\d\d|type|size)"
    r"\b|.*(?:\bequ\b|=)",
    re.IGNORECASE,
)
_NUMBERS = (
    (re.compile(r"(?:0[xh]|\$)([0-9a-f]+)"), 16),
    (re.compile(r"([0-9][0-9a-f]*)h"), 16),
    (re.compile(r"0[by]([01]+)"), 2),
    (re.compile(r"([01]+)[by]"), 2),
    (re.compile(r"0[oq]([0-7]+)|([0-7]+)[oq]"), 8),
    (re.compile(r"0[dt]([0-9]+)|([0-9]+)[dt]?"), 10),
)
_LONGEST_NUMBER = 140
_OCTAL = re.compile(r"0[0-7]+")


def short(token: str) -> str:
    """Cut a token to what an error has room for."""
    return token if len(token) <= 24 else f"{token[:20]}..."


def are_data_lines(lines: Sequence[str]) -> bool:
    """Tell assembler's data from hexadecimal text, of which ``db`` and ``dd`` may be bytes."""
    return any(map(_begins_with_directive, lines))


def _begins_with_directive(line: str) -> bool:
    found = _DIRECTIVE.search(line)
    if found is None or not _are_labels(line[: found.start()]):
        return False
    given = line[found.end() :].strip()
    doubtful = found[2].lower() in _ALSO_HEXADECIMAL and found[1] is None
    return _OPERAND.match(given) is not None and not (doubtful and _BYTES.fullmatch(given))


def lay_down(lines: Sequence[str]) -> Iterator[bytes]:
    """Yield the bytes of each operand, repeated as ``times`` says.

    Raise ``UsageError`` for what is no data, no number, or does not fit.
    """
    for line in lines:
        first = _DIRECTIVE.search(line)
        dotted = first is not None and first[2].startswith(".")
        statement = re.split("#|//" if dotted else ";|//", line)[0]
        for part in statement.split(";"):
            yield from _statements(part, dotted)


def _statements(text: str, dotted: bool) -> Iterator[bytes]:
    directives = [*_DIRECTIVE.finditer(text)]
    before = text[: directives[0].start()] if directives else text
    if not _are_labels(before) and not _SILENT.match(_LABELS.sub("", before, 1)):
        what = short(before.strip())
        raise UsageError(f"{what!r} is no data line: cut out db, dw, dd, .long, ...")
    ends = [found.start() for found in directives[1:]] + [len(text)] * bool(directives)
    for found, end in zip(directives, ends, strict=True):
        operands = _NEXT_LABEL.sub("", text[found.end() : end]).split(",")
        size = _SIZES[found[2].lower()]
        raw = b"".join(_laid(word.strip(), size, found[2], dotted) for word in operands)
        for _ in range(1 if found[1] is None else _number(found[1], dotted)):
            yield raw


def _are_labels(text: str) -> bool:
    rest = _LABELS.sub("", text, 1)
    return not rest or _BARE_LABEL.fullmatch(rest) is not None


def _laid(word: str, size: int, directive: str, dotted: bool) -> bytes:
    number = _number(word, dotted)
    if not -(1 << 8 * size - 1) <= number < 1 << 8 * size:
        raise UsageError(f"{short(word)!r} is too wide: {directive} has {size} bytes")
    return (number & (1 << 8 * size) - 1).to_bytes(size, "little")


def _number(word: str, dotted: bool) -> int:
    negative = word.startswith("-")
    digits = word.removeprefix("-").replace("_", "").lower()
    if dotted and _OCTAL.fullmatch(digits):
        digits = f"0o{digits}"
    for pattern, base in _NUMBERS:
        found = pattern.fullmatch(digits)
        if found and len(digits) < _LONGEST_NUMBER:
            value = int(next(filter(None, found.groups())), base)
            return -value if negative else value
    raise UsageError(f"{short(word)!r} is no number: give it as 0x10, 10h, 16 or 10000b")
