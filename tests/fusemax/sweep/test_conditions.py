"""Conditions: text to tree and back, and their truth."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from einsum_cascades.errors import InputError, Location
from fusemax.sweep.conditions import Condition, Kind, Names, evaluate, parse_condition

KNOWN: dict[str, Kind] = {"a": "number", "b.c": "number", "name": "text", "on": "truth"}
VALUES: dict[str, Any] = {"a": 3, "b.c": 2.5, "name": "x", "on": True}
PLAIN = {"+": operator.add, "-": operator.sub, "*": operator.mul, "<": operator.lt, "<=": operator.le}
PLAIN |= {">": operator.gt, ">=": operator.ge, "==": operator.eq, "!=": operator.ne}


def place(start: int, width: int) -> Location:
    return Location("<text>", 1, start + 1, "", width)


def parsed(text: str) -> Condition:
    return parse_condition(text, place, KNOWN)


def truth(text: str, **changes: Any) -> Any:
    return np.asarray(evaluate(parsed(text), (VALUES | changes).__getitem__, lambda name: float(len(name))))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a == 3", True),
        ("1 < a <= 3 < 4", True),
        ("1 < a <= 2", False),
        ("not a == 3", False),
        ("a > 1 and b.c > 1 or a > 100", True),
        ("a > 100 or a > 1 and b.c > 100", False),
        ("not a > 100 and b.c < 3", True),
        ("abs(a / 4 - 1) <= 0.25", True),
        ("-a ** 2 == -9", True),
        ("2 ** a == 8", True),
        ("a * 2 - 1 == 5", True),
        ("a - 2 - 1 == 0", True),
        ("7 // a == 2 and 7 % a == 1", True),
        ("min(a, b.c, 9) == 2.5 and max(a, b.c) == 3", True),
        ("log2(8) == a and sqrt(9) == a and floor(b.c) == 2 and ceil(b.c) == 3", True),
        ("1MiB == 1048576 and 2KiB == 2048", True),
        ("64K == 65536 and 8k == 8192 and 1kB == 1000 and 2.5MB == 2.5e6 and 7B == 7", True),
        ("name == 'x'", True),
        ('name != "x"', False),
        ("'x' == name", True),
        ("on and a == 3", True),
        ("on == false", False),
        ("area_of('fourteen bytes') == 14", True),
        ("a < 1 or not (a < 2)", True),
        ("a / 0 > 1e300", True),
    ],
)
def test_truth(text: str, expected: bool) -> None:
    assert bool(truth(text)) is expected


def test_many_points_at_once() -> None:
    column = np.asarray([1, 2, 3, 4])
    assert truth("2 <= a < 4", a=column).tolist() == [False, True, True, False]
    names = Names(np.asarray([0, 1, 0]), ("x", "y"))
    assert truth("name == 'x' or a > 5", name=names).tolist() == [True, False, True]
    assert truth("name == 'z'", name=names).tolist() == [False, False, False]


@pytest.mark.parametrize("text", ["a < 2", "not a < 2", "a != 2", "a >= 2", "not (a >= 2)"])
def test_what_is_not_there_compares_with_nothing(text: str) -> None:
    assert truth(text, a=np.asarray([np.nan])).tolist() == [False]


def texts(depth: int) -> st.SearchStrategy[tuple[str, Any]]:
    """Texts of sums with what they come to, computed beside them."""
    leaf = st.sampled_from([("a", 3), ("b.c", 2.5), ("7", 7), ("0.5", 0.5)])
    if not depth:
        return leaf
    inner = texts(depth - 1)
    both = st.tuples(inner, st.sampled_from(["+", "-", "*"]), inner).map(
        lambda t: (f"({t[0][0]}) {t[1]} ({t[2][0]})", PLAIN[t[1]](t[0][1], t[2][1]))
    )
    return leaf | both


@settings(deadline=None)
@given(texts(4), st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), texts(4))
def test_arithmetic_and_comparisons(left: tuple[str, Any], relation: str, right: tuple[str, Any]) -> None:
    text = f"{left[0]} {relation} {right[0]}"
    assert bool(truth(text)) is PLAIN[relation](left[1], right[1])
    assert str(parsed(str(parsed(text)))) == str(parsed(text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "unexpected"),
        ("a <", "unexpected"),
        ("a = 3", "unexpected '= 3'"),
        ("a + 1", "a number, not a condition"),
        ("a < name", "'name' is a text, a number is expected"),
        ("name < 'x'", "only compared with == and !="),
        ("not a", "'a' is a number, a truth is expected"),
        ("aa < 1", "unknown name 'aa'"),
        ("sin(a) < 1", "unknown function 'sin'"),
        ("abs(a, a) < 1", "abs takes one operand, 2 are given"),
        ("min() < 1", "min takes one operand or more"),
        ("area_of(a) < 1", "takes the name of a machine in quotes"),
        ("__import__('os') == 1", "unknown function '__import__'"),
        ("(" * 500 + "a" + ")" * 500 + " < 1", "too deeply nested"),
        ("-" * 500 + "a < 1", "too deeply nested"),
        ("a" + "+1" * 900 + " < 1", "too deeply nested"),
        ("a" + "**1" * 600 + " < 1", "too deeply nested"),
        ("not\t" * 400 + "on", "too deeply nested"),
        ("a < 1e999", "too large"),
        ("a < 1; a", "unexpected ';"),
    ],
)
def test_refuses(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message.replace("(", r"\(")):
        parsed(text)


@settings(deadline=None)
@given(st.text(alphabet="ab.c<>=!+-*/()'\" 019notrdKMiB,", max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = parsed(text)
    except InputError:
        return
    assert str(parsed(str(found))) == str(found)


def test_as_deep_as_conditions_may_be() -> None:
    for inner in ("+1" * 100, "**1" * 100):
        assert truth("(" * 60 + "a" + inner + ")" * 60 + " >= 3")
    assert truth("not " * 100 + "on")
    assert not truth(" or ".join(f"name == 'attention-{i}-pass'" for i in range(60)))
