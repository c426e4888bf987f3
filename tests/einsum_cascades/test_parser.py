"""Text of one Einsum against representations written out by hand."""

import math

import pytest

from einsum_cascades.errors import InputError, Location
from einsum_cascades.ir import Access, Apply, Const, Einsum, Number, Reduction, Size, Stop, Var
from einsum_cascades.operators import OPERATORS
from einsum_cascades.parser import FUNCTIONS, parse_einsum, parse_stop
from einsum_cascades.source_text import Source

A, B, C = Access("A"), Access("B"), Access("C")


def right(text: str):
    return parse_einsum(f"Y = {text}").expression


def apply(operator, *operands):
    return Apply(operator, operands)


def test_matrix_product_as_teaal_writes_it():
    k, m, n = Var("K"), Var("M"), Var("N")
    assert parse_einsum("Z[m, n] = A[k, m] * B[k, n]") == Einsum(
        Access("Z", (m, n)),
        apply("mul", Access("A", (k, m)), Access("B", (k, n))),
        (Reduction("K", "add"),),
    )


def test_subscripts():
    einsum = parse_einsum("RM[m1+1, p, 0] = A[m1-2, p, M1]")
    assert einsum.output.subscripts == (Var("M1", 1), Var("P"), Const(0))
    assert einsum.inputs[0].subscripts == (Var("M1", -2), Var("P"), Size("M1"))
    assert parse_einsum("Y = A").output == parse_einsum("Y[] = A").output == Access("Y")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A + B * C", apply("add", A, apply("mul", B, C))),
        ("A - B - C", apply("sub", apply("sub", A, B), C)),
        ("A - (B - C)", apply("sub", A, apply("sub", B, C))),
        ("A / B / C", apply("div", apply("div", A, B), C)),
        ("A % B * C", apply("mul", apply("mod", A, B), C)),
        ("A % (B - 1)", apply("mod", A, apply("sub", B, Number(1)))),
        ("floor(A / B) * B", apply("mul", apply("floor", apply("div", A, B)), B)),
        ("A / (B * C)", apply("div", A, apply("mul", B, C))),
        ("(A + B) * C", apply("mul", apply("add", A, B), C)),
        ("-A * B", apply("mul", apply("neg", A), B)),
        ("A * -B", apply("mul", A, apply("neg", B))),
        ("A--B", apply("sub", A, apply("neg", B))),
        ("-3 * A", apply("mul", Number(-3), A)),
        ("-(3) - --4", apply("sub", apply("neg", Number(3)), apply("neg", Number(-4)))),
        ("max(A, B)", apply("max", A, B)),
        ("max(A, B, C)", apply("max", apply("max", A, B), C)),
        ("exp(A - B)", apply("exp", apply("sub", A, B))),
        ("1.5e-3 + .5 + 2.", apply("add", apply("add", Number(1.5e-3), Number(0.5)), Number(2))),
        ("A × B ÷ C − ∞", apply("sub", apply("div", apply("mul", A, B), C), Number(math.inf))),
        ("A · −∞", apply("mul", A, Number(-math.inf))),
        ("A + B < C * A", apply("lt", apply("add", A, B), apply("mul", C, A))),
        ("A ≤ B", apply("le", A, B)),
        ("A ≥ B", apply("ge", A, B)),
        ("(A > B) * (A == C)", apply("mul", apply("gt", A, B), apply("eq", A, C))),
        ("where(A >= 0, B, -inf)", apply("where", apply("ge", A, Number(0)), B, Number(-math.inf))),
        ("min(A < B, B < C)", apply("min", apply("lt", A, B), apply("lt", B, C))),
        ("info + inf", apply("add", Access("info"), Number(math.inf))),
        ("A\n  + B", apply("add", A, B)),
    ],
)
def test_expressions(text, expected):
    assert right(text) == expected


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_of_the_table(name):
    operands = (A, B, C)[: OPERATORS[name].arity]
    text = ", ".join(o.tensor for o in operands)
    assert right(f"{name}({text})") == Apply(name, operands)


@pytest.mark.parametrize(
    ("text", "reductions"),
    [
        ("Y[p] = A[m, p] :: reduce(m) max", [("M", "max")]),
        ("Y[p] = A[m, p] :: ∨m max(∪)", [("M", "max")]),
        ("Y[p] = A[m, p] :: ⋁_m max(∪)", [("M", "max")]),
        ("Y = A[m, p] :: reduce(m, p) max", [("M", "max"), ("P", "max")]),
        ("Y = A[m, p] :: reduce(p) max :: reduce(m) add", [("P", "max"), ("M", "add")]),
        ("Y = A[m, p] :: ∨p max(∪) :: ∨m +(∪)", [("P", "max"), ("M", "add")]),
        ("Y = A[m, p] :: reduce(m) ×", [("P", "add"), ("M", "mul")]),
        ("Y[p] = A[e, p] * B[e, m] :: reduce(m) max", [("E", "add"), ("M", "max")]),
        ("Y[m] = A[m]", []),
    ],
)
def test_reductions_unwritten_sums_first(text, reductions):
    assert parse_einsum(text).reductions == tuple(Reduction(*r) for r in reductions)


