"""Names of the exception vectors (SDM volume 3, "Exception and Interrupt Vectors")."""

NAMES = {
    0: "#DE",
    1: "#DB",
    2: "NMI",
    3: "#BP",
    4: "#OF",
    5: "#BR",
    6: "#UD",
    7: "#NM",
    8: "#DF",
    9: "coprocessor overrun",
    10: "#TS",
    11: "#NP",
    12: "#SS",
    13: "#GP",
    14: "#PF",
    16: "#MF",
    17: "#AC",
    18: "#MC",
    19: "#XM",
    20: "#VE",
    21: "#CP",
}
PUSH_ERROR_CODE = frozenset({8, 10, 11, 12, 13, 14, 17, 21})
"""The vectors that push an error code; #DF and #AC push zero."""


def vector_name(vector: int) -> str | None:
    """Name an exception vector; None for interrupts and reserved vectors."""
    return NAMES.get(vector)


def parse_vector(word: str) -> int | None:
    """Read a vector as people write it: ``14``, ``0xe``, ``0eh``, ``#PF``, ``PF``."""
    wanted = "#" + word.upper().lstrip("#")
    found = (vector for vector, name in NAMES.items() if name in (wanted, word.upper()))
    vector = next(found, None)
    if vector is not None:
        return vector
    try:
        number = int(word[:-1], 16) if word[-1:] in ("h", "H") else int(word, 0)
    except ValueError:
        return None
    return number if 0 <= number <= 255 else None
