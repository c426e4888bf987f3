"""Masks and the rewrites: whole hidden tiles, -inf in inputs, equal numbers, and a check that says what it compared."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from derived import derive
from hypothesis import given, settings
from hypothesis import strategies as st

from einsum_cascades.errors import InputError
from einsum_cascades.interpreter import run
from einsum_cascades.ir import Apply
from einsum_cascades.load import load_cascade, parse_cascade
from einsum_cascades.rewrites import compare, is_isomorphic, risks
from einsum_cascades.rewrites.check import LEAST_VALUES

P, E, F = 7, 3, 2


def cascade_of(declaration, *expressions, name="mine"):
    lines = [f"name: {name}", f"declaration: {{{declaration}}}", "expressions:"]
    return parse_cascade("\n".join([*lines, *(f"  - '{e}'" for e in expressions)]))


def attention_of(score, inputs, hidden="-inf"):
    return cascade_of(
        f"Q: [E, P], K: [E, M], V: [F, M], {inputs}, QK: [M, P], S: [M, P], GM: [P], SN: [M, P], SD: [P], A: [M, P], "
        "AV: [F, P]",
        "QK[m, p] = Q[e, p] * K[e, m]",
        f"S[m, p] = {score}",
        "GM[p] = S[m, p] :: reduce(m) max",
        "SN[m, p] = exp(S[m, p] - GM[p])",
        "SD[p] = SN[m, p]",
        "A[m, p] = SN[m, p] / SD[p]",
        "AV[f, p] = A[m, p] * V[f, m]",
    )


m, p = np.arange(64)[:, None], np.arange(P)[None, :]
"""Places of keys and queries; keys are cut to the number that there are."""

MASKS = {
    "document": (
        attention_of("where(DQ[p] == DK[m], QK[m, p], -inf)", "DQ: [P], DK: [M]"),
        lambda x, n: x["DK"][:, None] == x["DQ"][None, :],
    ),
    "key mask": (
        attention_of("where(KEEP[m] > 0, QK[m, p], -inf)", "KEEP: [M]"),
        lambda x, n: np.broadcast_to(x["KEEP"][:, None] > 0, (n, P)),
    ),
    "hidden keys": (
        attention_of("where(GONE[m] == 1, -inf, QK[m, p])", "GONE: [M]"),
        lambda x, n: np.broadcast_to(x["GONE"][:, None] != 1, (n, P)),
    ),
    "matrix of flags": (
        attention_of("where(FLAG[m, p] > 0, QK[m, p], -inf)", "FLAG: [M, P]"),
        lambda x, n: x["FLAG"] > 0,
    ),
    "left padding": (
        attention_of("where(m >= PAD, QK[m, p], -inf)", "PAD: []"),
        lambda x, n: np.broadcast_to(m[:n] >= x["PAD"], (n, P)),
    ),
    "window": (
        attention_of("where(min(m <= p, p - m < W), QK[m, p], -inf)", "W: []"),
        lambda x, n: (m[:n] <= p) & (p - m[:n] < x["W"]),
    ),
    "window from the end": (
        attention_of("where(min(m <= p + (M - P), p + (M - P) - m < W), tanh(QK[m, p]), -inf)", "W: []"),
        lambda x, n: (m[:n] <= p + n - P) & (p + n - P - m[:n] < x["W"]),
    ),
    "lengths": (
        attention_of("where(m < LEN[p], QK[m, p], -inf)", "LEN: [P]"),
        lambda x, n: m[:n] < x["LEN"][None, :],
    ),
    "additive": (attention_of("QK[m, p] + BIAS[m, p]", "BIAS: [M, P]"), lambda x, n: np.isfinite(x["BIAS"])),
    "logarithm": (
        attention_of("QK[m, p] + log(KEEP[m])", "KEEP: [M]"),
        lambda x, n: np.broadcast_to(x["KEEP"][:, None] > 0, (n, P)),
    ),
}
"""For each kind of mask, attention as a user writes it, and which keys count as NumPy says it."""


@cache
def derived(name):
    found = derive(MASKS[name][0])
    assert (found.passes_before, found.passes) == (3, 1)
    assert parse_cascade(str(found.cascade)) == found.cascade
    return found


def softmax_of(name, inputs, keys):
    """The result by NumPy; no number for a query that sees no key."""
    scores = np.einsum("ep,em->mp", inputs["Q"], inputs["K"])
    scores = np.tanh(scores) if name == "window from the end" else scores
    scores = scores + np.nan_to_num(inputs["BIAS"], neginf=0.0) if "BIAS" in inputs else scores
    seen = MASKS[name][1](inputs, keys)
    result = np.full((F, P), np.nan)
    for q in np.flatnonzero(seen.any(axis=0)):
        chosen = scores[seen[:, q], q]
        weights = np.exp(chosen - np.logaddexp.reduce(chosen))
        result[:, q] = inputs["V"][:, seen[:, q]] @ weights
    return result


def masked_inputs(cascade, keys, hidden, rng, ties):
    """Inputs that hide keys in the way a mask does; scores of whole numbers have ties."""
    draw = (lambda *shape: rng.integers(-2, 3, shape).astype(float)) if ties else (lambda *s: 3 * rng.normal(size=s))
    own = {
        "DQ": lambda: rng.integers(0, 3, P).astype(float),
        "DK": lambda: np.where(hidden[:, 0], 0.0, rng.integers(0, 3, keys)),
        "KEEP": lambda: np.where(hidden[:, 0], 0.0, 1.0),
        "GONE": lambda: np.where(hidden[:, 0], 1.0, 0.0),
        "FLAG": lambda: np.where(hidden, 0.0, 1.0),
        "BIAS": lambda: np.where(hidden, -np.inf, rng.integers(-1, 2, hidden.shape)),
        "PAD": lambda: np.asarray(float(rng.integers(0, keys + 1))),
        "W": lambda: np.asarray(float(rng.integers(1, keys + 1))),
        "LEN": lambda: rng.integers(0, keys + 1, P).astype(float),
    }
    inputs = {"Q": draw(E, P), "K": draw(E, keys), "V": draw(F, keys)}
    return inputs | {t: own[t]() for t in cascade.inputs if t in own}


def try_masks(name, seed, tile, tiles, ties):
    rng = np.random.default_rng(seed)
    keys = tile * tiles
    hidden = np.repeat(rng.random((tiles, P)) < 0.5, tile, axis=0) | (rng.random((keys, P)) < rng.choice([0.0, 0.3]))
    inputs = masked_inputs(MASKS[name][0], keys, hidden, rng, ties)
    found = run(derived(name).cascade, inputs, sizes={"M0": tile})["AV"]
    np.testing.assert_allclose(found, softmax_of(name, inputs, keys), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", MASKS)
@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 5), st.booleans())
@settings(max_examples=3, deadline=None)
def test_whole_hidden_tiles(name, seed, tile, tiles, ties):
    """The form with one pass against NumPy; a query that sees no key has no number in both."""
    try_masks(name, seed, tile, tiles, ties)


@pytest.mark.slow
@pytest.mark.parametrize("name", MASKS)
@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 5), st.booleans())
@settings(max_examples=300, deadline=None)
def test_whole_hidden_tiles_many(name, seed, tile, tiles, ties):
    try_masks(name, seed, tile, tiles, ties)


@pytest.mark.parametrize("name", ["key mask", "additive"])
def test_every_form_of_a_masked_cascade(name):
    """Not only the best: also results per tile, and those that are normalised again at every tile."""
    source = MASKS[name][0]
    for form in derived(name).forms:
        assert not risks(form.cascade)
        found = compare(source, form.cascade, seed=5)
        assert found.error <= 1e-12
        assert found.compared >= LEAST_VALUES


def test_every_finite_score_counts():
    """The floor is no number that a score may lie below, in float32 neither."""
    source = MASKS["additive"][0]
    low = np.full((6, P), -3e38, np.float32)
    low[:2] = -np.inf
    inputs = {"Q": np.zeros((E, P)), "K": np.zeros((E, 6)), "V": np.ones((F, 6)), "BIAS": low}
    inputs = {name: array.astype(np.float32) for name, array in inputs.items()}
    for cascade in (source, derived("additive").cascade):
        np.testing.assert_array_equal(run(cascade, inputs, sizes={"M0": 2} if cascade.partitions else {})["AV"], 1)


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("name", ["log-sum-exp", "softmax-matmul"])
def test_infinite_inputs_of_the_library(name, sign):
    rng = np.random.default_rng(2)
    x, v = rng.normal(size=(3, 16)), rng.normal(size=(16, 2))
    x[:, : 8 if sign < 0 else None : 1 if sign < 0 else 3] = -np.inf
    cascade = derive(load_cascade(name)).cascade
    inputs = {"X": x, "V": v} if name == "softmax-matmul" else {"X": x}
    found = run(cascade, inputs, sizes={"M0": 4})["Z" if name == "softmax-matmul" else "LSE"]
    sums = np.logaddexp.reduce(x, axis=1)
    expected = np.exp(x - sums[:, None]) @ v if name == "softmax-matmul" else sums
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_scores_that_are_finite_need_no_floor():
    assert is_isomorphic(derive(load_cascade("attention-3-pass")).cascade, load_cascade("attention-1-pass"))
    assert "where" not in str(derive(load_cascade("attention-3-pass")).cascade)
    assert "== -inf, 0," in str(derived("additive").cascade)


# ---------------------------------------------------------------- arg max, moments, logarithms

SOFTMAX = ("GM[p] = X[p, m] :: reduce(m) max", "SN[p, m] = exp(X[p, m] - GM[p])", "SD[p] = SN[p, m]")


def best_values(x, v):
    return np.array([v[row == row.max()].mean(axis=0) for row in x])


CHOICES = {
    "mean of the best": (
        cascade_of(
            "X: [P, M], V: [M, F], GM: [P], H: [P, M], N: [P], AV: [P, F], O: [P, F]",
            "GM[p] = X[p, m] :: reduce(m) max",
            "H[p, m] = X[p, m] == GM[p]",
            "N[p] = H[p, m]",
            "AV[p, f] = H[p, m] * V[m, f]",
            "O[p, f] = AV[p, f] / N[p]",
        ),
        best_values,
    ),
    "last of the best": (
        cascade_of(
            "X: [P, M], GM: [P], O: [P]",
            "GM[p] = X[p, m] :: reduce(m) max",
            "O[p] = where(X[p, m] >= GM[p], m, -inf) :: reduce(m) max",
        ),
        lambda x, v: np.array([np.flatnonzero(row == row.max()).max() for row in x]),
    ),
    "first of the least": (
        cascade_of(
            "X: [P, M], GM: [P], O: [P]",
            "GM[p] = X[p, m] :: reduce(m) min",
            "O[p] = where(GM[p] == X[p, m], m, inf) :: reduce(m) min",
        ),
        lambda x, v: np.array([np.flatnonzero(row == row.min()).min() for row in x]),
    ),
}


@cache
def chosen(name):
    found = derive(CHOICES[name][0])
    assert (found.passes_before, found.passes) == (2, 1)
    return found.cascade


@pytest.mark.parametrize("name", CHOICES)
@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 4))
@settings(max_examples=5, deadline=None)
def test_what_stands_at_the_largest(name, seed, tile, tiles):
    rng = np.random.default_rng(seed)
    x = rng.integers(-2, 3, (4, tile * tiles)).astype(float)
    x[0, : tile * (tiles // 2)] = -np.inf if name != "first of the least" else np.inf
    v = rng.normal(size=(tile * tiles, 2))
    source, expected = CHOICES[name]
    given = {"X": x, "V": v} if "V" in source.ranks_of else {"X": x}
    np.testing.assert_allclose(run(chosen(name), given, sizes={"M0": tile})["O"], expected(x, v), rtol=1e-12)


def test_a_choice_that_counts_the_others_too_is_no_selection():
    """1 - H keeps what is not the largest: no reset is right for it."""
    source = cascade_of(
        "X: [P, M], V: [P, M], GM: [P], O: [P]",
        "GM[p] = X[p, m] :: reduce(m) max",
        "O[p] = (1 - (X[p, m] == GM[p])) * V[p, m]",
    )
    assert derive(source).passes == 2


def test_means_over_several_ranks():
    source = cascade_of(
        "X: [B, C, S], MU: [C], SS: [C]",
        "MU[c] = X[b, c, s] / (B * S)",
        "SS[c] = (X[b, c, s] - MU[c]) * (X[b, c, s] - MU[c])",
    )
    found = derive(source, "B")
    assert (found.passes_before, found.passes) == (2, 1)
    assert found.cautions
    x = np.random.default_rng(4).normal(size=(5, 3, 4))
    np.testing.assert_allclose(run(found.cascade, {"X": x})["SS"], 20 * x.var(axis=(0, 2)), rtol=1e-12)


def test_a_rank_that_a_moment_lacks_counts():
    """Bias G is the same along n: its moments are multiplied by N."""
    source = cascade_of(
        "X: [P, M, N], G: [M], MU: [P], O: [P]",
        "MU[p] = X[p, m, n] / (M * N)",
        "O[p] = (X[p, m, n] + G[m] - MU[p]) * (X[p, m, n] + G[m] - MU[p])",
    )
    found = derive(source, "M")
    assert found.passes == 1
    rng = np.random.default_rng(4)
    x, g = rng.normal(size=(3, 4, 5)), rng.normal(size=4)
    expected = ((x + g[:, None] - x.mean(axis=(1, 2), keepdims=True)) ** 2).sum(axis=(1, 2))
    np.testing.assert_allclose(run(found.cascade, {"X": x, "G": g})["O"], expected, rtol=1e-11)


def log_softmax(x):
    return x - np.logaddexp.reduce(x, axis=1)[:, None]


LOGARITHMS = {
    "entropy": (
        cascade_of(
            "X: [P, M], GM: [P], SN: [P, M], SD: [P], A: [P, M], O: [P]",
            *SOFTMAX,
            "A[p, m] = SN[p, m] / SD[p]",
            "O[p] = -A[p, m] * log(A[p, m])",
        ),
        lambda x, z: -(np.exp(log_softmax(x)) * log_softmax(x)).sum(axis=1),
    ),
    "divergence": (
        cascade_of(
            "X: [P, M], Z: [P, M], GM: [P], SN: [P, M], SD: [P], G2: [P], S2: [P, M], D2: [P], A: [P, M], B: [P, M], "
            "O: [P]",
            *SOFTMAX,
            "G2[p] = Z[p, m] :: reduce(m) max",
            "S2[p, m] = exp(Z[p, m] - G2[p])",
            "D2[p] = S2[p, m]",
            "A[p, m] = SN[p, m] / SD[p]",
            "B[p, m] = S2[p, m] / D2[p]",
            "O[p] = A[p, m] * log(A[p, m] / B[p, m])",
        ),
        lambda x, z: (np.exp(log_softmax(x)) * (log_softmax(x) - log_softmax(z))).sum(axis=1),
    ),
    "through a log-sum-exp": (
        cascade_of(
            "X: [P, M], Z: [P, M], GM: [P], SD: [P], L: [P], O: [P]",
            "GM[p] = X[p, m] :: reduce(m) max",
            "SD[p] = exp(X[p, m] - GM[p])",
            "L[p] = GM[p] + log(SD[p])",
            "O[p] = exp(X[p, m] - L[p]) * (X[p, m] - L[p] - Z[p, m])",
        ),
        lambda x, z: (np.exp(log_softmax(x)) * (log_softmax(x) - z)).sum(axis=1),
    ),
}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] if n in ("divergence", "entropy") else []) for n in LOGARITHMS]
)
def test_logarithms_of_products(name):
    source, expected = LOGARITHMS[name]
    found = derive(source)
    assert (found.passes_before, found.passes) == (3, 1)
    assert not found.warnings
    rng = np.random.default_rng(8)
    for scale in (1.0, 5.0):
        x, z = scale * rng.normal(size=(3, 12)), scale * rng.normal(size=(3, 12))
        given = {"X": x, "Z": z} if "Z" in source.ranks_of else {"X": x}
        one_pass = run(found.cascade, given, sizes={"M0": 4})["O"]
        np.testing.assert_allclose(one_pass, expected(x, z), rtol=1e-9, atol=1e-11)


def test_a_log_sum_exp_is_above_what_it_sums():
    """No exponential of x less it can overflow, and the softmax that it gives goes from three passes to two."""
    source = cascade_of(
        "X: [P, M], GM: [P], SD: [P], L: [P], A: [P, M]",
        "GM[p] = X[p, m] :: reduce(m) max",
        "SD[p] = exp(X[p, m] - GM[p])",
        "L[p] = GM[p] + log(SD[p])",
        "A[p, m] = exp(X[p, m] - L[p])",
    )
    assert risks(source) == ()
    found = derive(source)
    assert (found.passes_before, found.passes) == (3, 2)
    assert found.warnings == ()


def test_a_logarithm_of_what_may_be_negative_stays_whole():
    """log(x * s) is finite for a negative x and s, log(x) and log(s) are not."""
    source = cascade_of("X: [M], S: [], O: []", "S = X[m]", "O = log(X[m] * S)")
    assert all("log(S)" not in str(form.cascade) for form in derive(source).forms)


# ---------------------------------------------------------------- the check


def test_a_form_without_its_floor_is_found_out():
    """The hidden tiles of the check turn exp(-inf - -inf) into no number."""
    right = derived("key mask").cascade
    unfloored = [
        replace(e, expression=e.expression.operands[2]) if isinstance(e.expression, Apply) and e.name == "FGM" else e
        for e in right.body
    ]
    source = MASKS["key mask"][0]
    assert compare(source, right).error <= 1e-12
    found = compare(source, replace(right, body=tuple(unfloored)))
    assert not found.finite
    assert found.hidden > 0


@pytest.mark.parametrize("name", MASKS)
def test_each_kind_of_mask_is_tried(name):
    """Once there are tiles: rows that lack whole ones and see something; and finite values to compare."""
    for step in derived(name).steps:
        assert step.hidden > 0 or not step.cascade.partitions
        assert step.compared >= 5 * LEAST_VALUES


def test_no_numbers_are_no_evidence():
    source = cascade_of("X: [M], S: [], Z: [], O: []", "S = X[m]", "Z = log(-1 - X[m] * X[m]) * S", "O = Z * S")
    with pytest.raises(InputError, match=r"cannot be checked: 0 of \d+ values of O are finite") as caught:
        derive(source)
    assert "Z must be finite" in caught.value.hint


def test_another_infinity_is_an_error():
    source = cascade_of("X: [M], B: [M], O: [M]", "O[m] = where(B[m] > 0, X[m], -inf)")
    other = cascade_of("X: [M], B: [M], O: [M]", "O[m] = where(B[m] > 0, X[m], inf)")
    assert compare(source, source).error == 0
    assert compare(source, other).error == np.inf


# ---------------------------------------------------------------- what is said


def test_warnings_of_every_step():
    found = derive(load_cascade("log-sum-exp"), allow_unstable=True)
    risky = next(form for form in found.forms if len(form.steps) > 1 and form.steps[0].warnings)
    assert set(risky.steps[0].warnings) <= set(risky.warnings)


def test_the_true_reason_and_a_remedy():
    scaled = cascade_of("X: [M], T: [], GM: [], SD: []", "GM = X[m] :: reduce(m) max", "SD = exp((X[m] - GM) * T)")
    (reason,) = derive(scaled).obstacles
    assert "no rule" not in reason
    assert "need not be finite at the start, with GM' = -inf" in reason
    signed = cascade_of("X: [M], W: [M], S: [], Z: []", "S = X[m]", "Z = max(X[m] / S, W[m])")
    (reason,) = derive(signed).obstacles
    assert "no rule separates S from X[m] and W[m]" in reason
    (note,) = derived("key mask").notes
    assert note.endswith("FGM[p] = max(GM[p], -1e+30) in its place keeps it finite")
    assert derive(load_cascade("attention-sliding-window")).notes == ()


@pytest.mark.slow
def test_long_chains_take_linear_time():
    """120 Einsums before a softmax, by the time of this process."""
    import time

    chain = [f"T{i}[p, m] = tanh(T{i - 1}[p, m]) + T{i - 1}[p, m]" for i in range(1, 120)]
    ranks = ", ".join(f"T{i}: [P, M]" for i in range(120))
    source = cascade_of(
        f"X: [P, M], {ranks}, GM: [P], SN: [P, M], SD: [P], A: [P, M], V: [M], O: [P]",
        "T0[p, m] = 2 * X[p, m]",
        *chain,
        "GM[p] = T119[p, m] :: reduce(m) max",
        "SN[p, m] = exp(T119[p, m] - GM[p])",
        "SD[p] = SN[p, m]",
        "A[p, m] = SN[p, m] / SD[p]",
        "O[p] = A[p, m] * V[m]",
    )
    start = time.process_time()
    assert derive(source).passes == 1
    assert time.process_time() - start < 30