def test_stop():
    place = Source("<text>", "").location
    assert parse_stop("m1 >= M1", place) == parse_stop("m1 ≥ M1", place) == Stop("M1", Size("M1"))
    assert parse_stop("i >= 8", place) == Stop("I", Const(8))


ERRORS = [
    ("", 1, "ends too early: expected a name", ""),
    ("Y = A[k", 7, "ends too early: expected '+', ',', '-' or ']'", ""),
    ("Y = A[k]) + 3", 9, "unexpected ')': expected '::' or the end", ""),
    ("Y = A[k] B", 10, "unexpected 'B': expected '::', an operator or the end", ""),
    ("Y = A < B <= C", 11, "unexpected '<='", "comparisons do not chain; min(a < b, b < c)"),
    ("Y = where(A = B, A, B)", 13, "unexpected '='", "equality is written '=='"),
    ("Y = A != B", 7, "unexpected character '!'", ""),
    ("Y = where(A, B)", 5, "'where' takes 3 operands, found 2", ""),
    ("where = A", 1, "'where' is an operator, not a tensor", "rename"),
    ("Y = A[k] :: reduce(k) <", 23, "unexpected '<'", ""),
    ("Y = A[k] :: reduce(k) where", 23, "operator 'where' cannot reduce", "these can"),
    ("Y A", 3, "unexpected 'A'", ""),
    ("Y = A ^ B", 7, "unexpected character '^'", ""),
    ("Y = 2A", 5, "unexpected character '2'", ""),
    ("Y = take(A[k], B[k], 0)", 5, "unknown operator 'take'", "TeAAL's take is not read here"),
    ("Y = expp(A)", 5, "unknown operator 'expp'", "did you mean 'exp'"),
    ("Y = exp(A, B)", 5, "'exp' takes 1 operand, found 2", ""),
    ("Y = max(A)", 5, "'max' takes 2 operands, found 1", ""),
    ("Y = A[q+s]", 9, "unexpected 's': expected a number", ""),
    ("Y = A[2*q]", 8, "unexpected '*'", ""),
    ("Y = A[Kk]", 7, "expected a variable in lower case, found 'Kk'", "write 'kk'"),
    ("Y = A[1.5]", 7, "expected a small whole number, found '1.5'", "a subscript is"),
    ("Y = A[k+99999999999999999999]", 9, "expected a small whole number", ""),
    ("Y = 1e999", 5, "is too large", "write inf"),
    ("max = A", 1, "'max' is an operator, not a tensor", "rename"),
    ("Y = A[k] :: reduce(k) mx", 23, "unknown operator 'mx'", "did you mean 'max'"),
    ("Y = A[k] :: reduce(k) div", 23, "operator 'div' cannot reduce", "these can: add, mul, max, min"),
    ("Y = A[k] :: reduce(k) -", 23, "unexpected '-'", ""),
    ("Y = A[k] :: reduce(j) max", 20, "unknown variable 'j'", "known names: k"),
    ("Y[k] = A[k] :: reduce(k) max", 23, "'k' is reduced and is on the left", "one of the two sides"),
    ("Y = A[k] :: reduce(k) max :: reduce(k) max", 37, "'k' is reduced twice", ""),
    ("Y = A[k] : reduce(k) max", 10, "unexpected character ':'", ":: reduce(m0) max"),
    ("Y = A[k] :: ∧k ×(∩)", 13, "unexpected character '∧'", ":: reduce(m0) max"),
    ("Y = " + "-" * 200 + "A", 1, "nested more than 100 deep", "split it"),
    ("Y = " + "A+" * 200 + "A", 1, "nested more than 100 deep", "split it"),
    ("Y = " + "A" * 3000, 1, "an expression of 3004 characters", ""),
]


@pytest.mark.parametrize(("text", "column", "message", "hint"), ERRORS)
def test_errors_point_at_their_cause(text, column, message, hint):
    with pytest.raises(InputError) as caught:
        parse_einsum(text)
    error = caught.value
    assert message in error.message
    assert hint in error.hint
    assert error.location is not None
    assert (error.location.line, error.location.column) == (1, column)


def test_error_is_shifted_to_where_the_text_stands():
    place = Location("f.yaml", 7, 5, "  - Y = A ^ B")
    with pytest.raises(InputError) as caught:
        parse_einsum("Y = A ^ B", location=place)
    assert str(caught.value).splitlines() == [
        "f.yaml:7:11: unexpected character '^'",
        "    - Y = A ^ B",
        "            ^",
    ]


def test_deep_parentheses_are_no_depth():
    assert right("(" * 500 + "A" + ")" * 500) == A
