"""The least traffic against closed forms, a literal simulation of every loop nest, and laws."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from einsum_cascades.errors import InputError
from einsum_cascades.load import library_names, load_cascade, parse_cascade
from einsum_cascades.traffic import compulsory_bytes, traffic_bound, traffic_curve

POINT = 3
"""Values of one point of a product, or of a sum of two tensors: they take no room."""
ATTENTION = {"M": 4096, "P": 4096, "E": 64, "F": 64}


def bound(cascade, sizes, values, **options):
    """Least traffic in values, for a capacity in values."""
    return traffic_bound(cascade, sizes, values, value_bytes=1, **options).dram_bytes


def bounds(cascade, sizes, capacities):
    """Least traffic in values for several capacities in values, searched at once."""
    return [p.dram_bytes for p in traffic_curve(cascade, sizes, value_bytes=1, capacities=capacities)]


# ---------------------------------------------------------------- attention in closed form


@pytest.mark.parametrize("queries", [1000])
def test_one_pass_attention_streams_keys_and_values_once_per_tile_of_queries(queries):
    """A query's Q, numerator, maximum and denominator stay; K and V come by once per tile of queries."""
    cascade, tiles = load_cascade("attention-1-pass"), math.ceil(4096 / queries)
    expected = 2 * 4096 * 64 + tiles * 2 * 4096 * 64
    fewest = math.ceil(4096 / tiles)
    rows = [queries * (64 + 64 + 2), fewest * (64 + 64 + 2), fewest * (64 + 64 + 2) - 1]
    roomy, enough, scarce = bounds(cascade, ATTENTION, [row - POINT for row in rows])
    assert roomy == enough == expected < scarce


@pytest.mark.parametrize(("name", "fibers"), [("attention-3-pass", 1), ("attention-1-pass", 0)])
def test_what_one_query_needs_beside_all_keys_and_values(name, fibers):
    """With K and V on chip everything moves once; three passes need a query's scores as well."""
    sizes = {"M": 64, "P": 4096, "E": 16, "F": 16}
    cascade, compulsory = load_cascade(name), 2 * (64 + 4096) * 16
    least = 64 * 32 + 64 * fibers - POINT
    assert bound(cascade, sizes, least) == compulsory < bound(cascade, sizes, least - 1)


