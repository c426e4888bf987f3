"""Unusable cascades: each ends with one error at the place in the file that has to change."""

import pytest

from einsum_cascades.errors import InputError, Location, nearest, unknown
from einsum_cascades.load import load_cascade, parse_cascade

HEAD = "declaration:\n  A: [K, M]\n  B: [K]\n  Y: [M]\n  Z: [M]\n  R: [I, M]\n"

CASES = {
    "undeclared tensor": ("- Y[m] = AA[k, m]", "unknown tensor 'AA'", "did you mean", 8, 12),
    "undeclared output": ("- X[m] = A[k, m]", "unknown tensor 'X'", "known names", 8, 5),
    "too few subscripts": (
        "- Y[m] = A[m]",
        "'A' has 1 subscript, but is declared [K, M]",
        "write A[k, m]",
        8,
        12,
    ),
    "wrong rank": ("- Y[m] = A[m, k]", "'m' cannot walk over rank 'K' of 'A'", "its variable is 'k'", 8, 14),
    "single quotes": ("- 'Y[m] = AA[k, m]'", "unknown tensor 'AA'", "", 8, 13),
    "double quotes": ('- "Y[m]\\x20= AA[k, m]"', "unknown tensor 'AA'", "", 8, 16),
    "unquoted action": (
        "- Y[m] = A[k, m] :: reduce(k) mx",
        "unknown operator 'mx'",
        "did you mean 'max'",
        8,
        33,
    ),
    "folded scalar": ("- >\n    Y[m] =\n    AA[k, m]", "unknown tensor 'AA'", "", 10, 5),
    "literal scalar": ("- |\n    Y[m] =\n      AA[k, m]", "unknown tensor 'AA'", "", 10, 7),
    "unbound output": ("- Y[m] = B[k]", "'m' is on the left but nothing on the right", "right: k", 8, 7),
    "written twice": ("- Y[m] = A[k, m]\n  - Y[m] = A[k, m]", "'Y' is written twice", "", 9, 5),
    "needs itself": ("- Y[m] = Y[m]", "in a circle: Y needs Y", "", 8, 12),
    "circle": ("- Y[m] = Z[m]\n  - Z[m] = Y[m]", "in a circle: Y needs Z needs Y", "", 8, 12),
    "no stop": ("- R[i+1, m] = R[i, m]", "rank 'I' iterates but has no stop", "stop: i >= I", 8, 5),
    "no first value": (
        "- R[i+1, m] = R[i, m]\nstop: i >= I",
        "'R' has no value for the first iteration",
        "'init'",
        8,
        17,
    ),
    "idle stop": ("- Y[m] = A[k, m]\nstop: k >= K", "rank 'K' has a stop condition, but", "'k+1'", 9, 7),
    "unknown stop rank": ("- Y[m] = A[k, m]\nstop: q >= K", "unknown rank 'Q'", "", 9, 7),
    "bad stop": ("- Y[m] = A[k, m]\nstop: k > K", "unexpected '>': expected '>='", "", 9, 9),
    "size without stop": ("- Y[m] = A[K, m]", "has no value at its size 'K'", "stop: k >= K", 8, 14),
    "other size": (
        "- R[i+1, m] = R[i, m]\ninit: ['R[0, m] = 0']\nfinal: ['Y[m] = R[M, m]']\nstop: i >= I",
        "'M' is not where rank 'I' of 'R' stops",
        "it stops at I",
        10,
        19,
    ),
    "writes at a size": (
        "- R[i+1, m] = R[i, m]\nfinal: ['R[I, m] = R[0, m]']\nstop: i >= I",
        "'R' is written at a rank's size",
        "",
        9,
        12,
    ),
    "reads a final value": (
        "- Y[m] = Z[m]\nfinal: ['Z[m] = A[k, m]']",
        "'Z' is read before it is written",
        "init, expressions, final",
        8,
        12,
    ),
    "init reads the body": (
        "- Y[m] = A[k, m]\ninit: ['Z[m] = Y[m]']",
        "'Y' is read before it is written",
        "",
        9,
        16,
    ),
    "cannot reduce": (
        "- 'Y[m] = A[k, m] :: reduce(k) exp'",
        "operator 'exp' cannot reduce",
        "these can",
        8,
        34,
    ),
    "reduces what stays": (
        "- 'Y[m] = A[k, m] :: reduce(m) max'",
        "'m' is reduced and is on the left",
        "",
        8,
        31,
    ),
    "reduces nothing": ("- 'Y[m] = A[k, m] :: reduce(q) max'", "unknown variable 'q'", "k, m", 8, 31),
    "takes": ("- Y[m] = take(A[k, m], B[k], 0)", "unknown operator 'take'", "TeAAL", 8, 12),
    "not text": ("- [1]", "expected text, found a list", "", 8, 5),
    "empty": ("- ''", "expected text, found an empty one", "", 8, 5),
    "unknown key": ("- Y[m] = A[k, m]\nfinale: []", "unknown key 'finale'", "did you mean 'final'", 9, 1),
    "overlapping parts": (
        "- Y[m] = A[k, m]\npartition: {M: [M1, M0], K: [K1, M0]}",
        "rank 'M0' belongs to more than one partition",
        "",
        9,
        34,
    ),
    "one part": ("- Y[m] = A[k, m]\npartition: {M: [M1]}", "at least two parts of 'M'", "", 9, 16),
    "lower-case part": (
        "- Y[m] = A[k, m]\npartition: {M: [m1, M0]}",
        "in upper case, found 'm1'",
        "'M1'",
        9,
        17,
    ),
    "view of nothing": (
        "- Y[m] = A[k, m]\nviews: {A: X}",
        "'A' has no rank that is split",
        "partition",
        9,
        9,
    ),
    "unknown view": ("- Y[m] = A[k, m]\nviews: {Q: X}", "unknown tensor 'Q'", "", 9, 9),
    "view of a result": ("- Y[m] = A[k, m]\nviews: {Y: X}", "'Y' is computed", "", 9, 9),
}


