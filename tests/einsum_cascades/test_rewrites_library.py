"""The cascades that joined the library for the rewrites, against NumPy statements of their mathematics."""

import numpy as np
import pytest
from derived import derive

from einsum_cascades.interpreter import run
from einsum_cascades.load import load_cascade, parse_cascade
from einsum_cascades.passes import analyse_passes

P, M, F = 3, 12, 5


def layer_norm(x, g, b, w):
    centred = x - x.mean(axis=1, keepdims=True)
    return (centred / np.sqrt(x.var(axis=1, keepdims=True) + 1e-5) * g + b) @ w


def rms_norm(x, g, w):
    return (x / np.sqrt(np.mean(x**2, axis=1, keepdims=True) + 1e-5) * g) @ w


def log_sum_exp(x):
    return np.logaddexp.reduce(x, axis=1)


def softmax(x):
    return np.exp(x - log_sum_exp(x)[:, None])


def cross_entropy(x, y):
    return -np.sum(y * (x - log_sum_exp(x)[:, None]), axis=1)


def inputs_of(name, seed, scale):
    rng = np.random.default_rng(seed)
    x, y = scale * rng.normal(size=(P, M)), rng.uniform(0.5, 1.5, size=(P, M))
    g, b, w, v = (rng.normal(size=s) for s in ((M,), (M,), (M, F), (M, F)))
    table = {
        "layer-norm": ({"X": x, "G": g, "B": b, "W": w, "COUNT": float(M)}, ("Z", lambda: layer_norm(x, g, b, w))),
        "rms-norm": ({"X": x, "G": g, "W": w, "COUNT": float(M)}, ("Z", lambda: rms_norm(x, g, w))),
        "variance": ({"X": x, "COUNT": float(M)}, ("VAR", lambda: x.var(axis=1))),
        "log-sum-exp": ({"X": x}, ("LSE", lambda: log_sum_exp(x))),
        "cross-entropy": ({"X": x, "Y": y}, ("LOSS", lambda: cross_entropy(x, y))),
        "softmax-matmul": ({"X": x, "V": v}, ("Z", lambda: softmax(x) @ v)),
    }
    return table[name]


NAMES = {"layer-norm": 3, "rms-norm": 2, "variance": 2, "log-sum-exp": 2, "cross-entropy": 3, "softmax-matmul": 3}


@pytest.mark.parametrize("scale", [1.0, 1e3])
@pytest.mark.parametrize("name", NAMES)
def test_as_written_and_in_one_pass(name, scale):
    """Both forms against NumPy, for inputs of size 1 and of size 1000."""
    source = load_cascade(name)
    derivation = derive(source)
    for seed in range(3):
        inputs, (result, expected) = inputs_of(name, seed, scale)
        for cascade in (source, derivation.cascade):
            sizes = {"M0": 4} if cascade.partitions else {}
            given = {dict(cascade.views).get(t, t): inputs[dict(cascade.views).get(t, t)] for t in cascade.inputs}
            found = run(cascade, given, sizes=sizes)[result]
            assert np.isfinite(found).all()
            np.testing.assert_allclose(found, expected(), rtol=1e-11, atol=1e-12 * np.abs(expected()).max())


@pytest.mark.parametrize(("name", "passes"), NAMES.items())
def test_passes_and_form(name, passes):
    cascade = load_cascade(name)
    assert analyse_passes(cascade).passes == passes
    assert cascade.title
    assert cascade.citation
    assert parse_cascade(str(cascade)) == cascade
