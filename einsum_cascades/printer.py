"""Cascades as text that reads back to an equal cascade.

Parentheses stand only where the grammar needs them, and sums that the notation leaves unwritten stay
unwritten.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from itertools import groupby

from einsum_cascades.nodes import (
    Access,
    Apply,
    CascadeParts,
    Const,
    Einsum,
    Expression,
    Extent,
    Index,
    Number,
    Reduction,
    Size,
    Stop,
    Subscript,
    accesses,
)
from einsum_cascades.operators import COMPARISONS, OPERATORS

COMPARISON, SUM, PRODUCT, UNARY, ATOM = range(1, 6)
"""Precedence of an expression's outermost operator, loosest first."""

INFIX = {
    "add": ("+", SUM),
    "sub": ("-", SUM),
    "mul": ("*", PRODUCT),
    "div": ("/", PRODUCT),
    "mod": ("%", PRODUCT),
    **{name: (OPERATORS[name].symbol, COMPARISON) for name in COMPARISONS},
}
_UNICODE = {"-": "−", "*": "×", "/": "÷", "inf": "∞", "<=": "≤", ">=": "≥"}
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_.+-]*(?: [A-Za-z0-9_.+-]+)*")
_YAML_WORDS = {"null", "true", "false"}


def subscript_text(subscript: Subscript) -> str:
    """Return ``m1``, ``m1+1``, ``0`` or ``M1``."""
    if isinstance(subscript, Const):
        return str(subscript.value)
    if isinstance(subscript, Size):
        return subscript.rank
    return subscript.rank.lower() + (f"{subscript.shift:+d}" if subscript.shift else "")


def access_text(access: Access) -> str:
    """Return ``RM[m1+1, p]``, or the bare name of a scalar."""
    if not access.subscripts:
        return access.tensor
    return f"{access.tensor}[{', '.join(subscript_text(s) for s in access.subscripts)}]"


def number_text(value: float) -> str:
    """Return the shortest text that reads back to the same number."""
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def flat_operands(expression: Apply) -> list[Expression]:
    """Return the operands of ``max(max(a, b), c)`` as ``a, b, c``: nested on the left by one operator."""
    operands: list[Expression] = []
    first: Expression = expression
    while isinstance(first, Apply) and first.operator == expression.operator and len(first.operands) == 2:
        operands.append(first.operands[1])
        first = first.operands[0]
    if not operands:
        return list(expression.operands)
    return [first, *reversed(operands)]


def precedence(expression: Expression) -> int:
    """Return how tightly the outermost operator of an expression binds."""
    if isinstance(expression, Number):
        return UNARY if math.copysign(1, expression.value) < 0 else ATOM
    if isinstance(expression, Apply):
        return UNARY if expression.operator == "neg" else INFIX.get(expression.operator, ("", ATOM))[1]
    return ATOM


def expression_text(expression: Expression, *, unicode: bool = False, walked: Iterable[str] = ()) -> str:
    """Return an expression with the fewest parentheses.

    Args:
        expression: what is written.
        unicode: whether to write EDGE's symbols.
        walked: ranks whose names and variables are values here; a scalar of such a name is written ``m[]``.
    """
    values = {name for rank in walked for name in (rank, rank.lower())}

    def symbol(text: str) -> str:
        return _UNICODE.get(text, text) if unicode else text

    def number(value: float) -> str:
        sign = symbol("-") if math.copysign(1, value) < 0 else ""
        return sign + symbol(number_text(abs(value)))

    def write(part: Expression, at_least: int = COMPARISON) -> str:
        text = bare(part)
        return text if precedence(part) >= at_least else f"({text})"

    def bare(part: Expression) -> str:
        if isinstance(part, Access):
            return access_text(part) + ("[]" if part.tensor in values and not part.subscripts else "")
        if isinstance(part, Number):
            return number(part.value)
        if isinstance(part, Index):
            return part.rank.lower()
        if isinstance(part, Extent):
            return part.rank
        if part.operator in INFIX:
            infix, level = INFIX[part.operator]
            left, right = part.operands
            return f"{write(left, max(level, SUM))} {symbol(infix)} {write(right, level + 1)}"
        if part.operator == "neg":
            (operand,) = part.operands
            literal = isinstance(operand, Number) and precedence(operand) == ATOM
            return symbol("-") + (f"({bare(operand)})" if literal else write(operand, UNARY))
        return f"{part.operator}({', '.join(write(o) for o in flat_operands(part))})"

    return write(expression)


