r"""Cascades typeset as the papers print them: subscripts, fractions, and EDGE's reduce actions.

A maximum over ``m0`` is written :math:`:: \bigvee_{m_0}\max(\cup)`, and the 1 or 0 of a comparison in Iverson's
brackets, :math:`[m \leq p]`. Each Einsum uses only commands that
Matplotlib's mathtext knows; the whole cascade is one ``aligned`` environment, as KaTeX and MathJax read it.

Sources of the notation: Odemuyiwa et al., "EDGE", arXiv 2404.11591; D. Knuth, "Two notes on notation", American
Mathematical Monthly 99(5), 1992 (Iverson's brackets).
"""

from __future__ import annotations

import math
import re

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
    Size,
    Stop,
    Subscript,
)
from einsum_cascades.printer import ATOM, COMPARISON, PRODUCT, SUM, actions, flat_operands, number_text, precedence

_INFIX = {"add": ("+", SUM), "sub": ("-", SUM), "mul": (r"\times", PRODUCT), "mod": (r"\;\mathrm{mod}\;", PRODUCT)}
_RELATIONS = {"lt": "<", "le": r"\leq", "gt": ">", "ge": r"\geq", "eq": "="}
_FUNCTIONS = {"sigmoid": r"\sigma", "where": r"\mathrm{where}"}
_ACTIONS = {"add": "+", "mul": r"\times"}


def _word(name: str) -> str:
    escaped = name.replace("_", r"\_")
    return escaped if len(name) == 1 else rf"\mathit{{{escaped}}}"


def _variable(name: str) -> str:
    """Return a rank or its variable with its number as a subscript: ``m_{1}``."""
    match = re.fullmatch(r"([A-Za-z]+)_?([0-9]+)", name)
    return f"{_word(match[1])}_{{{match[2]}}}" if match else _word(name)


def _subscript(subscript: Subscript) -> str:
    if isinstance(subscript, Const):
        return str(subscript.value)
    if isinstance(subscript, Size):
        return _variable(subscript.rank)
    return _variable(subscript.rank.lower()) + (f"{subscript.shift:+d}" if subscript.shift else "")


def _access(access: Access) -> str:
    if not access.subscripts:
        return _word(access.tensor)
    return f"{_word(access.tensor)}_{{{', '.join(_subscript(s) for s in access.subscripts)}}}"


def _number(value: float) -> str:
    sign = "-" if math.copysign(1, value) < 0 else ""
    mantissa, _, exponent = number_text(abs(value)).partition("e")
    if mantissa == "inf":
        return rf"{sign}\infty"
    return sign + mantissa + (rf" \times 10^{{{int(exponent)}}}" if exponent else "")


def _precedence(expression: Expression) -> int:
    if isinstance(expression, Apply) and (expression.operator == "div" or expression.operator in _RELATIONS):
        return ATOM
    if isinstance(expression, Number) and "e" in number_text(expression.value):
        return PRODUCT
    return precedence(expression)


def _write(expression: Expression, at_least: int = COMPARISON) -> str:
    text = _bare(expression)
    return text if _precedence(expression) >= at_least else rf"\left({text}\right)"


def _bare(expression: Expression) -> str:
    if isinstance(expression, Access):
        return _access(expression)
    if isinstance(expression, Number):
        return _number(expression.value)
    if isinstance(expression, Index):
        return _variable(expression.rank.lower())
    if isinstance(expression, Extent):
        return _variable(expression.rank)
    operator, operands = expression.operator, expression.operands
    if operator in _INFIX:
        symbol, level = _INFIX[operator]
        right = level + 1 if level == SUM else ATOM
        return f"{_write(operands[0], level)} {symbol} {_write(operands[1], right)}"
    if operator in _RELATIONS:
        return rf"\left[{_write(operands[0])} {_RELATIONS[operator]} {_write(operands[1])}\right]"
    if operator == "abs":
        return rf"\left|{_write(operands[0])}\right|"
    if operator == "floor":
        return rf"\left\lfloor {_write(operands[0])} \right\rfloor"
    if operator == "div":
        return rf"\frac{{{_write(operands[0])}}}{{{_write(operands[1])}}}"
    if operator == "neg":
        return "-" + _write(operands[0], ATOM)
    if operator == "sqrt":
        return rf"\sqrt{{{_write(operands[0])}}}"
    arguments = ", ".join(_write(o) for o in flat_operands(expression))
    return rf"{_FUNCTIONS.get(operator, chr(92) + operator)}\left({arguments}\right)"


def _action(operator: str, ranks: list[str]) -> str:
    variables = ", ".join(_variable(r.lower()) for r in ranks)
    symbol = _ACTIONS.get(operator, "\\" + operator)
    return rf" :: \bigvee_{{{variables}}} {symbol}(\cup)"


def _sides(einsum: Einsum) -> tuple[str, str]:
    reductions = "".join(_action(op, ranks) for op, ranks in actions(einsum))
    return _access(einsum.output), _write(einsum.expression) + reductions


def _stop(stop: Stop) -> str:
    return rf"\diamond : {_variable(stop.rank.lower())} \geq {_subscript(stop.bound)}"


def einsum_latex(einsum: Einsum) -> str:
    """Return one Einsum in LaTeX, without dollar signs."""
    left, right = _sides(einsum)
    return f"{left} = {right}"


def to_latex(cascade: CascadeParts) -> str:
    """Return a cascade in LaTeX, without dollar signs: one ``aligned`` environment, a line per Einsum."""
    lines: list[str] = []
    sections = (
        ("Initialization", cascade.init),
        ("Extended Einsums", cascade.body),
        ("Result", cascade.final),
    )
    several = bool(cascade.init or cascade.final)
    for heading, section in sections:
        if section and several:
            lines.append(rf"&\text{{{heading}}}")
        lines += [f"{left} &= {right}" for left, right in map(_sides, section)]
        if section is cascade.body:
            lines += [f"&{_stop(s)}" for s in cascade.stop]
    return "\\begin{aligned}\n" + " \\\\\n".join(lines) + "\n\\end{aligned}"
