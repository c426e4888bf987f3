"""Text of one Einsum to the intermediate representation.

The grammar is in ``grammar.lark``. Unary minus binds tighter than ``*``, ``/`` and ``%``, these tighter than ``+``
and ``-``, these tighter than comparisons, and operators of one precedence associate to the left. A name without
brackets is a declared scalar, else the index of a rank's variable (``m``) or a rank's size (``M``). Without
declarations the ranks are those that subscripts of the Einsum walk over, and ``m[]`` is a scalar in any case.
Sums that the notation leaves unwritten (over variables absent on the left) are stated in the result, before
the written reductions: they are applied first.

Source: Nayak et al., "FuseMax", MICRO 2024, section 2; Odemuyiwa et al., "EDGE", arXiv 2404.11591.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from lark import Lark, Token, Transformer, UnexpectedInput, UnexpectedToken

from einsum_cascades.errors import InputError, Location, nearest, unknown
from einsum_cascades.ir import (
    Access,
    Apply,
    Const,
    Einsum,
    Expression,
    Number,
    Reduction,
    Size,
    Stop,
    Subscript,
    Var,
)
from einsum_cascades.operators import OPERATORS
from einsum_cascades.parsed import Bare, ParsedEinsum, Part, Place, Scope, Span, SpanError, Written, resolved
from einsum_cascades.source_text import Source

MAX_LENGTH = 2000
MAX_DEPTH = 100

FUNCTIONS = tuple(op.name for op in OPERATORS.values() if op.symbol == op.name)
RESERVED = frozenset({*FUNCTIONS, "inf", "reduce"})

_SYMBOLS = {
    **{"+": "add", "-": "sub", "−": "sub", "*": "mul", "×": "mul", "·": "mul", "/": "div", "÷": "div", "%": "mod"},
    **{"<": "lt", "<=": "le", "≤": "le", ">": "gt", ">=": "ge", "≥": "ge", "==": "eq"},
}
_WORDS = {
    "NAME": "a name",
    "NUMBER": "a number",
    "INF": "'inf'",
    "PLUS": "'+'",
    "MINUS": "'-'",
    "TIMES": "'*'",
    "OVER": "'/'",
    "MODULO": "'%'",
    "RELATION": "a comparison",
    "LPAR": "'('",
    "RPAR": "')'",
    "LSQB": "'['",
    "RSQB": "']'",
    "COMMA": "','",
    "EQUAL": "'='",
    "ACTION": "'::'",
    "REDUCE": "'reduce'",
    "VEE": "'∨'",
    "UNION": "'∪'",
    "AT_LEAST": "'>='",
    "$END": "the end",
    "OPERATOR": "an operator",
}
_UNEXPECTED = {
    "RELATION": "comparisons do not chain; min(a < b, b < c) says that both hold",
    "EQUAL": "equality is written '=='",
}
_SUBSCRIPTS = "a subscript is a variable (m1), a shifted variable (m1+1), a constant (0) or a rank's size (M1)"


@dataclass(frozen=True)
class _Action:
    """The reductions of one action, each with the span of its variable."""

    reductions: tuple[tuple[Reduction, Span], ...]


def _span(token: Token) -> Span:
    start = token.start_pos or 0
    return start, max(1, (token.end_pos or start + 1) - start)


def _rank(variable: Token) -> str:
    if not variable.islower():
        hint = f"write '{variable.lower()}'" if variable[0].isalpha() else _SUBSCRIPTS
        raise SpanError(f"expected a variable in lower case, found '{variable}'", _span(variable), hint)
    return variable.upper()


def _check_tensor(name: Token) -> None:
    if name in RESERVED:
        raise SpanError(f"'{name}' is an operator, not a tensor", _span(name), "rename the tensor")


def _whole(number: Token) -> int:
    if not number.isdecimal() or len(number) > 15:
        raise SpanError(f"expected a small whole number, found '{number[:40]}'", _span(number), _SUBSCRIPTS)
    return int(number)


def _reducer(token: Token) -> str:
    name = _SYMBOLS.get(token, str(token))
    reducing = [op.name for op in OPERATORS.values() if op.reduces]
    if name in OPERATORS and name not in reducing:
        raise SpanError(f"operator '{name}' cannot reduce", _span(token), "these can: " + ", ".join(reducing))
    if name not in OPERATORS:
        raise SpanError(f"unknown operator '{name[:40]}'", _span(token), nearest(name, reducing))
    return name


class _Builder(Transformer[Token, Any]):
    """Builds the representation while the text is parsed, so that no tree has to be walked."""

    def einsum(self, children: list[Any]) -> tuple[Written, Part, list[_Action]]:
        output, part, *actions = children
        return output.written[0], part, actions

    def bare(self, children: list[Token]) -> Part:
        (name,) = children
        _check_tensor(name)
        return Part(Bare(str(name)), (Written(Bare(str(name)), _span(name)),))

    def access(self, children: list[Any]) -> Part:
        name, *subscripts = children
        _check_tensor(name)
        access = Access(str(name), tuple(s for s, _ in subscripts))
        return Part(access, (Written(access, _span(name), tuple(span for _, span in subscripts)),))

    def subscript(self, children: list[Token]) -> tuple[Subscript, Span]:
        (token,) = children
        if token.type == "NUMBER":
            return Const(_whole(token)), _span(token)
        return (Size(str(token)) if token.isupper() else Var(_rank(token))), _span(token)

    def shifted(self, children: list[Token]) -> tuple[Subscript, Span]:
        variable, sign, number = children
        start, end = _span(variable)[0], sum(_span(number))
        shift = _whole(number) if sign == "+" else -_whole(number)
        return Var(_rank(variable), shift), (start, end - start)

    def literal(self, children: list[Token]) -> Part:
        (token,) = children
        value = float("inf") if token.type == "INF" else float(token)
        if token.type != "INF" and value == float("inf"):
            raise SpanError(f"the number '{token[:40]}' is too large", _span(token), "write inf for infinity")
        return Part(Number(value))

    def negative(self, children: list[Any]) -> Part:
        return Part(Number(-children[1].expression.value))

    def negate(self, children: list[Any]) -> Part:
        _, part = children
        return Part(Apply("neg", (part.expression,)), part.written)

    def binary(self, children: list[Any]) -> Part:
        left, symbol, right = children
        return Part(Apply(_SYMBOLS[symbol], (left.expression, right.expression)), left.written + right.written)

    def function(self, children: list[Any]) -> Part:
        name, *parts = children
        if name not in FUNCTIONS:
            hint = nearest(name, FUNCTIONS)
            if name == "take":
                hint = "TeAAL's take is not read here; multiply by the tensor whose non-zeros select"
            raise SpanError(f"unknown operator '{name[:40]}'", _span(name), hint)
        operator = OPERATORS[name]
        if len(parts) != operator.arity and not (operator.reduces and len(parts) > 2):
            wanted = f"{operator.arity} operand" + "s" * (operator.arity > 1)
            raise SpanError(f"'{name}' takes {wanted}, found {len(parts)}", _span(name))
        count = operator.arity
        expression = Apply(operator.name, tuple(part.expression for part in parts[:count]))
        for part in parts[count:]:
            expression = Apply(operator.name, (expression, part.expression))
        return Part(expression, tuple(w for part in parts for w in part.written))

    def action(self, children: list[Token]) -> _Action:
        variables = [t for t in children[2:] if t.type == "NAME"]
        operator = next(t for t in reversed(children) if t.type != "UNION")
        if operator.type == "NAME":
            variables.pop()
        name = _reducer(operator)
        return _Action(tuple((Reduction(_rank(v), name), _span(v)) for v in variables))

    def stop(self, children: list[Token]) -> tuple[Stop, Span]:
        variable, _, bound = children
        if bound.type == "NUMBER":
            return Stop(_rank(variable), Const(_whole(bound))), _span(variable)
        if not bound.isupper():
            raise SpanError(f"expected a rank's size in upper case, found '{bound[:40]}'", _span(bound))
        return Stop(_rank(variable), Size(str(bound))), _span(variable)


@cache
def _parser() -> Lark:
    grammar = Path(__file__).with_name("grammar.lark").read_text(encoding="utf-8")
    return Lark(
        grammar,
        parser="lalr",
        start=["einsum", "stop"],
        propagate_positions=True,
        maybe_placeholders=False,
        transformer=_Builder(),
    )


def _run(text: str, start: str, place: Place) -> Any:
    if len(text) > MAX_LENGTH:
        raise InputError(f"an expression of {len(text)} characters, more than {MAX_LENGTH}", location=place(0, 1))
    try:
        return _parser().parse(text, start=start)
    except SpanError as fault:
        raise InputError(fault.message, location=place(*fault.span), hint=fault.hint) from None
    except UnexpectedInput as error:
        raise _syntax_error(error, text, place) from None


def _syntax_error(error: UnexpectedInput, text: str, place: Place) -> InputError:
    """Return the error for a text that the grammar does not allow, saying what it would."""
    if isinstance(error, UnexpectedToken):
        names = set(error.accepts or error.expected)
        if "PLUS" in names and "RSQB" not in names:
            names = names - {"PLUS", "MINUS", "TIMES", "OVER", "MODULO", "RELATION"} | {"OPERATOR"}
        words = {_WORDS.get(name, name) for name in names}
        expected = f"expected {_either(sorted(words))}"
        if error.token.type == "$END":
            return InputError(f"the text ends too early: {expected}", location=place(max(0, len(text.rstrip()) - 1), 1))
        start, width = _span(error.token)
        hint = _UNEXPECTED.get(error.token.type, "")
        return InputError(f"unexpected '{error.token[:40]}': {expected}", location=place(start, width), hint=hint)
    start = error.pos_in_stream or 0
    found = text[start]
    hint = "reductions are written ':: reduce(m0) max'" if found in ":∧⋀∩" else ""
    return InputError(f"unexpected character {found!r}", location=place(start, 1), hint=hint)


def _either(words: list[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " or " + words[-1]


def _depth(expression: Expression) -> int:
    depth, level = 0, [expression]
    while level:
        depth += 1
        level = [o for e in level if isinstance(e, Apply) for o in e.operands]
    return depth


def _shifted_place(location: Location | None, text: str) -> Place:
    if location is None:
        source = Source("<text>", text)
        return lambda start, width: source.location(start, start + width)
    return lambda start, width: replace(location, column=location.column and location.column + start, width=width)


def parse_einsum_at(text: str, place: Place, scope: Scope | None = None) -> ParsedEinsum:
    """Parse one Einsum, with the places of its accesses.

    Args:
        text: the Einsum.
        place: gives the location of a span of the text, for errors.
        scope: what names without brackets may stand for; if not given, what the Einsum itself walks over.

    Raises:
        InputError: the text is no Einsum.
    """
    output, part, actions = _run(text, "einsum", place)
    if _depth(part.expression) > MAX_DEPTH:
        hint = "split it over several Einsums"
        raise InputError(f"an expression nested more than {MAX_DEPTH} deep", location=place(0, len(text)), hint=hint)
    try:
        output, part = resolved(output, part, scope)
    except SpanError as fault:
        raise InputError(fault.message, location=place(*fault.span), hint=fault.hint) from None
    right = dict.fromkeys(r for w in part.written for r in w.access.ranks)
    left = set(output.access.ranks)
    explicit: dict[str, Reduction] = {}
    for reduction, span in (r for action in actions for r in action.reductions):
        variable, rank = reduction.rank.lower(), reduction.rank
        if rank in explicit:
            raise InputError(f"'{variable}' is reduced twice", location=place(*span))
        if rank in left:
            hint = "remove it from one of the two sides"
            raise InputError(f"'{variable}' is reduced and is on the left", location=place(*span), hint=hint)
        if rank not in right:
            names = [r.lower() for r in right]
            raise unknown("variable", variable, names, location=place(*span))
        explicit[rank] = reduction
    sums = [Reduction(r, "add") for r in right if r not in left and r not in explicit]
    reductions = (*sums, *explicit.values())
    einsum = Einsum(output.access, part.expression, reductions, place(0, len(text.rstrip())))
    return ParsedEinsum(einsum, output, part.written, place)


def parse_einsum(text: str, *, location: Location | None = None) -> Einsum:
    """Parse one Einsum, such as ``LM[m1, p] = BQK[m1, m0, p] :: reduce(m0) max``.

    Args:
        text: the Einsum, in ASCII or in EDGE's Unicode spelling.
        location: where the text starts, for errors.

    Returns:
        The Einsum, with the sums that the notation leaves unwritten stated first.

    Raises:
        InputError: the text is no Einsum.
    """
    return parse_einsum_at(text, _shifted_place(location, text)).einsum


def parse_stop(text: str, place: Place) -> Stop:
    """Parse the stop condition of an iterative rank, such as ``m1 >= M1``.

    Raises:
        InputError: the text is no stop condition.
    """
    stop, _ = _run(text, "stop", place)
    assert isinstance(stop, Stop)
    return stop