@pytest.mark.parametrize("case", CASES)
def test_cascade_errors(case):
    text, message, hint, line, column = CASES[case]
    with pytest.raises(InputError) as caught:
        parse_cascade(f"{HEAD}expressions:\n  {text}\n", "f.yaml")
    error = caught.value
    assert message in error.message
    assert hint in error.hint
    assert str(error).startswith(f"f.yaml:{line}:{column}: ")
    shown = str(error).splitlines()
    assert shown[2].index("^") == column + 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a mapping, found nothing"),
        ("hello", "expected a mapping, found 'hello'"),
        ("declaration: {A: [K]}", "missing key 'expressions'"),
        ("expressions: [A = 1]", "missing key 'declaration'"),
        ("declaration: {}\nexpressions: [A = 1]", "no tensor is declared"),
        ("declaration: {A: []}\nexpressions: []", "at least one expression"),
        ("declaration: {A: []}\nexpressions:", "at least one expression"),
        ("declaration: {A: k}\nexpressions: [A = 1]", "expected a list, found 'k'"),
        ("declaration: {A: [k]}\nexpressions: [A = 1]", "in upper case, found 'k'"),
        ("declaration: {A: [K, K]}\nexpressions: [A = 1]", "rank 'K' is declared twice for 'A'"),
        ("declaration: {exp: [K]}\nexpressions: [A = 1]", "'exp' is an operator, not a tensor"),
        ("declaration: {a-b: [K]}\nexpressions: [A = 1]", "expected a tensor name, found 'a-b'"),
        ("declaration: {A: [K]}\nname: [x]\nexpressions: ['A[0] = 1']", "expected text, found a list"),
        (
            f"declaration: {{A: {[f'K{i}' for i in range(40)]}}}\nexpressions: [A = 1]",
            "at most 32 ranks, found 40",
        ),
        (f"declaration: {{{'A' * 70}: [K]}}\nexpressions: [A = 1]", "a name of 70 characters, more than 60"),
        (f"declaration: {{A: [{'K' * 70}]}}\nexpressions: [A = 1]", "a name of 70 characters, more than 60"),
        ("einsum: {declaration: {A: []}}", "missing key 'expressions'"),
        ("einsum: {declaration: {A: []}, expresions: [A = 1]}", "unknown key 'expresions'"),
        ("declaration: {A: []}\nexpressions:\n" + "  - A = 1\n" * 201, "at most 200 entries, found 201"),
        (
            "declaration: {A: []}\nexpressions:\n" + f"  - A = {'1+' * 900}1\n" * 30,
            "more than 40000 characters",
        ),
    ],
)
def test_shape_errors(text, message):
    with pytest.raises(InputError) as caught:
        parse_cascade(text, "f.yaml")
    assert message in caught.value.message
    assert caught.value.location is not None
    assert caught.value.location.line >= 1


def test_unknown_library_name():
    with pytest.raises(InputError) as caught:
        load_cascade("attention-1-pas")
    assert "unknown cascade 'attention-1-pas'" in str(caught.value)
    assert "did you mean 'attention-1-pass'" in str(caught.value)


def test_how_an_error_reads():
    error = unknown("tensor", "QQ", ["Q", "K"], location=Location("f.yaml", 3, 6, "\tY = QQ", 2))
    assert str(error).splitlines() == [
        "f.yaml:3:6: unknown tensor 'QQ'",
        "   Y = QQ",
        "       ^^",
        "  did you mean 'Q'?",
    ]
    assert str(InputError("no place")) == "no place"
    assert InputError("x", hint="y").at(Location("f")).hint == "y"
    assert error.at(Location("g")) is error
    assert nearest("zzz", ["a", "b"]) == "known names: a, b"
    assert nearest("zzz", []) == ""
    assert len(str(unknown("tensor", "x" * 5000, ["a"]))) < 200
