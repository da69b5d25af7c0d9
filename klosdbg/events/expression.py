"""A small, safe expression language over events: ``vector == 11 and process == "attacker"``.

Python's grammar, an allow-list of its nodes, and an interpreter of our own with a budget: nothing
that is written here can call, import, change or run on without end. Addresses and other numbers are
integers; what is not known is None, and an order comparison with None is false.
"""

import ast
import difflib
import operator
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from klosdbg.errors import UsageError
from klosdbg.events.event import Event
from klosdbg.events.members import EVENT_NAMES, check_members, kind_of, member, shown

_LONGEST = 1000
_DEEPEST = 40
_BUDGET = 1_000_000
_WIDEST = 256
_QUOTED = re.compile("\"[^\"]*\"|'[^']*'")
_ASSIGNS = re.compile(r"(?<![=!<>])=(?!=)")

_COMPARE: Mapping[type, Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_BINARY: Mapping[type, Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
    ast.Mod: operator.mod,
    ast.FloorDiv: operator.floordiv,
}
_CALLS = ("len", "any", "all", "sum", "min", "max")


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed expression; ``text`` is as it was written."""

    text: str
    _tree: ast.expr = field(repr=False)

    @property
    def names(self) -> frozenset[str]:
        """The names that it is about."""
        return frozenset(node.id for node in ast.walk(self._tree) if isinstance(node, ast.Name))

    def value(self, names: Mapping[str, object]) -> object:
        """Evaluate over these names, or raise ``UsageError`` where the types do not fit."""
        return _Evaluation(self.text, names).of(self._tree)

    def holds(self, event: Event) -> bool:
        """Tell whether it holds for one event, whose fields are its names."""
        return bool(self.value(_EventNames(event)))


class _EventNames(Mapping[str, object]):
    """The fields of an event as names, looked up when they are used."""

    def __init__(self, event: Event) -> None:
        self._event = event

    def __getitem__(self, name: str) -> object:
        if name not in EVENT_NAMES:
            raise KeyError(name)
        return getattr(self._event, name)

    def __iter__(self) -> Any:
        return iter(EVENT_NAMES)

    def __len__(self) -> int:
        return len(EVENT_NAMES)


def parse_expression(text: str, names: Iterable[str] = EVENT_NAMES) -> Expression:
    """Parse an expression over ``names``; ``UsageError`` for anything that is not allowed.

    One that is all in quotes is what they hold.
    """
    if len(text) > _LONGEST:
        raise UsageError(f"the expression has {len(text)} characters; {_LONGEST} are the most")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:
        why = (error.msg or "it is no expression").lower()
        assigns = _ASSIGNS.search(_QUOTED.sub("", text))
        hint = "compare with '=='" if assigns else "write vector == 11 and cpl == 3"
        raise UsageError(f"{shown(text)}: {why}: {hint}") from None
    except (ValueError, RecursionError, MemoryError, OverflowError):
        raise UsageError(f"{shown(text)} cannot be parsed: write vector == 11") from None
    if isinstance(tree, ast.Constant) and isinstance(tree.value, str):
        return parse_expression(tree.value, names)
    _check(tree, text, set(names))
    return Expression(text, tree)


def _check(tree: ast.expr, text: str, names: set[str]) -> None:
    loops = [node for node in ast.walk(tree) if isinstance(node, ast.comprehension)]
    local = {loop.target.id for loop in loops if isinstance(loop.target, ast.Name)}
    ahead: list[tuple[ast.AST, int]] = [(tree, 0)]
    while ahead:
        node, depth = ahead.pop()
        if depth > _DEEPEST:
            raise UsageError(f"{shown(text)} is nested too deeply: simplify it")
        _check_node(node, text, names | local)
        ahead += [(child, depth + 1) for child in _children(node)]
    check_members(tree, text, local)


def _children(node: ast.AST) -> Iterable[ast.AST]:
    skipped = (ast.expr_context, ast.operator, ast.cmpop, ast.boolop, ast.unaryop)
    if isinstance(node, ast.Call):
        return [*node.args, *node.keywords]
    return [child for child in ast.iter_child_nodes(node) if not isinstance(child, skipped)]


def _check_node(node: ast.AST, text: str, names: set[str]) -> None:
    if isinstance(node, ast.Name):
        _check_name(node.id, text, names)
    elif isinstance(node, ast.Call):
        if not isinstance(node.func, ast.Name) or node.func.id not in _CALLS or node.keywords:
            raise UsageError(f"{shown(text)}: only {', '.join(_CALLS)} can be called")
    elif isinstance(node, ast.Attribute):
        if node.attr.startswith("_"):
            raise UsageError(f"{shown(text)}: there is no {node.attr!r}")
    elif isinstance(node, ast.Constant):
        if node.value is not None and not isinstance(node.value, bool | int | str):
            raise UsageError(f"{shown(text)}: {node.value!r} is no number and no text")
    elif isinstance(node, ast.BinOp):
        _require(type(node.op) in _BINARY, node.op, text)
    elif isinstance(node, ast.UnaryOp):
        _require(isinstance(node.op, ast.Not | ast.USub | ast.Invert), node.op, text)
    elif isinstance(node, ast.comprehension):
        _require(isinstance(node.target, ast.Name) and not node.is_async, node, text)
    else:
        _require(isinstance(node, _PLAIN), node, text)


_PLAIN = (
    ast.BoolOp,
    ast.Compare,
    ast.Subscript,
    ast.Slice,
    ast.Tuple,
    ast.List,
    ast.IfExp,
    ast.GeneratorExp,
    ast.ListComp,
)


def _check_name(name: str, text: str, names: set[str]) -> None:
    if name not in names:
        close = difflib.get_close_matches(name, names, 2)
        hint = f"did you mean {' or '.join(close)}?" if close else f"write {name!r} if it is text"
        raise UsageError(f"{shown(text)}: no name {name}: {hint}")


def _require(allowed: bool, node: ast.AST, text: str) -> None:
    if not allowed:
        raise UsageError(f"{shown(text)}: {type(node).__name__} is not allowed here")


class _Evaluation:
    """One evaluation, with what is left of its budget."""

    def __init__(self, text: str, names: Mapping[str, object]) -> None:
        self._text = text
        self._names = dict(names) if not isinstance(names, _EventNames) else names
        self._local: dict[str, object] = {}
        self._left = _BUDGET

    def of(self, node: ast.expr) -> Any:
        """Evaluate a node."""
        self._charge(1)
        return getattr(self, f"_{type(node).__name__.lower()}")(node)

    def _charge(self, steps: int) -> None:
        self._left -= steps
        if self._left < 0:
            raise self._error("takes too long")

    def _error(self, why: str) -> UsageError:
        return UsageError(f"{shown(self._text)} {why}")

    def _constant(self, node: ast.Constant) -> Any:
        return node.value

    def _name(self, node: ast.Name) -> Any:
        if node.id in self._local:
            return self._local[node.id]
        try:
            return self._names[node.id]
        except KeyError:
            raise self._error(f"uses {node.id} outside its loop") from None

    def _attribute(self, node: ast.Attribute) -> Any:
        owner = self.of(node.value)
        return None if owner is None else member(owner, node.attr, self._text)

    def _boolop(self, node: ast.BoolOp) -> Any:
        wanted = isinstance(node.op, ast.Or)
        value: Any = not wanted
        for part in node.values:
            value = self.of(part)
            if bool(value) == wanted:
                break
        return value

    def _unaryop(self, node: ast.UnaryOp) -> Any:
        value = self.of(node.operand)
        if isinstance(node.op, ast.Not):
            return not value
        number = self._integer(value)
        return -number if isinstance(node.op, ast.USub) else ~number

    def _binop(self, node: ast.BinOp) -> Any:
        left, right = self._integer(self.of(node.left)), self._integer(self.of(node.right))
        if isinstance(node.op, ast.LShift | ast.RShift) and not 0 <= right <= _WIDEST:
            raise self._error("shifts too far")
        try:
            value = _BINARY[type(node.op)](left, right)
        except ZeroDivisionError:
            raise self._error("divides by zero") from None
        return self._integer(value)

    def _integer(self, value: object) -> int:
        if not isinstance(value, int):
            raise self._error(f"calculates with {_kind(value)}: numbers are wanted")
        if value.bit_length() > 2 * _WIDEST:
            raise self._error("makes too large a number")
        return value

    def _compare(self, node: ast.Compare) -> bool:
        left = self.of(node.left)
        for op, part in zip(node.ops, node.comparators, strict=True):
            right = self.of(part)
            if not self._one(op, left, right):
                return False
            left = right
        return True

    def _one(self, op: ast.cmpop, left: Any, right: Any) -> bool:
        if isinstance(op, ast.Eq | ast.Is):
            return bool(left == right)
        if isinstance(op, ast.NotEq | ast.IsNot):
            return bool(left != right)
        if isinstance(op, ast.In | ast.NotIn):
            return self._within(left, right) == isinstance(op, ast.In)
        if left is None or right is None:
            return False
        if not (_both(int, left, right) or _both(str, left, right)):
            raise self._error(f"compares {_kind(left)} with {_kind(right)}")
        return _COMPARE[type(op)](left, right)

    def _within(self, left: Any, right: Any) -> bool:
        if right is None or (isinstance(right, str) and left is None):
            return False
        if isinstance(right, str) and not isinstance(left, str):
            raise self._error(f"looks for {_kind(left)} in text")
        if not isinstance(right, str | tuple | list):
            raise self._error(f"looks into {_kind(right)}: a list or text is wanted")
        self._charge(len(right))
        return left in right

    def _subscript(self, node: ast.Subscript) -> Any:
        owner = self.of(node.value)
        if not isinstance(owner, tuple | list | str):
            raise self._error(f"takes an item of {_kind(owner)}")
        self._charge(len(owner) if isinstance(node.slice, ast.Slice) else 1)
        try:
            return owner[self._slice(node.slice)]
        except IndexError:
            raise self._error(f"has no such item: there are {len(owner)}") from None

    def _slice(self, node: ast.expr) -> Any:
        if not isinstance(node, ast.Slice):
            return self._integer(self.of(node))
        first, last, step = map(self._end, (node.lower, node.upper, node.step))
        if step == 0:
            raise self._error("has a step of 0")
        return slice(first, last, step)

    def _end(self, node: ast.expr | None) -> int | None:
        return None if node is None else self._integer(self.of(node))

    def _tuple(self, node: ast.Tuple) -> Any:
        return tuple(self.of(part) for part in node.elts)

    def _list(self, node: ast.List) -> Any:
        return tuple(self.of(part) for part in node.elts)

    def _ifexp(self, node: ast.IfExp) -> Any:
        return self.of(node.body if self.of(node.test) else node.orelse)

    def _generatorexp(self, node: ast.GeneratorExp) -> Any:
        return tuple(self._loop(node.elt, node.generators))

    def _listcomp(self, node: ast.ListComp) -> Any:
        return tuple(self._loop(node.elt, node.generators))

    def _loop(self, element: ast.expr, loops: Sequence[ast.comprehension]) -> Iterable[Any]:
        if not loops:
            yield self.of(element)
            return
        first, *rest = loops
        items = self.of(first.iter)
        if not isinstance(items, tuple | list):
            raise self._error(f"runs over {_kind(items)}: a list is wanted")
        assert isinstance(first.target, ast.Name)
        for item in items:
            self._local[first.target.id] = item
            if all(self.of(test) for test in first.ifs):
                yield from self._loop(element, rest)

    def _call(self, node: ast.Call) -> Any:
        assert isinstance(node.func, ast.Name)
        if len(node.args) != 1:
            raise self._error(f"gives {node.func.id} other than one list")
        values = self.of(node.args[0])
        if not isinstance(values, tuple | list | (str if node.func.id == "len" else tuple)):
            raise self._error(f"gives {node.func.id} {_kind(values)}: a list is wanted")
        if node.func.id == "len":
            return len(values)
        self._charge(len(values))
        if node.func.id in ("any", "all"):
            return any(values) if node.func.id == "any" else all(values)
        numbers = [self._integer(value) for value in values if value is not None]
        if node.func.id == "sum":
            return self._integer(sum(numbers))
        return (min if node.func.id == "min" else max)(numbers, default=None)


def _both(kind: type, left: object, right: object) -> bool:
    return isinstance(left, kind) and isinstance(right, kind)


def _kind(value: object) -> str:
    return kind_of(type(value))
