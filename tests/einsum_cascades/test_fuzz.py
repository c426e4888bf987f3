"""Whatever the text, the loader returns a cascade or raises one error, within a second."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from einsum_cascades.errors import InputError
from einsum_cascades.load import LIBRARY, parse_cascade
from einsum_cascades.parser import MAX_LENGTH, parse_einsum

FILES = [path.read_text(encoding="utf-8") for path in sorted(LIBRARY.glob("*.yaml"))]
FRAGMENTS = [
    *(
        "[",
        "]",
        "{",
        "}",
        "(",
        ")",
        ":",
        ": ",
        " :: ",
        "reduce(m) max",
        "∨m0 max(∪)",
        "'",
        '"',
        "|\n",
        ">\n",
        "\n",
        "- ",
    ),
    *(
        "#",
        "&a ",
        "*a",
        "!!str ",
        "---\n",
        "%",
        "@",
        "\t",
        "\r",
        "\0",
        "\ud800",
        "\u2028",
        "\ufeff",
        "9" * 5000,
        "inf",
        "1e999",
    ),
    *(
        "m1+1",
        "M1",
        "m1 >= M1",
        "init:",
        "final:",
        "stop:",
        "expressions:",
        "<<: ",
        "? ",
        "null",
        "-",
        "+",
        "=",
        ",",
        "exp(",
        "where(m <= p, ",
        " == ",
    ),
]


def outcome(text: str) -> None:
    start = time.process_time()
    try:
        cascade = parse_cascade(text)
    except InputError as error:
        cascade, message = None, str(error)
    assert time.process_time() - start < 10
    if cascade is None:
        assert len(message.encode("utf-8")) < 2000
    else:
        assert parse_cascade(str(cascade)) == cascade


@st.composite
def mutations(draw) -> str:
    text = draw(st.sampled_from(FILES))
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["insert", "delete", "repeat", "replace", "swap", "drop"]))
        at = draw(st.integers(0, len(text)))
        to = min(len(text), at + draw(st.integers(0, 30)))
        lines = text.split("\n")
        line = draw(st.integers(0, len(lines) - 1))
        other = draw(st.integers(0, len(lines) - 1))
        if kind == "insert":
            text = text[:at] + draw(st.sampled_from(FRAGMENTS) | st.text(max_size=4)) + text[at:]
        elif kind == "delete":
            text = text[:at] + text[to:]
        elif kind == "repeat":
            text = text[:to] + text[at:to] * draw(st.sampled_from([1, 2, 50])) + text[to:]
        elif kind == "replace":
            text = text[:at] + draw(st.characters()) + text[at + 1 :]
        elif kind == "swap":
            lines[line], lines[other] = lines[other], lines[line]
            text = "\n".join(lines)
        else:
            text = "\n".join(lines[:line] + lines[line + 1 :])
    return text


@settings(max_examples=80, deadline=None)
@given(mutations())
def test_mutated_cascades(text):
    outcome(text)


@settings(max_examples=40, deadline=None)
@given(st.text() | st.lists(st.sampled_from(FRAGMENTS)).map("".join))
def test_any_text(text):
    outcome(text)


TOKENS = [
    "Y",
    "A",
    "[",
    "]",
    "m",
    "m1",
    "+",
    "-",
    "*",
    "/",
    "(",
    ")",
    ",",
    "=",
    "1",
    "inf",
    "exp",
    "max",
    "::",
    "reduce",
    "∨",
    "∪",
    "<",
    "==",
    "where(",
    " ",
    "0.5",
]


@settings(max_examples=80, deadline=None)
@given(st.lists(st.sampled_from(TOKENS), max_size=30).map("".join) | st.text(max_size=40))
def test_any_expression(text):
    for candidate in (text, f"Y = {text}"):
        try:
            parse_einsum(candidate)
        except InputError as error:
            place = error.location
        else:
            continue
        assert place is not None


HEAD = "declaration: {A: [M], Y: [M]}\nexpressions:\n  - "


@pytest.mark.parametrize(
    "text",
    [
        HEAD + "Y[m] = " + "(" * 900 + "A[m]" + ")" * 900,
        HEAD + "Y[m] = " + "-" * 1900 + "A[m]",
        HEAD + "Y[m] = " + "A[m]+" * 390 + "A[m]",
        HEAD + "Y[m] = " + "exp(" * 400,
        HEAD + "Y[m] = A[" + "m," * 900 + "m]",
        HEAD + "Y[m] = " + "A" * MAX_LENGTH,
        HEAD + "Y[m] = max(" + "A[m]," * 380 + "A[m])",
        HEAD + "Y[m] = A[m] " + ":: reduce(m) max " * 100,
        "declaration: {" + ", ".join(f"A{i}: [K]" for i in range(2000)) + "}\nexpressions: A0[k] = A1[k]\n",
        "declaration: {A: [" + ", ".join(f"K{i}" for i in range(5000)) + "]}\nexpressions: A = 1\n",
        "declaration: {a: [M], "
        + ", ".join(f"T{i}: [M]" for i in range(199))
        + "}\nexpressions:\n"
        + "".join(f"  - T{i}[m] = {'+'.join(f'T{j}[m]' for j in range(20))}\n" for i in range(199)),
    ],
)
def test_hostile_cascades_cost_bounded_time(text):
    outcome(text)
