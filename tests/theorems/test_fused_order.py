"""A run in fused order visits each element as often as the pass analysis says, and gives the same values.

**Statement.** Let a tensor have k passes over a rank family (`PassAnalysis.tensor_passes`). There is a schedule
with the fewest passes of the whole cascade in which every element of the tensor is visited exactly k times:
in each pass all fused Einsums meet at one index of the family, or at one tile where partial results stream, and
all that they read there is complete. `instrumented.visits` runs that schedule element by element, and stops at
a read of a value that is not complete; so a run that ends is a proof for its cascade and sizes.

**Assumptions.** A tile is visited as a whole. The two ends of a tensor carried along an iterative rank (its
first value and its last) may be visited less often, since a read at ``m1`` or at ``m1+1`` passes by one of them.
With an iterative rank outside the family, the passes are those of one iteration.

Source: Nayak et al., "FuseMax", MICRO 2024, section 3.
"""

import numpy as np
import pytest
from random_cascades import KINDS, random_cascade

from einsum_cascades.errors import InputError
from einsum_cascades.instrumented import visits
from einsum_cascades.interpreter import run
from einsum_cascades.ir import Var
from einsum_cascades.load import library_names, load_cascade, parse_cascade
from einsum_cascades.operations import complete_sizes
from einsum_cascades.passes import analyse_passes


def instance(cascade, sizes, default=2):
    """Random inputs between 1 and 2, and the size of every rank."""
    split = {r for p in cascade.partitions for r in (p.rank, *p.parts)}
    plain = {r for d in cascade.declarations for r in d.ranks} - split
    sizes = complete_sizes(cascade, {**dict.fromkeys(plain, default), **sizes})
    generator = np.random.default_rng(1)
    given = [t for t in cascade.inputs if dict(cascade.views).get(t) not in cascade.ranks_of]
    shapes = {t: [sizes[r] for r in cascade.ranks_of[t]] for t in given}
    return {t: generator.uniform(1, 2, shape) for t, shape in shapes.items()}, sizes


def carried(cascade, tensor):
    """Whether a tensor holds values of an iterative rank."""
    accesses = [a for e in cascade.einsums for a in (e.output, *e.inputs) if a.tensor == tensor]
    return any(not isinstance(s, Var) or s.shift for a in accesses for s in a.subscripts)


def check(cascade, rank, sizes, **options):
    """Run in the earliest passes, then in those that visit each tensor the least."""
    inputs, sizes = instance(cascade, sizes)
    expected = run(cascade, inputs, sizes=sizes)
    analysis = analyse_passes(cascade, rank, **options)
    for tensor in (None, *analysis.tensor_passes):
        result = visits(cascade, inputs, rank, sizes, fewest=tensor, **options)
        assert result.values.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_allclose(result.values[name], value, rtol=1e-12, atol=1e-12)
        for name, passes in analysis.tensor_passes.items():
            exact = name == tensor and not carried(cascade, name)
            assert result.counts[name].max() >= passes
            assert name != tensor or result.counts[name].max() == passes
            assert not exact or (result.counts[name] == passes).all()


def families():
    """(cascade, rank, options): every family that holds all iterative ranks, and every part of one."""
    for name in library_names():
        cascade = load_cascade(name)
        ranks = {r for d in cascade.declarations for r in d.ranks}
        parts = {r for p in cascade.partitions for r in p.parts}
        for rank in sorted(ranks - parts) + [p.rank for p in cascade.partitions]:
            if set(cascade.iterative_ranks) <= set(cascade.family(rank)):
                yield name, rank, {}
        for rank in sorted(parts):
            yield name, rank, {"within_tile": True}


@pytest.mark.parametrize(("name", "rank", "options"), list(families()))
def test_library(name, rank, options):
    cascade = load_cascade(name)
    parts = {part for p in cascade.partitions for part in p.parts}
    check(cascade, rank, dict.fromkeys(parts, 3), **options)


@pytest.mark.parametrize("kind", KINDS)
def test_random_cascades(kind):
    sizes = {"K": 3} if kind in ("plain", "iterative") else {"K1": 2, "K0": 3}
    for seed in range(30):
        check(random_cascade(seed, kind), "K", sizes)


def test_attention_in_three_passes():
    """Keys and values once, logits twice, numerators twice; without freedom, all in one run."""
    cascade = load_cascade("attention-3-pass")
    result = visits(cascade, *args(cascade, {"M": 5, "P": 3, "E": 2, "F": 4}))
    assert result.passes == 3
    for tensor, passes in {"K": 1, "V": 1, "QK": 2, "SN": 2, "A": 1}.items():
        assert (result.counts[tensor] == passes).all()