def test_three_passes_over_one_query_follow_the_theorem_on_loads():
    """QK and SN wait in turn: what does not fit is written and read again, 2(n - c) values each."""
    cascade = parse_cascade("""
        declaration: {X: [M], GM: [], SN: [M], SD: [], A: [M]}
        expressions: ['GM = X[m] :: reduce(m) max', 'SN[m] = exp(X[m] - GM)', 'SD = SN[m]', 'A[m] = SN[m] / SD']
    """)
    for capacity in (10, 100, 300):
        found = traffic_bound(cascade, {"M": 1000}, capacity, value_bytes=1)
        left = 1000 - (capacity + POINT - 1)
        assert found.segments[0].spilled_bytes == 2 * (left // 2) + 2 * left
        assert found.dram_bytes == 2 * 1000 + 2 * (left // 2) + 2 * left


# ---------------------------------------------------------------- every nest, simulated

PRODUCT = parse_cascade(
    "{declaration: {A: [I, K], B: [K, J], C: [I, J]}, expressions: ['C[i, j] = A[i, k] * B[k, j]']}"
)
RANKS = {"A": "IK", "B": "KJ", "C": "IJ"}


def simulated(order, tiles, sizes):
    """Values moved when the loops over tiles run one by one and the buffer holds one tile of each tensor."""
    steps = [range(math.ceil(sizes[r] / tiles[r])) for r in order]
    held, seen, moved = {}, set(), 0

    def values(tensor, tile):
        at = dict(zip(order, tile, strict=True))
        return math.prod(min(tiles[r], sizes[r] - at[r] * tiles[r]) for r in RANKS[tensor])

    for tile in itertools.product(*steps):
        at = dict(zip(order, tile, strict=True))
        for tensor, ranks in RANKS.items():
            place = (tensor, *(at[r] for r in ranks))
            if held.get(tensor) != place:
                if tensor == "C":
                    moved += values(tensor, tile) * (1 + (place in seen))
                    seen.add(place)
                else:
                    moved += values(tensor, tile)
                held[tensor] = place
    return moved


def room(order, tiles, sizes):
    """Tiles of both inputs, but of those that change with the innermost loop the larger streams; partial sums of C."""
    size = {t: math.prod(tiles[r] for r in ranks) for t, ranks in RANKS.items()}
    changing = [t for t in "AB" if order[-1] in RANKS[t]]
    streamed = max(changing, key=size.get, default=None)
    kept = sum(size[t] for t in "AB" if t != streamed)
    return kept + (size["C"] if tiles["K"] < sizes["K"] else 0)


@pytest.mark.parametrize("sizes", [{"I": 6, "J": 5, "K": 4}, {"I": 2, "J": 9, "K": 7}, {"I": 20, "J": 3, "K": 18}])
def test_a_matrix_product_against_every_nest(sizes):
    """At most what moves with whole tiles on chip; no less than what moves where all in a tile streams for free."""
    nests = []
    for order in itertools.permutations("IJK"):
        outer = [range(1, sizes[r] + 1) for r in order[:-1]]
        for chosen in itertools.product(*outer):
            tiles = dict(zip(order, (*chosen, 1), strict=True))
            whole = sum(math.prod(tiles[r] for r in ranks) for ranks in RANKS.values())
            nests.append((room(order, tiles, sizes), whole, simulated(order, tiles, sizes)))
    for capacity in range(3, 80):
        free = min(moved for needed, _, moved in nests if needed <= capacity)
        certain = min(moved for _, needed, moved in nests if needed <= capacity)
        assert free <= bound(PRODUCT, sizes, capacity) <= certain, capacity


# ---------------------------------------------------------------- laws


@given(
    st.sampled_from(library_names()),
    st.lists(st.sampled_from([1, 2, 3, 7, 16, 30, 64, 100]), min_size=8, max_size=8),
    st.lists(st.integers(1, 5000), min_size=2, max_size=2),
)
@settings(max_examples=3, deadline=None)
def test_more_room_never_moves_more(name, extents, capacities):
    cascade = load_cascade(name)
    parts = {part for p in cascade.partitions for part in p.parts}
    ranks = sorted(
        {r for d in cascade.declarations for r in d.ranks if r not in parts} | {p.rank for p in cascade.partitions}
    )
    sizes = dict(zip(ranks, extents, strict=False))
    small, large = sorted(c + 8 for c in capacities)
    compulsory = compulsory_bytes(cascade, sizes, value_bytes=1)
    most, fewer, least = bounds(cascade, sizes, [small, large, 10**7])
    assert most >= fewer >= least == compulsory
    assert bound(cascade, sizes, large, instances=3) == 3 * fewer


def test_fewer_passes_move_less_where_a_tile_of_scores_fits_but_no_fiber():
    names = ["attention-3-pass", "attention-3-pass-deferred", "attention-1-pass"]
    three, deferred, one = (bounds(load_cascade(n), ATTENTION, [2**10, 2**17]) for n in names)
    assert all(a > b > c for a, b, c in zip(three, deferred, one, strict=True))
    assert three[1] > 20 * one[1]


def test_the_curve_goes_from_the_smallest_buffer_to_the_last_that_helps():
    cascade, sizes = load_cascade("attention-1-pass"), {"M": 12, "P": 6, "E": 3, "F": 2}
    curve = traffic_curve(cascade, sizes)
    assert curve[-1].dram_bytes == compulsory_bytes(cascade, sizes)
    assert [p.dram_bytes for p in curve] == sorted((p.dram_bytes for p in curve), reverse=True)
    for point in curve[::8]:
        assert traffic_bound(cascade, sizes, point.buffer_bytes).dram_bytes == point.dram_bytes


def test_long_sequences_stay_exact():
    """The same closed form where counts pass 2^53."""
    sizes = {"M": 2**26, "P": 2**26, "E": 128, "F": 128}
    queries = 2**13
    expected = 2 * 2**26 * 128 * (1 + 2**13)
    assert expected * 64 > 2**53
    assert bound(load_cascade("attention-1-pass"), sizes, queries * 258, instances=64) == 64 * expected


def test_what_is_missing_or_too_small_is_named():
    with pytest.raises(InputError, match="rank P has no size"):
        traffic_bound(load_cascade("attention-3-pass"), {"M": 4, "E": 4, "F": 4}, 100)
    with pytest.raises(InputError, match="too small for any mapping"):
        traffic_bound(PRODUCT, {"I": 6, "J": 5, "K": 4}, 1)


def test_batch_ranks_written_out_are_instances():
    """Attention with its batch and heads as ranks moves what so many instances of it move."""
    cascade = parse_cascade("""
        declaration: {Q: [B, H, E, P], K: [B, H, E, M], V: [B, H, F, M], QK: [B, H, M, P], GM: [B, H, P],
          SN: [B, H, M, P], SD: [B, H, P], A: [B, H, M, P], AV: [B, H, F, P]}
        expressions:
          - QK[b, h, m, p] = Q[b, h, e, p] * K[b, h, e, m]
          - 'GM[b, h, p] = QK[b, h, m, p] :: reduce(m) max'
          - SN[b, h, m, p] = exp(QK[b, h, m, p] - GM[b, h, p])
          - SD[b, h, p] = SN[b, h, m, p]
          - A[b, h, m, p] = SN[b, h, m, p] / SD[b, h, p]
          - AV[b, h, f, p] = A[b, h, m, p] * V[b, h, f, m]
    """)
    sizes = {"M": 512, "P": 256, "E": 32, "F": 16}
    for capacity in (64, 2000):
        alone = bound(load_cascade("attention-3-pass"), sizes, capacity, instances=6)
        assert bound(cascade, {**sizes, "B": 2, "H": 3}, capacity) == alone


def test_the_last_value_of_a_recurrence_is_one_value():
    cascade = parse_cascade("""
        declaration: {X: [T, N], X0: [N], A: [N, N2], Y: [M], W: [M, N]}
        init: ["X[0, n] = X0[n]"]
        expressions: ["X[t+1, n] = X[t, n] * 0.5"]
        final: ["Y[m] = W[m, n] * X[T, n]"]
        stop: t >= T
    """)
    sizes = {"T": 1000, "N": 20, "N2": 20, "M": 30}
    assert bound(cascade, sizes, 10**4) == 20 + 30 * 20 + 30


def test_five_long_ranks_stay_in_time():
    cascade = parse_cascade(
        "{declaration: {O: [N, M, H, W], A: [N, C, H, W], K: [C, M]}, "
        "expressions: ['O[n, m, h, w] = A[n, c, h, w] * K[c, m]']}"
    )
    sizes = dict.fromkeys("NMHWC", 1024)
    assert bound(cascade, sizes, 2**20) >= compulsory_bytes(cascade, sizes, value_bytes=1)
