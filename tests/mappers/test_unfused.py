"""The search of single products against every nest; phases of the unfused strategy against the closed form."""

from itertools import permutations, product
from math import prod

import closed_forms
import pytest
from closed_forms import Machine, Shape
from hypothesis import given, settings
from hypothesis import strategies as st

from einsum_cascades.errors import InputError
from einsum_cascades.load import load_cascade, parse_cascade
from einsum_cascades.workload import Workload
from hw_models.accounting import PUBLISHED
from hw_models.cost import cost
from hw_models.load import load_architecture
from mappers.activity import activity_of
from mappers.analysis import compile_nest
from mappers.capacity import fits, tile_counts
from mappers.nest import Hold, Operand
from mappers.unfused import unfused

PRODUCT = parse_cascade("declaration: {A: [K, M], B: [K, N], Z: [M, N]}\nexpressions: ['Z[m, n] = A[k, m] * B[k, n]']")
OPERANDS = (Operand("A", ("K", "M")), Operand("B", ("K", "N")), Operand("Z", ("M", "N"), output=True))


def machine(side: int, buffer: int, name: str = "flat-cloud"):
    sides = [f"array_2d.rows={side}", f"array_2d.columns={side}", f"global_buffer.bytes={buffer}"]
    return load_architecture(name, sides)


def divisors(n: int) -> list[int]:
    return [d for d in range(1, n + 1) if n % d == 0]


def every_nest(sizes: dict[str, int], side: int, buffer: int):
    """Yield (cycles, DRAM values) of every two-level nest that fits: any ranks along, any orders, tiles, bypasses."""
    for along in permutations("MNK", 2):
        spatial = {r: min(sizes[r], side) for r in along}
        steps = {r: -(-sizes[r] // spatial.get(r, 1)) for r in "MNK"}
        cycles = prod(steps.values())
        for tile in product(*(divisors(steps[r]) for r in "MNK")):
            on = dict(zip("MNK", tile, strict=True))
            for held in product((False, True), repeat=3):
                spans = {r: on[r] * spatial.get(r, 1) for r in "MNK"}
                kept = [o for o, h in zip(OPERANDS, held, strict=True) if h]
                if 2 * sum(prod(spans[r] for r in o.ranks) for o in kept) > buffer:
                    continue
                for outer, inner in product(permutations("MNK"), repeat=2):
                    ranks = (*outer, *inner, *along)
                    holds = [h for o in OPERANDS for h in _holds(o, o in kept)]
                    extents = [*(steps[r] // on[r] for r in outer), *(on[r] for r in inner)]
                    extents += [spatial[r] for r in along]
                    nest = compile_nest(OPERANDS, ranks, (False,) * 6 + (True,) * 2, tuple(holds))
                    counts = nest.counts(extents)
                    yield cycles, sum(c.reads + c.updates for c in counts if c.memory == "dram")


def _holds(operand: Operand, kept: bool):
    yield Hold("dram", operand.tensor, 0)
    if kept:
        yield Hold("global_buffer", operand.tensor, 3)
    yield Hold("array_2d", operand.tensor, 8)


@pytest.mark.parametrize("buffer", [40, 96, 256])
@pytest.mark.parametrize("sizes", [{"M": 8, "N": 12, "K": 4}, {"M": 4, "N": 16, "K": 6}], ids=str)
def test_no_nest_is_faster_or_moves_less(sizes, buffer):
    side = 4
    architecture = machine(side, buffer)
    try:
        mapping = unfused(PRODUCT, Workload(tuple(sizes.items())), architecture, PUBLISHED)
    except InputError:
        assert buffer < 2 * side  # a single streamed operand needs one array side
        return
    found = cost(activity_of(mapping, PUBLISHED), architecture, PUBLISHED)

    def seconds(cycles: int, values: int) -> float:
        return max(cycles / architecture.frequency_hz, 2 * values / architecture.bandwidth_bytes_per_s)

    best = min((seconds(c, v), 2 * v) for c, v in set(every_nest(sizes, side, buffer)))
    assert (found.latency_s, found.dram_bytes) == best
    assert fits(mapping.buffer_bytes, buffer)


@settings(max_examples=20, deadline=None)
@given(
    tiles=st.tuples(st.integers(1, 8), st.integers(1, 8)),
    dims=st.tuples(st.sampled_from([32, 64, 128]), st.sampled_from([32, 64, 256])),
    heads=st.tuples(st.integers(1, 64), st.integers(1, 16)),
)
def test_phases_with_room_to_spare(tiles, dims, heads):
    """With a buffer that holds a head, every tensor moves once and the array is full in both products."""
    shape = Shape(*heads, *dims, M=256 * tiles[0], P=256 * tiles[1])
    architecture = machine(256, 2**26)
    workload = Workload.attention(
        batch=shape.B, heads=shape.H, head_dim=shape.E, value_dim=shape.F, seq_len=shape.P, kv_len=shape.M
    )
    mapping = unfused(load_cascade("attention-3-pass"), workload, architecture, PUBLISHED)
    found = cost(activity_of(mapping, PUBLISHED), architecture, PUBLISHED)
    compulsory = sum(shape.size(ranks) for ranks in ("EP", "EM", "FM", "FP")) + 4 * shape.pairs
    assert found.dram_bytes == 2 * compulsory
    form = closed_forms.unfused_latency_s(shape, Machine(buffer_bytes=2**26))
    assert found.latency_s == pytest.approx(form, rel=1e-9)


def test_fibers_that_do_not_fit_are_read_once_per_pass():
    sizes = {"batch": 1, "heads": 1, "head_dim": 64, "seq_len": 4096}
    cascade = load_cascade("attention-3-pass")
    wide, narrow = machine(256, 2**20), machine(256, 2**13)
    softmax = [
        activity_of(unfused(cascade, Workload.attention(**sizes), m, PUBLISHED), PUBLISHED).phases[1]
        for m in (wide, narrow)
    ]
    scores = 4096 * 4096 * 2
    assert softmax[0].dram_bytes == 2 * scores
    assert softmax[1].dram_bytes == 5 * scores  # GM and SN each read QK, SN writes, A reads SN and writes


def test_every_product_of_the_linear_layers_runs_by_itself():
    workload = Workload((("N", 8192), ("D", 768), ("G", 768), ("S", 3072)))
    mapping = unfused(load_cascade("linear-layers"), workload, load_architecture("fusemax-cloud"), PUBLISHED)
    assert [p.name for p in mapping.phases] == ["Q", "K", "V", "Z", "F1", "F2"]
    assert all(e.array == "array_2d" for e in mapping.einsums)


@given(st.integers(1, 10**9))
@settings(max_examples=50, deadline=None)
def test_tile_counts_divide(number):
    found = tile_counts(number)
    assert found[0] == number
    assert found[-1] == 1
    assert len(found) <= 16
    assert all(number % f == 0 for f in found)
