"""Expressions over events: what they say, and that nothing else can be said in them."""

import string
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from klosdbg.errors import KlosdbgError, UsageError
from klosdbg.events.expression import EVENT_NAMES, parse_expression
from tests.unit.test_event_model import BARE, EVENT

ATTACK = replace(EVENT, vector=11, error_code=0x173 << 3 | 4, process="attacker")
NAMES = {name: getattr(ATTACK, name) for name in EVENT_NAMES} | {"events": (EVENT, BARE, ATTACK)}


@pytest.mark.parametrize(
    "text",
    [
        'error.index == 0x173 and process == "attacker"',
        "vector in (11, 13)",
        "vector not in [1, 3] and not depth > 1",
        "error.table == 'ldt' or False",
        "source.eip & 0xfff == 0 and source.cpl == cpl == 3",
        "resumed.place.eip == source.eip",
        "out.to_cpl - out.from_cpl == 3",
        "'ttack' in process and name == '#NP'",
        "cr2 is None and not cr2 == 0",
        "-1 < vector << 1 <= 22",
        "(1 if complete else 0) == 1",
        "process[0] == 'a' and process[:3] == 'att'",
    ],
)
def test_what_holds(text: str) -> None:
    assert parse_expression(text).holds(ATTACK)


@pytest.mark.parametrize("text", ["cr2 > 0", "error.index < 3", "error.p == 1", "handler == 0"])
def test_what_is_not_known_is_in_no_order(text: str) -> None:
    assert not parse_expression(text).holds(BARE)


@pytest.mark.parametrize(
    "text",
    [
        "events[-1].vector == 11",
        "len(events) == 3",
        "any(e.vector == 32 for e in events)",
        "len([e for e in events if e.error.index == 14]) == 1",
        "max(e.vector for e in events) == 32",
        "sum(e.vector for e in events[:2]) == 45",
        "all(e.depth == 1 for e in events)",
    ],
)
def test_over_a_recording(text: str) -> None:
    assert parse_expression(text, NAMES).value(NAMES) is True


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("vektor == 1", "did you mean vector"),
        ("process == attacker", "if it is text"),
        ("__import__('os')", "can be called"),
        ("process.upper()", "can be called"),
        ("error.__class__", "no '__class__'"),
        ("source.eid", "did you mean eip"),
        ("vector.real", "a number has no 'real'"),
        ("vector < 'a'", "compares a number with text"),
        ("9 ** 9", "not allowed"),
        ("1 << 5000", "shifts too far"),
        ("(1 << 256) * (1 << 256) * (1 << 256)", "too large"),
        ("vector / 0", "not allowed"),
        ("vector // 0", "divides by zero"),
        ("lambda: 1", "not allowed"),
        ("(x := 1)", "not allowed"),
        ("f'{vector}'", "not allowed"),
        ("events[7]", "no such item"),
        ("1.5", "no number"),
        ("", "invalid syntax"),
        ("vector ==", "invalid syntax"),
        ("(" * 500, "parentheses"),
        ("-" * 900 + "1", "nested too deeply|cannot be parsed"),
        ("1" * 5000, "characters"),
        ("[" * 60 + "1" + "]" * 60, "nested too deeply"),
        ("x\0", "null bytes|cannot be parsed"),
    ],
)
def test_what_is_refused(text: str, why: str) -> None:
    with pytest.raises(UsageError, match=why) as caught:
        parse_expression(text, NAMES).value(NAMES)
    assert "\n" not in str(caught.value)


def test_no_expression_runs_for_long() -> None:
    rows = "for a in events for b in events for c in events for d in events"
    names = {"events": (EVENT,) * 100}
    with pytest.raises(UsageError, match="takes too long"):
        parse_expression(f"len([a {rows}])", names).value(names)
    with pytest.raises(UsageError, match="takes too long"):
        parse_expression("[events[:] for a in events]", names).value({"events": (EVENT,) * 5000})


WORDS = [*sorted(NAMES), "e", "for", "in", "if", "else", "and", "or", "not", "is", "lambda", "None"]
WORDS += ["==", "<", "&", "<<", "*", "**", "%", "[", "]", "(", ")", ".", ",", ":", "0x173", "-1"]
WORDS += ["'a'", "b'a'", "1e9", "len", "any", "sum", "__class__", "index", "eip", "real", "..."]


@settings(deadline=None, max_examples=1000)
@given(st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join) | st.text(string.printable))
def test_hostile_input_only_raises_our_errors(text: str) -> None:
    message = ""
    try:
        parse_expression(text, NAMES).value(NAMES)
    except KlosdbgError as error:
        message = str(error)
    assert "\n" not in message