def args(cascade, sizes):
    """Positional arguments of `visits` over M."""
    inputs, complete = instance(cascade, sizes)
    return inputs, "M", complete


def test_one_pass_attention_visits_tiles_once_and_their_fibers_twice():
    cascade = load_cascade("attention-1-pass")
    inputs, _, sizes = args(cascade, {"M1": 3, "M0": 4})
    over_all = visits(cascade, inputs, "M", sizes)
    assert over_all.passes == 1
    assert all((over_all.counts[t] == 1).all() for t in ("BK", "BV", "BQK", "SLN", "LM", "RM", "RNV"))
    in_tile = visits(cascade, inputs, "M0", sizes, within_tile=True)
    assert in_tile.passes == 2
    assert (in_tile.counts["BQK"] == 2).all()
    assert (in_tile.counts["BK"] == 1).all()


def test_plain_inputs_stand_for_their_tiles():
    cascade = load_cascade("attention-1-pass")
    generator = np.random.default_rng(2)
    inputs = {
        "Q": generator.normal(size=(2, 3)),
        "K": generator.normal(size=(2, 6)),
        "V": generator.normal(size=(4, 6)),
    }
    result = visits(cascade, inputs, "M", {"M0": 3})
    np.testing.assert_allclose(result.values["AV"], run(cascade, inputs, sizes={"M0": 3})["AV"], rtol=1e-12)


def test_freedom_between_earliest_and_latest():
    """X runs in pass 1 and is read in pass 2; run in pass 2, it is visited once."""
    cascade = parse_cascade("""
        declaration: {A: [M], B: [M], X: [M], Y: [], Z: []}
        expressions: ["X[m] = A[m] * A[m]", "Y = B[m]", "Z = X[m] * Y"]
    """)
    arguments = args(cascade, {"M": 4})
    assert (visits(cascade, *arguments).counts["X"] == 2).all()
    assert (visits(cascade, *arguments, fewest="X").counts["X"] == 1).all()


def test_each_pass_has_its_own_loop_order():
    """Rows stream in pass 1, columns in pass 2."""
    check(
        parse_cascade("""
            declaration: {A: [M1, M0], R: [M1], B: [M1, M0], T: [], D: [M1, M0], C: [M0], Z: []}
            partition: {M: [M1, M0]}
            expressions:
              - R[m1] = A[m1, m0]
              - B[m1, m0] = A[m1, m0] * R[m1]
              - T = B[m1, m0]
              - D[m1, m0] = A[m1, m0] * T
              - C[m0] = D[m1, m0]
              - Z = D[m1, m0] * C[m0]
        """),
        "M",
        {"M1": 2, "M0": 3},
    )


def test_view_of_a_computed_tensor_and_mixed_reductions():
    cascade = parse_cascade("""
        declaration: {X: [M], K: [M], BK: [M1, M0], G: [], Y: [], W: []}
        partition: {M: [M1, M0]}
        views: {BK: K}
        expressions:
          - K[m] = X[m] * X[m]
          - G = K[m]
          - Y = BK[m1, m0] * G
          - "W = BK[m1, m0] * G :: reduce(m0) max :: reduce(m1) +"
    """)
    check(cascade, "M", {"M1": 2, "M0": 3})


def test_iterative_rank_outside_the_family():
    """Passes of one iteration: a matrix is visited once for each of three."""
    cascade = parse_cascade("""
        declaration: {A: [M, N], X: [T, N], S: [T, M], Y: [N]}
        init: ["X[0, n] = 1"]
        expressions: ["S[t, m] = A[m, n] * X[t, n]", "X[t+1, n] = A[m, n] * S[t, m]"]
        final: ["Y[n] = X[T, n]"]
        stop: t >= T
    """)
    inputs, sizes = instance(cascade, {"T": 3, "M": 2, "N": 4})
    result = visits(cascade, inputs, "M", sizes)
    np.testing.assert_allclose(result.values["Y"], run(cascade, inputs, sizes=sizes)["Y"], rtol=1e-12)
    assert result.passes == 1
    assert (result.counts["A"] == 3).all()
    assert (visits(cascade, inputs, "N", sizes).counts["A"] == 6).all()


def test_bad_requests():
    cascade = load_cascade("attention-3-pass")
    inputs, rank, sizes = args(cascade, {})
    with pytest.raises(InputError, match="unknown tensor of the family 'Q'"):
        visits(cascade, inputs, rank, sizes, fewest="Q")
    with pytest.raises(InputError, match="unknown rank 'X'"):
        visits(cascade, inputs, "X", sizes)
    with pytest.raises(InputError, match="input K is missing"):
        visits(cascade, {"Q": inputs["Q"], "V": inputs["V"]}, rank, sizes)
