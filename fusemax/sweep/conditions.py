"""Conditions of a sweep's filters: their text, their tree, and their truth for many points at once.

The grammar is in ``conditions.lark``. ``or`` binds weakest, then ``and``, ``not``, comparisons (which chain, as in
``64 <= array_2d.rows <= 512``), sums, products, signs and powers. Numbers may end in K, KiB, kB and so on. A comparison
with a value that a point does not have (a cost of a point without one) is false, and so is its denial.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from math import isfinite
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from lark import Lark, Token, Transformer, UnexpectedInput

from einsum_cascades.errors import InputError, Location, unknown
from einsum_cascades.sizes import SUFFIXES

Kind = Literal["number", "text", "truth"]
Place = Callable[[int, int], Location]
Array: TypeAlias = npt.NDArray[Any]

MAX_LENGTH: Final = 2000
MAX_DEPTH: Final = 60
MAX_OPERATORS: Final = 100
AREA_OF: Final = "area_of"
"""The function that gives the chip area, in mm², of a machine named."""

_STRING: Final = re.compile(r"'[^'\n]*'|\"[^\"\n]*\"")
_NESTING_OPERATOR: Final = re.compile(r"\*\*|//|[-+*/%]|\bnot\b")
_SUFFIX: Final = re.compile(r"[A-DF-Za-df-z][A-Za-z]*$")
_FUNCTIONS: Final[dict[str, tuple[int | None, Callable[..., Array]]]] = {
    "abs": (1, np.abs),
    "ceil": (1, np.ceil),
    "floor": (1, np.floor),
    "log2": (1, np.log2),
    "sqrt": (1, np.sqrt),
    "max": (None, lambda *xs: np.maximum.reduce(np.broadcast_arrays(*xs))),
    "min": (None, lambda *xs: np.minimum.reduce(np.broadcast_arrays(*xs))),
}
_OPERATORS: Final[dict[str, Callable[[Any, Any], Array]]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "//": np.floor_divide,
    "%": np.mod,
    "**": np.power,
}
_RELATIONS: Final[dict[str, Callable[[Any, Any], Array]]] = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
    "==": np.equal,
    "!=": np.not_equal,
}


@dataclass(frozen=True)
class Names:
    """A column of names: ``values[codes[i]]`` is the name of point i."""

    codes: Array
    values: tuple[str, ...]

    def take(self, where: Array) -> Names:
        """Return the names of the points chosen."""
        return Names(self.codes[where], self.values)


Column: TypeAlias = "Array | Names"
Lookup = Callable[[str], "Column | float | int | str"]


@dataclass(frozen=True)
class Condition:
    """A node of a condition's tree.

    Attributes:
        form: ``number``, ``text``, ``truth``, ``name``, ``call``, ``group`` or an operator's symbol.
        value: the number, text, or name.
        parts: the operands.
        span: where it starts in the text, and how long its first part is.
    """

    form: str
    value: float | int | str | bool | None = None
    parts: tuple[Condition, ...] = ()
    span: tuple[int, int] = field(default=(0, 1), compare=False)

    def __str__(self) -> str:
        inner = [str(p) for p in self.parts]
        match self.form:
            case "text":
                return f"'{self.value}'" if "'" not in str(self.value) else f'"{self.value}"'
            case "number" | "name" | "truth":
                return str(self.value).lower() if self.form == "truth" else str(self.value)
            case "call":
                return f"{self.value}({', '.join(inner)})"
            case "group":
                return f"({inner[0]})"
            case "negative":
                return f"-{inner[0]}"
            case "not":
                return f"not {inner[0]}"
            case "chain":
                relations = str(self.value).split()
                return inner[0] + "".join(f" {r} {p}" for r, p in zip(relations, inner[1:], strict=True))
        return f" {self.form} ".join(inner)

    def walk(self) -> Iterator[Condition]:
        """Yield the node and all below it."""
        yield self
        for part in self.parts:
            yield from part.walk()

    @property
    def names(self) -> frozenset[str]:
        """The names of columns that the condition reads."""
        return frozenset(str(node.value) for node in self.walk() if node.form == "name")


def _span(token: Token) -> tuple[int, int]:
    start = token.start_pos or 0
    return start, max(1, (token.end_pos or start + 1) - start)


class _Builder(Transformer[Token, Any]):
    """Builds the tree while the text is parsed."""

    def _fold(self, children: list[Any]) -> Condition:
        found: Condition = children[0]
        for symbol, right in zip(children[1::2], children[2::2], strict=True):
            found = Condition(str(symbol), None, (found, right), found.span)
        return found

    sum = product = power = _fold

    def disjunction(self, children: list[Condition]) -> Condition:
        return Condition("or", None, tuple(children), children[0].span)

    def conjunction(self, children: list[Condition]) -> Condition:
        return Condition("and", None, tuple(children), children[0].span)

    def comparison(self, children: list[Any]) -> Condition:
        return Condition("chain", " ".join(map(str, children[1::2])), tuple(children[::2]), children[0].span)

    def inverse(self, children: list[Any]) -> Condition:
        return Condition("not", None, (children[1],), _span(children[0]))

    def negative(self, children: list[Any]) -> Condition:
        return Condition("negative", None, (children[1],), _span(children[0]))

    def group(self, children: list[Any]) -> Condition:
        return Condition("group", None, (children[1],), _span(children[0]))

    def number(self, children: list[Token]) -> Condition:
        (token,) = children
        suffix = match[0] if (match := _SUFFIX.search(token)) else ""
        digits = str(token).removesuffix(suffix).replace("_", "")
        value = int(digits) if digits.isdecimal() and len(digits) <= 30 else float(digits)
        return Condition("number", value * (SUFFIXES["bytes"][suffix] if suffix else 1), (), _span(token))

    def text(self, children: list[Token]) -> Condition:
        return Condition("text", str(children[0])[1:-1], (), _span(children[0]))

    def truth(self, children: list[Token]) -> Condition:
        return Condition("truth", children[0] == "true", (), _span(children[0]))

    def name(self, children: list[Token]) -> Condition:
        return Condition("name", str(children[0]), (), _span(children[0]))

    def call(self, children: list[Any]) -> Condition:
        parts = tuple(c for c in children[1:] if isinstance(c, Condition))
        return Condition("call", str(children[0]), parts, _span(children[0]))


@cache
def _parser() -> Lark:
    grammar = files("fusemax.sweep").joinpath("conditions.lark").read_text(encoding="utf-8")
    return Lark(grammar, start="condition", parser="lalr", maybe_placeholders=False)


def parse_condition(text: str, place: Place, known: Mapping[str, Kind]) -> Condition:
    """Parse a condition and check that it is one.

    Args:
        text: such as ``area_mm2 <= 200 and array_2d.rows == array_2d.columns``.
        place: gives the location of a span of the text, for errors.
        known: the columns it may read, and what they hold.

    Raises:
        InputError: it does not parse, names what is not known, or compares what cannot be compared.
    """
    if len(text) > MAX_LENGTH or _too_deep(_STRING.sub("", text)):
        raise InputError("the condition is too long or too deeply nested", location=place(0, 1), hint="split it")
    try:
        found: Condition = _Builder().transform(_parser().parse(text))
    except UnexpectedInput as error:
        start = min(max(error.pos_in_stream or 0, 0), max(0, len(text) - 1))
        raise InputError(
            f"this is no condition: unexpected '{text[start : start + 20]}'",
            location=place(start, 1),
            hint="write comparisons such as area_mm2 <= 200, joined by and, or, not; equality is written ==",
        ) from None
    if (kind := kind_of(found, place, known)) != "truth":
        raise InputError(
            f"'{text[:60]}' is a {kind}, not a condition", location=place(0, len(text)), hint="compare it: ... <= 200"
        )
    return found


def _too_deep(text: str) -> bool:
    """Whether parentheses, or operators that each make the tree deeper by one, are too many for recursion."""
    depth = deepest = 0
    for character in text:
        depth += (character == "(") - (character == ")")
        deepest = max(deepest, depth)
    return deepest > MAX_DEPTH or len(_NESTING_OPERATOR.findall(text)) > MAX_OPERATORS


def kind_of(node: Condition, place: Place, known: Mapping[str, Kind]) -> Kind:
    """Return what a node stands for.

    Raises:
        InputError: a name is unknown, or an operand is not what its operator takes.
    """

    def want(part: Condition, kind: Kind) -> None:
        found = kind_of(part, place, known)
        if found != kind:
            raise InputError(f"'{part}' is a {found}, a {kind} is expected here", location=place(*part.span))

    match node.form:
        case "number" | "text" | "truth":
            if isinstance(node.value, float) and not isfinite(node.value):
                raise InputError("this number is too large", location=place(*node.span), hint="it is beyond 1.8e308")
            return node.form
        case "name":
            if str(node.value) not in known:
                raise unknown("name", str(node.value), known, location=place(*node.span))
            return known[str(node.value)]
        case "group":
            return kind_of(node.parts[0], place, known)
        case "call":
            return _call_kind(node, place, want)
        case "not" | "and" | "or":
            for part in node.parts:
                want(part, "truth")
            return "truth"
        case "chain":
            first = kind_of(node.parts[0], place, known)
            for part in node.parts[1:]:
                want(part, first)
            if first != "number" and set(str(node.value).split()) - {"==", "!="}:
                raise InputError(f"a {first} is only compared with == and !=", location=place(*node.span))
            return "truth"
    for part in node.parts:
        want(part, "number")
    return "number"


def _call_kind(node: Condition, place: Place, want: Callable[[Condition, Kind], None]) -> Kind:
    name = str(node.value)
    if name == AREA_OF:
        if len(node.parts) != 1 or node.parts[0].form != "text":
            raise InputError(f"{AREA_OF} takes the name of a machine in quotes", location=place(*node.span))
        return "number"
    if name not in _FUNCTIONS:
        raise unknown("function", name, [*_FUNCTIONS, AREA_OF], location=place(*node.span))
    wanted = _FUNCTIONS[name][0]
    if not node.parts or (wanted is not None and len(node.parts) != wanted):
        many = "one operand" if wanted else "one operand or more"
        raise InputError(f"{name} takes {many}, {len(node.parts)} are given", location=place(*node.span))
    for part in node.parts:
        want(part, "number")
    return "number"


def evaluate(node: Condition, lookup: Lookup, area_of: Callable[[str], float]) -> Any:
    """Return the value of a node: a scalar, or an array with a value per point.

    Args:
        lookup: gives the column of a name; NaN is a number that a point does not have.
        area_of: chip area in mm² of a machine named.
    """
    value: Any = node.value
    match node.form:
        case "number" | "truth" | "text":
            return value
        case "name":
            return lookup(value)
        case "call" if value == AREA_OF:
            return area_of(str(node.parts[0].value))
    parts = [evaluate(p, lookup, area_of) for p in node.parts]
    with np.errstate(all="ignore"):
        match node.form:
            case "group":
                return parts[0]
            case "negative":
                return np.negative(parts[0])
            case "not":
                return ~np.asarray(parts[0]) & _there(node.parts[0], lookup)
            case "and":
                return np.logical_and.reduce(np.broadcast_arrays(*parts))
            case "or":
                return np.logical_or.reduce(np.broadcast_arrays(*parts))
            case "call":
                return _FUNCTIONS[value][1](*parts)
            case "chain":
                return _chain(str(value).split(), parts)
        return _OPERATORS[node.form](*(np.asarray(p, float) for p in parts))


def _chain(relations: list[str], parts: list[Any]) -> Array:
    holds: Array = np.asarray(True)
    for relation, left, right in zip(relations, parts, parts[1:], strict=False):
        holds = holds & _related(relation, left, right)
    return holds


def _related(relation: str, left: Any, right: Any) -> Array:
    if isinstance(left, Names) or isinstance(right, Names):
        names, other = (left, right) if isinstance(left, Names) else (right, left)
        if isinstance(other, Names):
            same = np.asarray(names.values, object)[names.codes] == np.asarray(other.values, object)[other.codes]
        else:
            same = np.asarray([v == other for v in names.values] or [False])[names.codes]
        return np.asarray(same if relation == "==" else ~same)
    found: Array = _RELATIONS[relation](left, right)
    if relation == "!=" and not isinstance(left, str):
        found = found & (np.asarray(left) == left) & (np.asarray(right) == right)
    return np.asarray(found)


def _there(node: Condition, lookup: Lookup) -> Array:
    """Whether every number that a node reads is there."""
    there: Array = np.asarray(True)
    for name in node.names:
        column = lookup(name)
        if not isinstance(column, Names | str):
            there = there & (np.asarray(column) == column)
    return there