def written_reductions(einsum: Einsum) -> tuple[Reduction, ...]:
    """Return the reductions that the notation has to write: all but the leading sums in the order read."""
    right = list(dict.fromkeys(r for a in accesses(einsum.expression) for r in a.ranks))
    last = -1
    for index, reduction in enumerate(einsum.reductions):
        position = right.index(reduction.rank) if reduction.rank in right else -1
        if reduction.operator != "add" or position <= last:
            return einsum.reductions[index:]
        last = position
    return ()


def actions(einsum: Einsum) -> list[tuple[str, list[str]]]:
    """Return the written reductions as (operator, ranks), neighbours with one operator together."""
    written = written_reductions(einsum)
    return [(op, [r.rank for r in group]) for op, group in groupby(written, key=lambda r: r.operator)]


def _action_text(operator: str, ranks: Iterable[str], unicode: bool) -> str:
    variables = ", ".join(r.lower() for r in ranks)
    if not unicode:
        return f" :: reduce({variables}) {operator}"
    symbol = INFIX[operator][0] if operator in INFIX else operator
    return f" :: ∨{variables} {_UNICODE.get(symbol, symbol)}(∪)"


def einsum_text(einsum: Einsum, unicode: bool = False) -> str:
    """Return one Einsum as ``parse_einsum`` reads it, in ASCII or in EDGE's Unicode spelling."""
    expression = expression_text(einsum.expression, unicode=unicode, walked=einsum.ranks)
    text = f"{access_text(einsum.output)} = {expression}"
    return text + "".join(_action_text(op, ranks, unicode) for op, ranks in actions(einsum))


def stop_text(stop: Stop) -> str:
    """Return ``m1 >= M1``."""
    return f"{stop.rank.lower()} >= {subscript_text(stop.bound)}"


def _scalar(text: str) -> str:
    if _PLAIN.fullmatch(text) and text.lower() not in _YAML_WORDS:
        return text
    return json.dumps(text, ensure_ascii=False)


def _item(einsum: Einsum) -> str:
    text = einsum_text(einsum)
    return f"  - '{text}'" if "::" in text else f"  - {text}"


def _flow(pairs: Iterable[tuple[str, str]]) -> str:
    return "{" + ", ".join(f"{key}: {value}" for key, value in pairs) + "}"


def _ranks(names: Iterable[str]) -> str:
    return "[" + ", ".join(_scalar(n) for n in names) + "]"


def to_text(cascade: CascadeParts) -> str:
    """Return a cascade as YAML that ``parse_cascade`` reads back to an equal one."""
    lines = [f"name: {_scalar(cascade.name)}"]
    for key in ("title", "citation"):
        if text := getattr(cascade, key):
            lines.append(f"{key}: {_scalar(text)}")
    lines.append("declaration:")
    lines += [f"  {_scalar(d.tensor)}: {_ranks(d.ranks)}" for d in cascade.declarations]
    if cascade.partitions:
        lines.append(f"partition: {_flow((_scalar(p.rank), _ranks(p.parts)) for p in cascade.partitions)}")
    if cascade.views:
        lines.append(f"views: {_flow((_scalar(t), _scalar(p)) for t, p in cascade.views)}")
    for key, section in (("init", cascade.init), ("expressions", cascade.body), ("final", cascade.final)):
        if section:
            lines += [f"{key}:", *(_item(e) for e in section)]
    if cascade.stop:
        stops = [stop_text(s) for s in cascade.stop]
        lines += [f"stop: {stops[0]}"] if len(stops) == 1 else ["stop:", *(f"  - {s}" for s in stops)]
    return "\n".join(lines) + "\n"
