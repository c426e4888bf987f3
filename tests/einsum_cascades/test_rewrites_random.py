"""Random cascades against what is derived from them, and what such comparisons can tell."""

import random
from contextlib import suppress

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from einsum_cascades.errors import InputError
from einsum_cascades.load import parse_cascade
from einsum_cascades.rewrites import compare, derive
from einsum_cascades.rewrites.tiles import Tiles


def cascade_of(declaration, *expressions):
    lines = ["name: mine", f"declaration: {{{declaration}}}", "expressions:"]
    return parse_cascade("\n".join([*lines, *(f"  - '{e}'" for e in expressions)]))


def random_cascade(seed):
    """A cascade of up to seven Einsums over P, F and M with every kind of operator, or None."""
    rng = random.Random(seed)
    ranks = {"X": "pm", "V": "fm", "W": "m", "N": ""}
    lines = []
    for number in range(rng.randint(2, 7)):
        picked = [rng.choice(list(ranks)[-5:] if rng.random() < 0.7 else list(ranks)) for _ in range(rng.randint(1, 3))]
        read = [f"{t}[{', '.join(ranks[t])}]" if ranks[t] else t for t in picked]
        text = read[0]
        for other in read[1:]:
            text = f"({text}) {rng.choice('+-**/')} {other}"
        text = rng.choice(["{}"] * 5 + ["exp({})", "exp({})", "tanh({})"]).format(text)
        walked = [v for v in "pfm" if any(v in ranks[t] for t in picked)]
        kept = [v for v in walked if rng.random() < (0.5 if v == "m" else 0.8)]
        folded = [v for v in walked if v not in kept]
        name = f"T{number}"
        ranks[name] = "".join(kept)
        output = f"{name}[{', '.join(kept)}]" if kept else name
        action = f" :: reduce({', '.join(folded)}) {rng.choice(['max', 'min', 'add'])}" if folded else ""
        lines.append(f"{output} = {text}{action if rng.random() < 0.5 else ''}")
    declaration = ", ".join(f"{t}: [{', '.join(r.upper())}]" for t, r in ranks.items())
    return cascade_of(declaration, *lines)


@given(st.integers(0, 10**6))
@example(259560)  # a sum of w/t where the w add up to 0
@example(2806)  # what is divided by adds up to 0
@example(3161)  # what is divided by is 0 or -0
@example(290)  # one mask hides tiles that another value is read from
@settings(max_examples=20, deadline=None)
def test_random_cascades(seed):
    """Whatever is derived has fewer passes, prints to what it is, and equals its source."""
    try:
        source = random_cascade(seed)
        derivation = derive(source)
    except InputError:
        return
    assert derivation.passes <= derivation.passes_before
    assert bool(derivation.obstacles) == (derivation.passes > 1)
    for form in derivation.forms:
        assert parse_cascade(str(form.cascade)) == form.cascade
        with suppress(InputError):  # other inputs than those of the derivation may leave nothing finite
            assert not compare(source, form.cascade, seed=77).error > 1e-9


def sums(last):
    """A sum of both signs and one above 0, and a result that reads them."""
    return cascade_of("X: [P, M], W: [M], T: [P], S: [], Y: [P]", "T[p] = exp(X[p, m])", "S = W[m]", f"Y[p] = {last}")


@pytest.mark.parametrize("seed", range(4))
def test_what_is_left_of_a_sum_of_zero_is_rounding(seed):
    """Some samples hold whole numbers that add up to 0: the sum of w/t is 1e-17 there, or 0."""
    source, deferred = sums("W[m] / T[p]"), sums("S / T[p]")
    assert compare(source, deferred, seed=seed).error < 1e-12
    assert compare(sums("T[p] / S"), sums("T[p] / S"), seed=seed).error == 0
    for wrong in ("W[m] * T[p]", "S / T[p] * 1.00000001", "S / T[p] + 1e-9", "0 * T[p]"):
        assert compare(source, sums(wrong), seed=seed).error > 1e-10


@pytest.mark.parametrize(
    ("declaration", "first", "last"),
    [("Y: []", "T[p] = X[p, m]", "Y = X[p, m] / T[p]"), ("Y: [P]", "T[p] = X[p, m]", "Y[p] = (X[p, m] + U[m]) / T[p]")],
)
def test_what_cancels_keeps_its_rank(declaration, first, last):
    """A sum over m over the same sum is 1 for each p, once for every p that is added up or written."""
    source = cascade_of(f"X: [P, M], U: [M], T: [P], {declaration}", first, last)
    found = derive(source)
    assert found.passes == 1
    for form in found.forms:
        assert parse_cascade(str(form.cascade)) == form.cascade
        assert compare(source, form.cascade, seed=3).error < 1e-12


def test_a_mask_may_hide_what_another_value_does_not():
    """The maximum of a tile is -inf where W hides it, yet U of that tile counts: nothing can be mended per tile."""
    source = cascade_of(
        "X: [P, M], U: [P, M], W: [M], G: [P], Y: [P]",
        "G[p] = X[p, m] + W[m] :: reduce(m) max",
        "Y[p] = U[p, m] - G[p] :: reduce(m) max",
    )
    found = derive(source)
    for form in found.forms:
        assert compare(source, form.cascade, seed=5).error < 1e-12
    assert found.passes == 1  # by deferring G
    assert not any(step.name == "correct-locally" for form in found.forms for step in form.steps)


@pytest.mark.parametrize(
    ("fold", "last"),
    [
        ("'G = tanh(W[m]) :: reduce(m) min'", "G * X[p, m]"),
        ("'G = W[m] * W[m] :: reduce(m) max'", "G * X[p, m]"),
        ("G = W[m]", "G * X[p, m] + X[p, m]"),
        ("G = W[m]", "G / G - X[p, m]"),
    ],
)
def test_no_division_by_what_may_be_0_on_the_way(fold, last):
    """A minimum or a sum of both signs may pass 0, and what was scaled by it is lost there."""
    source = cascade_of("X: [P, M], W: [M], G: [], Y: [P]", fold.strip("'"), f"Y[p] = {last}")
    tiles = Tiles(source, "M")
    assert "Y" not in tiles.movable
    assert "may be 0 on the way" in tiles.reasons["Y"]


def test_division_by_what_is_above_0_on_the_way():
    source = cascade_of("X: [P, M], W: [M], G: [], Y: [P]", "G = sigmoid(W[m]) :: reduce(m) max", "Y[p] = G * X[p, m]")
    assert "Y" in Tiles(source, "M").movable
