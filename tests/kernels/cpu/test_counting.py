"""Working memory and passes, counted on a run, against the analysis of the library's cascades."""

import numpy as np
import pytest
from numba.core.runtime import _nrt_python, rtsys

from einsum_cascades.load import load_cascade
from einsum_cascades.passes import analyse_passes
from kernels import CASCADES, attention
from kernels.cpu.counting import counted_attention

FIBERS = ("attention-2-pass", "attention-3-pass", "attention-3-pass-deferred")


def inputs(queries, keys, head_dim=16, value_dim=8, heads=1):
    random = np.random.default_rng(0)
    sizes = (queries, head_dim), (keys, head_dim), (keys, value_dim)
    return [random.standard_normal((heads, *size)).astype(np.float32) for size in sizes]


@pytest.mark.parametrize(("queries", "causal"), [(200, False), (200, True), (1, False), (7, True)])
@pytest.mark.parametrize("cascade", CASCADES)
def test_passes_are_those_of_the_cascade(cascade, queries, causal):
    """Tiles of keys are many here; one buffer holds QK, SN and A in turn, so their passes are the cascade's."""
    counts = counted_attention(*inputs(queries, 20000), cascade=cascade, causal=causal)
    analysis = analyse_passes(load_cascade(cascade))
    keys, values = ("K", "V") if "K" in analysis.tensor_passes else ("BK", "BV")
    assert counts.key_passes == analysis.tensor_passes[keys]
    assert counts.value_passes == analysis.tensor_passes[values]
    assert counts.score_passes == analysis.passes


@pytest.mark.parametrize("queries", [150, 3])
@pytest.mark.parametrize("cascade", CASCADES)
def test_the_counted_run_is_the_kernels_run(cascade, queries):
    arrays = inputs(queries, 1000, heads=3)
    counted = counted_attention(*arrays, cascade=cascade, causal=True, scale=0.25)
    assert np.array_equal(counted.result, attention(*arrays, cascade=cascade, causal=True, scale=0.25, threads=1))


@pytest.mark.parametrize("queries", [64, 2])
@pytest.mark.parametrize("cascade", CASCADES)
def test_a_query_tile_uses_all_of_its_workspace_and_no_more(cascade, queries):
    counts = counted_attention(*inputs(queries, 5000), cascade=cascade)
    assert counts.workspace_bytes == counts.allocated_bytes


def test_memory_of_one_pass_does_not_grow_with_the_keys():
    short, long = (counted_attention(*inputs(64, keys)) for keys in (8192, 65536))
    assert short.workspace_bytes == long.workspace_bytes


@pytest.mark.parametrize("cascade", FIBERS)
def test_memory_of_several_passes_holds_the_scores_of_all_keys(cascade):
    short, long = (counted_attention(*inputs(32, keys), cascade=cascade).workspace_bytes for keys in (8192, 65536))
    assert long - short >= 4 * 32 * (65536 - 8192)
    assert long < 1.02 * 4 * 32 * 65536 + short


def allocations(run):
    """Blocks of memory that compiled code asks for."""
    _nrt_python.memsys_enable_stats()
    try:
        before = rtsys.get_allocation_stats().alloc
        run()
        return rtsys.get_allocation_stats().alloc - before
    finally:
        _nrt_python.memsys_disable_stats()


@pytest.mark.parametrize("cascade", CASCADES)
def test_kernels_allocate_nothing_but_their_workspace(cascade):
    few, many = inputs(16, 16), inputs(300, 9000, heads=2)
    for arrays in (few, many):
        attention(*arrays, cascade=cascade, threads=1)
    assert allocations(lambda: attention(*few, cascade=cascade, threads=1)) == allocations(
        lambda: attention(*many, cascade=cascade, threads=1)
    )
