"""The library's attention algorithms against NumPy statements of their mathematics, as written and in one pass."""

from functools import cache

import numpy as np
import pytest
from derived import derive

from einsum_cascades.interpreter import run
from einsum_cascades.load import load_cascade, parse_cascade
from einsum_cascades.passes import analyse_passes
from einsum_cascades.rewrites import risks

SHAPES = [(5, 4, 12, 12), (3, 2, 12, 5), (2, 3, 4, 9), (1, 1, 4, 1)]
"""E, F, keys M, queries P; M is a multiple of 4, so that it can be cut into tiles."""


def softmax(scores, allowed=None):
    """Over the keys that are allowed; 0 for a query that has none."""
    result = np.zeros_like(scores)
    for p in range(scores.shape[1]):
        keys = np.arange(scores.shape[0]) if allowed is None else np.flatnonzero(allowed[:, p])
        if keys.size:
            result[keys, p] = np.exp(scores[keys, p] - np.logaddexp.reduce(scores[keys, p]))
    return result


def places(scores):
    """The key's place and the query's, both counted from the last: the last query stands at the last key."""
    keys, queries = scores.shape
    return np.arange(keys)[:, None] - (keys - 1), np.arange(queries)[None, :] - (queries - 1)


def plain(x):
    return x["V"] @ softmax(x["K"].T @ x["Q"])


def causal(x):
    scores = x["K"].T @ x["Q"]
    key, query = places(scores)
    return x["V"] @ softmax(scores, key <= query)


def alibi(x):
    scores = x["K"].T @ x["Q"]
    key, query = places(scores)
    return x["V"] @ softmax(scores - x["SLOPE"] * (query - key), key <= query)


def window(x):
    scores = x["K"].T @ x["Q"]
    key, query = places(scores)
    return x["V"] @ softmax(scores, (key <= query) & (key > query - x["W"]))


def soft_cap(x):
    return x["V"] @ softmax(x["CAP"] * np.tanh(x["K"].T @ x["Q"] / x["CAP"]))


def differential(x):
    first, second = (softmax(x[f"K{i}"].T @ x[f"Q{i}"]) for i in (1, 2))
    return x["V"] @ (first - x["LAMBDA"] * second)


def sigmoid(x):
    odds = np.exp(np.clip(x["K"].T @ x["Q"], -700, 700)) / x["K"].shape[1]
    return x["V"] @ (odds / (1 + odds))


def relu(x):
    scores = x["K"].T @ x["Q"]
    return x["V"] @ np.where(scores > 0, scores, 0) / len(scores)


def linear(x):
    """phi(Q) (phi(K)^T V) / (phi(Q) sum phi(K)), phi = elu + 1."""
    q, k = (np.where(a > 0, a + 1, np.exp(np.minimum(a, 0))) for a in (x["Q"], x["K"]))
    weights = k.T @ q
    return x["V"] @ weights / weights.sum(axis=0)


ALGORITHMS = {
    "attention-alibi": (alibi, 3, 1),
    "attention-causal": (causal, 3, 1),
    "attention-differential": (differential, 3, 1),
    "attention-linear": (linear, 1, 1),
    "attention-relu": (relu, 1, 1),
    "attention-sigmoid": (sigmoid, 1, 1),
    "attention-sliding-window": (window, 3, 1),
    "attention-soft-cap": (soft_cap, 3, 1),
    "attention-softmax-unstable": (plain, 2, 1),
    "attention-split-k": (plain, 1, 1),
}
"""The mathematics, the passes over the keys as written, and those of the form that the rewrites derive."""


def inputs_of(cascade, shape, seed, scale):
    rng = np.random.default_rng(seed)
    sizes = dict(zip("EFMP", shape, strict=True))
    plain_ranks = {"BK": ("K", "EM"), "BV": ("V", "FM")}
    found = {}
    for tensor in cascade.inputs:
        name, ranks = plain_ranks.get(tensor, (tensor, cascade.ranks_of[tensor]))
        found[name] = scale * rng.normal(size=[sizes[r] for r in ranks])
    special = {"SLOPE": 0.25, "W": float(rng.integers(1, 6)), "CAP": 3.0, "LAMBDA": 0.6}
    return found | {name: np.asarray(value) for name, value in special.items() if name in found}


@cache
def derived(name):
    return derive(load_cascade(name))


