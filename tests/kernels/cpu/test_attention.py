"""The four kernels against the float64 interpreter, a float64 statement in NumPy, and bounds on rounding."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from einsum_cascades.errors import InputError
from einsum_cascades.interpreter import run
from einsum_cascades.load import load_cascade
from kernels import CASCADES, attention
from kernels.cpu.attention import plan
from kernels.cpu.tiles import AttentionShape

EPS = 2.0**-23
TOLERANCE = 2e-6
"""Relative error in the norm on standard normal inputs."""

every_cascade = pytest.mark.parametrize("cascade", CASCADES)


def normal(seed, *shapes):
    random = np.random.default_rng(seed)
    return [random.standard_normal(shape).astype(np.float32) for shape in shapes]


def scores(q, k, scale, causal):
    found = scale * np.einsum("...pe,...me->...pm", q.astype(float), k.astype(float))
    queries, keys = found.shape[-2:]
    hidden = np.arange(keys) > np.arange(queries)[:, None] + (keys - queries)
    return np.where(hidden & causal, -np.inf, found)


def weights(q, k, scale, causal):
    """The softmax in float64; zeros for queries that see no key."""
    s = scores(q, k, scale, causal)
    top = s.max(axis=-1, keepdims=True)
    found = np.exp(s - np.where(np.isfinite(top), top, 0))
    total = found.sum(axis=-1, keepdims=True)
    return found / np.where(total > 0, total, 1)


def stated(q, k, v, scale=1.0, causal=False):
    """Attention in float64."""
    return weights(q, k, scale, causal) @ v.astype(float)


def usual_norm(q, k, v, scale=1.0, causal=False):
    """The norm that a result has on average over the signs of v; one of few values may cancel to less by chance."""
    return np.sqrt((weights(q, k, scale, causal) ** 2 @ v.astype(float) ** 2).sum())


def error(found, expected, norm=0.0):
    """Error relative to the norm of what is expected, or to ``norm`` where that is larger."""
    norm = max(np.linalg.norm(expected), norm)
    return np.linalg.norm(found - expected) / (norm or 1)


def allowed(q, k, scale=1.0):
    """The error that float32 may cost: rounding a score s alone may change its weight by EPS/2 * |s|.

    Products sum in an order that the BLAS of a processor chooses, so rounding errs on either side of that.
    """
    return max(TOLERANCE, EPS * np.abs(scores(q, k, scale, False)).max())


# ---------------------------------------------------------------- values


@every_cascade
@settings(max_examples=10, deadline=None)
@given(
    sizes=st.tuples(st.integers(1, 4), st.integers(1, 12), st.integers(1, 40), st.integers(1, 24), st.integers(1, 24)),
    seed=st.integers(0, 2**32 - 1),
)
def test_equal_to_the_interpreter(cascade, sizes, seed):
    """The scale is 1, so scores are not small."""
    m1, m0, queries, e, f = sizes
    q, k, v = normal(seed, (queries, e), (m1 * m0, e), (m1 * m0, f))
    given_inputs = {"Q": q.T.astype(float), "K": k.T.astype(float), "V": v.T.astype(float)}
    tiled = load_cascade(cascade).partitions
    expected = run(load_cascade(cascade), given_inputs, sizes={"M0": m0} if tiled else None)["AV"].T
    found = attention(q, k, v, cascade=cascade)
    assert error(found, expected, usual_norm(q, k, v)) <= allowed(q, k)


@every_cascade
@settings(max_examples=12, deadline=None)
@given(
    lead=st.sampled_from([(), (1,), (3,), (2, 2)]),
    sizes=st.tuples(st.integers(1, 400), st.integers(1, 1500), st.integers(1, 160), st.integers(1, 160)),
    causal=st.booleans(),
    threads=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_equal_to_the_statement(cascade, lead, sizes, causal, threads, seed):
    queries, keys, e, f = sizes
    q, k, v = normal(seed, (*lead, queries, e), (*lead, keys, e), (*lead, keys, f))
    scale = e**-0.5
    found = attention(q, k, v, cascade=cascade, causal=causal, scale=scale, threads=threads)
    assert found.dtype == np.float32
    assert error(found, stated(q, k, v, scale, causal), usual_norm(q, k, v, scale, causal)) <= allowed(q, k, scale)


@every_cascade
@pytest.mark.parametrize("shape", [(2, 129, 2500, 128, 128), (1, 700, 3001, 33, 65), (1, 90, 4000, 256, 16)])
@pytest.mark.parametrize("causal", [False, True])
def test_many_tiles_unscaled(cascade, shape, causal):
    heads, queries, keys, e, f = shape
    q, k, v = normal(1, (heads, queries, e), (heads, keys, e), (heads, keys, f))
    assert error(attention(q, k, v, cascade=cascade, causal=causal), stated(q, k, v, causal=causal)) <= allowed(q, k)


@every_cascade
@pytest.mark.parametrize("causal", [False, True])
def test_large_scores(cascade, causal):
    """Scores of +-1000 stay finite, and err by what rounding the scores to fp32 costs.

    A product of E terms in fp32 errs by at most ``E * EPS/2 * sum |q k|``, and with rounding errors of random sign by
    a few ``EPS * max|s|``; the exponential's argument adds one ``EPS/2 * max|s|``. Errors d of the scores change
    weights, normalised, by a factor of at most ``exp(2 max|d|)``. Bound: 4 ``EPS * max|s|`` for d, in the norm.
    """
    q, k, v = normal(2, (2, 200, 64), (2, 1300, 64), (2, 1300, 32))
    q *= np.float32(1000 / np.abs(scores(q, k, 1.0, False)).max())
    found = attention(q, k, v, cascade=cascade, causal=causal)
    assert np.isfinite(found).all()
    assert np.abs(scores(q, k, 1.0, False)).max() == pytest.approx(1000, rel=1e-5)
    assert error(found, stated(q, k, v, causal=causal)) <= np.expm1(2 * 4 * EPS * 1000)


@every_cascade
@pytest.mark.parametrize("offset", [-1000.0, 1000.0])
def test_scores_far_from_zero(cascade, offset):
    """A constant added to all scores of a query changes nothing, whatever its sign."""
    q, k, v = normal(3, (50, 17), (1100, 17), (1100, 9))
    q[:, 0], k[:, 0] = offset, 1.0
    assert error(attention(q, k, v, cascade=cascade), stated(q, k, v)) <= np.expm1(2 * 4 * EPS * 1000)


@every_cascade
def test_rising_and_falling_maxima(cascade):
    """Every tile of keys raises all maxima, or none."""
    _, _, v = normal(4, (1,), (1,), (5000, 8))
    q, ramp = np.ones((20, 1), np.float32), np.linspace(-60, 60, 5000, dtype=np.float32)[:, None]
    for k in (ramp, ramp[::-1]):
        assert error(attention(q, k, v, cascade=cascade), stated(q, k, v)) <= 2 * 4 * EPS * 60


# ---------------------------------------------------------------- masks and special values


@every_cascade
@pytest.mark.parametrize(("queries", "keys"), [(300, 40), (40, 300), (1, 500), (500, 1), (257, 257)])
def test_causal_is_aligned_to_the_end(cascade, queries, keys):
    q, k, v = normal(5, (queries, 8), (keys, 8), (keys, 4))
    out = np.full((queries, 4), np.nan, dtype=np.float32)
    found = attention(q, k, v, cascade=cascade, causal=True, scale=0.3, out=out)
    assert found is out
    blind = max(queries - keys, 0)
    assert not found[:blind].any()
    assert error(found, stated(q, k, v, 0.3, True)) <= allowed(q, k, 0.3)
    last = attention(q[-1:], k, v, cascade=cascade, scale=0.3)
    assert error(found[-1:], last) <= allowed(q[-1:], k, 0.3)


@every_cascade
def test_nan_reaches_exactly_the_queries_that_see_it(cascade):
    q, k, v = normal(6, (100, 8), (100, 8), (100, 4))
    k[60, 3] = np.nan
    found = attention(q, k, v, cascade=cascade, causal=True)
    assert np.isnan(found[60:]).all()
    assert np.isfinite(found[:60]).all()


HUGE = float(np.finfo(np.float32).max)
SCORES = st.one_of(
    st.floats(width=32, allow_nan=False, allow_infinity=False),
    st.floats(-1, 1, width=32),
    st.sampled_from([1e9, 5e9, 1e11, 3e38, -3e38, HUGE, -HUGE]),
)


def softmax_of(found, v):
    """Attention in float64 with given scores; infinities as they come: no score but -inf, or one of +inf, gives NaN."""
    with np.errstate(invalid="ignore"):
        terms = np.exp(found - found.max(axis=-1, keepdims=True))
    return terms / terms.sum(axis=-1, keepdims=True) @ v.astype(float)


@every_cascade
@settings(max_examples=40, deadline=None)
@given(
    values=st.lists(SCORES, min_size=1, max_size=40),
    special=st.lists(st.sampled_from([np.inf, -np.inf, np.nan]), max_size=1) | st.just([]),
    signs=st.lists(st.sampled_from([1.0, -1.0]), min_size=1, max_size=20),
)
def test_any_score_that_a_float32_can_be(cascade, values, special, signs):
    """Scores ±k are exact here, so that only the argument of an exponential is rounded, and its product with log2(e).

    An argument d errs by EPS * |d|, and where its exponential is no less than 2**-126.5 it is not below -88.
    """
    k = np.array(values + special, np.float32)[:, None]
    q = np.array(signs, np.float32)[:, None]
    v = np.random.default_rng(len(values)).uniform(1, 2, (len(k), 3)).astype(np.float32)
    expected = softmax_of(q.astype(float) @ k.astype(float).T, v)
    np.testing.assert_allclose(attention(q, k, v, cascade=cascade), expected, rtol=np.expm1(4 * 88 * EPS))


@every_cascade
@pytest.mark.parametrize("queries", [1, 20])
@pytest.mark.parametrize("score", [0.0, 1e9, 5e9, 1e11, -1e11, 1e30, HUGE, -HUGE])
def test_equal_scores_weigh_the_same(cascade, queries, score):
    keys = np.full((4096, 1), score, np.float32)
    v = np.ones((4096, 2), np.float32)
    assert (attention(np.ones((queries, 1), np.float32), keys, v, cascade=cascade) == 1).all()


@every_cascade
@pytest.mark.parametrize("queries", [2, 30])
def test_scores_of_minus_infinity(cascade, queries):
    """As a mask in K has it: such keys weigh nothing, even if they fill tiles; a query of no others is NaN."""
    q, k, v = normal(8, (queries, 4), (9000, 4), (9000, 5))
    q[:, 0] = 1
    shown = slice(6000, 6100)
    k[:, 0] = -np.inf
    k[shown, 0] = 0
    found = attention(q, k, v, cascade=cascade)
    assert error(found, stated(q, k[shown], v[shown])) <= TOLERANCE
    k[shown, 0] = -np.inf
    assert np.isnan(attention(q, k, v, cascade=cascade)).all()


# ---------------------------------------------------------------- few queries


@every_cascade
@settings(max_examples=20, deadline=None)
@given(
    sizes=st.tuples(
        st.integers(1, 3), st.integers(1, 10), st.integers(1, 5000), st.integers(1, 140), st.integers(1, 140)
    ),
    causal=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_few_queries(cascade, sizes, causal, seed):
    heads, queries, keys, e, f = sizes
    q, k, v = normal(seed, (heads, queries, e), (heads, keys, e), (heads, keys, f))
    found = attention(q, k, v, cascade=cascade, causal=causal, scale=e**-0.5)
    expected, norm = stated(q, k, v, e**-0.5, causal), usual_norm(q, k, v, e**-0.5, causal)
    assert error(found, expected, norm) <= TOLERANCE


@every_cascade
@pytest.mark.parametrize("queries", [1, 8])
def test_few_queries_read_nothing_beside_their_arrays(cascade, queries):
    """Sizes that fill no vector, in arrays with NaN on all sides."""
    heads, keys, e, f = 2, 333, 21, 35
    arrays = normal(9, (heads, queries, e), (heads, keys, e), (heads, keys, f))
    around = [np.full(x.size + 64, np.nan, np.float32) for x in arrays]
    inner = [a[32:-32].reshape(x.shape) for a, x in zip(around, arrays, strict=True)]
    for place, x in zip(inner, arrays, strict=True):
        place[:] = x
    assert np.array_equal(attention(*inner, cascade=cascade), attention(*arrays, cascade=cascade))
    assert (
        error(attention(*inner, cascade=cascade), stated(*arrays)) <= EPS * np.abs(scores(*arrays[:2], 1, False)).max()
    )


# ---------------------------------------------------------------- keys in parts


@settings(max_examples=10, deadline=None)
@given(
    heads=st.integers(1, 3),
    queries=st.integers(1, 20),
    keys=st.integers(9000, 20_000),
    threads=st.integers(2, 5),
    causal=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_parts_of_the_keys(heads, queries, keys, threads, causal, seed):
    q, k, v = normal(seed, (heads, queries, 40), (heads, keys, 40), (heads, keys, 24))
    found = attention(q, k, v, causal=causal, scale=0.1, threads=threads)
    assert error(found, stated(q, k, v, 0.1, causal), usual_norm(q, k, v, 0.1, causal)) <= TOLERANCE


def test_parts_without_a_finite_score():
    assert plan(AttentionShape(1, 1, 40_000, 64, 8), CASCADES[0], 4).tiles.parts == 4
    q, k, v = normal(10, (1, 1, 64), (1, 40_000, 64), (1, 40_000, 8))
    q[..., 0] = 1
    k[:, 100:, 0] = -np.inf
    assert error(attention(q, k, v, threads=4), stated(q, k[:, :100], v[:, :100])) <= 2 * TOLERANCE
    k[..., 0] = -np.inf
    assert np.isnan(attention(q, k, v, threads=4)).all()
    k[0, 5], k[0, 6, 0] = 3e38, np.nan
    assert np.isnan(attention(q, k, v, threads=4)).all()


# ---------------------------------------------------------------- arguments


@every_cascade
def test_arrays_that_are_not_contiguous(cascade):
    q, k, v = normal(7, (2, 30, 3, 16), (2, 50, 3, 16), (2, 50, 3, 16))
    views = [x.transpose(0, 2, 1, 3) for x in (q, k, v)]
    found = attention(*views, cascade=cascade)
    assert np.array_equal(found, attention(*map(np.ascontiguousarray, views), cascade=cascade))
    strided = [x[..., ::-2, ::2] for x in views]
    assert error(attention(*strided, cascade=cascade), stated(*strided)) <= allowed(*strided[:2])


def test_calls_from_several_threads():
    assert plan(AttentionShape(3, 600, 500, 32, 32), CASCADES[0], 2).threads == 2
    arrays = [normal(seed, (3, 600, 32), (3, 500, 32), (3, 500, 32)) for seed in range(8)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda a: attention(*a, scale=0.2, threads=2), arrays))
    for result, given_arrays in zip(found, arrays, strict=True):
        assert error(result, stated(*given_arrays, scale=0.2)) <= allowed(*given_arrays[:2], 0.2)


Q, K, V = (np.zeros(shape, np.float32) for shape in ((2, 5, 4), (2, 7, 4), (2, 7, 3)))


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((Q.astype(float), K, V), {}, "q holds values of type float64"),
        ((Q, K[0], V), {}, "leading axes disagree"),
        ((Q, K[..., :3], V), {}, "disagree on E"),
        ((Q, K, V[:, :6]), {}, "disagree on M"),
        ((Q, K[:, :0], V[:, :0]), {}, "k is empty"),
        ((Q[0, 0], K, V), {}, "q has shape"),
        ((Q, K, V), {"cascade": "attention-1-pas"}, "attention-1-pass"),
        ((Q, K, V), {"threads": 0}, "threads is 0"),
        ((Q, K, V), {"out": np.zeros((2, 5, 4), np.float32)}, "out is float32"),
        ((Q, K, V), {"out": np.zeros((2, 5, 3))}, "out is float64"),
        ((Q, K, K), {"out": Q}, "out shares memory"),
    ],
)
def test_unusable_arguments(arguments, options, message):
    with pytest.raises(InputError, match=message):
        attention(*arguments, **options)


def test_import_is_light():
    code = (
        f"import sys, {kernels.__name__}; sys.exit(any(m in sys.modules for m in ('numba', 'scipy', 'numpy', 'torch')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
