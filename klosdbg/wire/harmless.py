"""Text of strangers made harmless where it is read: no escape sequence reaches a terminal."""

from typing import Any


def harmless(text: str) -> str:
    """Replace by U+FFFD what is not printable: it could upset a terminal, or forge a line."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "\ufffd" for c in text)


def harmless_json(plain: Any) -> Any:
    """Make every string of a decoded JSON or YAML document harmless, names included."""
    if isinstance(plain, str):
        return harmless(plain)
    if isinstance(plain, list):
        return [harmless_json(part) for part in plain]
    if isinstance(plain, dict):
        return {harmless_json(name): harmless_json(value) for name, value in plain.items()}
    return plain