@pytest.mark.parametrize("name", ALGORITHMS)
def test_against_numpy_as_written_and_derived(name):
    """For inputs of size 1 and 1000; queries that see no key get 0; whatever tiles the derived form is cut into."""
    mathematics, _, _ = ALGORITHMS[name]
    source = load_cascade(name)
    for number, shape in enumerate(SHAPES):
        for scale in (1.0,) if name == "attention-softmax-unstable" else (1.0, 1e3):
            inputs = inputs_of(source, shape, number, scale)
            expected = mathematics(inputs)
            for cascade in (source, derived(name).cascade):
                for tile in (1, 2, 4) if cascade.partitions else (None,):
                    found = run(cascade, inputs, sizes={"M0": tile} if tile else {})["AV"]
                    assert np.isfinite(found).all()
                    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12 * max(1, np.abs(expected).max()))


@pytest.mark.parametrize(("name", "passes", "least"), [(n, a, b) for n, (_, a, b) in ALGORITHMS.items()])
def test_passes(name, passes, least):
    cascade = load_cascade(name)
    assert analyse_passes(cascade, "M").passes == passes
    assert derived(name).passes == analyse_passes(derived(name).cascade, "M").passes == least
    assert not derived(name).warnings
    assert cascade.title
    assert "arXiv" in cascade.citation or "PyTorch" in cascade.citation


def test_every_query_without_a_key_gets_zero():
    """More queries than keys: the first ones stand before the first key; a window of 0 shows none at all."""
    for name in ("attention-causal", "attention-alibi", "attention-sliding-window"):
        for cascade in (load_cascade(name), derived(name).cascade):
            inputs = inputs_of(load_cascade(name), (2, 3, 4, 9), 1, 1.0)
            sizes = {"M0": 2} if cascade.partitions else {}
            found = run(cascade, inputs, sizes=sizes)["AV"]
            assert (found[:, :5] == 0).all()
            assert (found[:, 5:] != 0).all()
            if "W" in inputs:
                assert (run(cascade, {**inputs, "W": 0.0}, sizes=sizes)["AV"] == 0).all()


def test_a_window_of_all_keys_is_the_causal_mask():
    inputs = inputs_of(load_cascade("attention-causal"), (4, 4, 12, 7), 3, 1.0)
    found = run(load_cascade("attention-sliding-window"), {**inputs, "W": 12.0})["AV"]
    np.testing.assert_array_equal(found, run(load_cascade("attention-causal"), inputs)["AV"])


def test_only_the_unstable_softmax_can_overflow():
    for name in ALGORITHMS:
        assert bool(risks(load_cascade(name))) == (name == "attention-softmax-unstable")
        assert bool(risks(derived(name).cascade)) == (name == "attention-softmax-unstable")
    source = load_cascade("attention-softmax-unstable")
    large = inputs_of(source, (4, 4, 12, 5), 0, 1e3)
    assert not np.isfinite(run(source, large)["AV"]).all()


def test_a_mask_may_stand_anywhere():
    """On the score inside the exponential, or as a choice between the numerator and 0: one pass as well."""
    base = str(load_cascade("attention-3-pass"))
    score, mask = "QK[m, p]", "m <= p + (M - P)"
    forms = (
        base.replace(f"exp({score} - GM[p])", f"exp(where({mask}, {score}, -inf) - GM[p])"),
        base.replace(f"exp({score} - GM[p])", f"where(m > p + (M - P), 0, exp({score} - GM[p]))"),
        base.replace(f"exp({score} - GM[p])", f"exp({score} - GM[p]) * ({mask})"),
    )
    inputs = inputs_of(load_cascade("attention-causal"), (4, 3, 12, 7), 5, 1.0)
    for text in forms:
        derivation = derive(parse_cascade(text))
        assert derivation.passes == 1
        found = run(derivation.cascade, inputs, sizes={"M0": 3})["AV"]
        np.testing.assert_allclose(found, causal(inputs), rtol=1e-9)


def test_masks_are_not_weighed_as_tensors():
    """A mask adds a comparison and a choice per score, and nothing that moves."""
    causal_, plain_ = load_cascade("attention-causal"), load_cascade("attention-3-pass")
    assert causal_.inputs == plain_.inputs
    assert {e.name for e in causal_.einsums} - {e.name for e in plain_.einsums} == {"QKM", "FM", "FD"}
