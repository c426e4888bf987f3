"""The theorem behind passes: how many loads they force, against an exact search over all evaluation orders.

**The game.** A cascade and a rank family with n indices, all other ranks of size 1. Values that carry the whole
family live in a fast memory of c values or in an unlimited slow memory, where inputs start. A point of an
Einsum is evaluated when its operands are in fast memory; its result goes there and may take the place of an
operand. A reduction is a running sum that visits its operands one at a time in any order, as its operator is
associative and commutative. Loads count, stores are free. All that does not carry the whole family (scalars,
running sums, partial results of tiles) and values carried along an iterative rank sit in registers that are
free and unlimited: with s of them alive at once, a play needs a memory of c + s values. A play in which they
take room and traffic too is also a play of this game, so the lower bounds hold for it as they stand.

**Definitions.** Einsum e *precedes* f if every point of f depends on every point of e. A *line* is a set of
tensors that carry the family, each an input or computed from another of the set at the same index: a tensor
together with what it is recomputed from, or a part of that down to one input. A *chain* of k passes over a line
is e_1, ..., e_k, each preceding the next and each reading a tensor of the line. Every Einsum serves a result.

**Theorem.** Recomputation allowed or not, any evaluation order loads values of a line at least

    n + (k - 1) (n - c)

times for n >= c, and n times otherwise. Sharper: n + sum over i < k of max(0, n - c + w_i), where w_i is the
larger number of operands that a point of e_i, or one of e_{i+1}, needs in fast memory besides one of the line.

*Proof.* Let b_i be the moment at which every point of e_i has been evaluated once, or that of the first
evaluation of a point of e_{i+1}, which is later. Every point of e_{i+1} is evaluated from b_i on, and once up to
b_{i+1}. Its operand in the line has its own index; go back from there along the line to what that value was
computed from. Inputs cannot be computed, so some value of the line at this index is in fast memory at b_i or is
loaded between b_i and b_{i+1}. At b_i the fast memory holds all operands of a point of e_i, or of e_{i+1}, so
values of the line at no more than c - w_i indices: at least n - c + w_i loads. It starts empty, and the points
of e_1 come before b_1: n loads.

Loads of disjoint lines add up, and so do those of disjoint tiles (the fiber of M0 for each m1). For r disjoint
lines that every Einsum of a chain reads, rn takes the place of n, and w_i counts operands besides those r.

**What follows for `analyse_passes`.** Its passes are the length of the longest chain (checked here). All tensors
computed from inputs at the same index form lines, so all loads together are at least n + (k - 1)(n - c); loads
of a tensor and of what it is recomputed from are as many, with the longest chain that reads one of these.

**Where the bound is met.** Claimed, and checked in both games: for every cascade of the library, over M with
every c that holds the operands of a point (the difference of two softmaxes excepted, whose two chains share the
fast memory), over other ranks from c = 3; and for *forward* cascades, whose tensors
of the family form a path on which each pass goes on where the one before stopped: n + (k - 1)(n - c) exactly.

**What the theorem needs.** Where partial results of one pass forbid each other's loop order (sums of rows and of
columns), the analysis counts a pass more, but no Einsum precedes another, and fewer loads may do. A pass that
reads only values carried along an iterative rank forces no loads, as these are in registers here. And where one
more pass of the cascade would let a tensor be read less often, the passes over the tensor that the analysis
states are those with the fewest passes of the cascade. The first and the last case are shown below.

Source: Nayak et al., "FuseMax", MICRO 2024, section 3 (passes); Hong and Kung, STOC 1981 (the game).
"""

import math
import random

import pytest
from pebbling import Game, loads_bound, longest_chain
from pebbling_search import least_loads
from plain_pebbling import least_loads_plain
from random_cascades import KINDS, random_cascade

from einsum_cascades.load import library_names, load_cascade, parse_cascade
from einsum_cascades.passes import analyse_passes

GAMES = pytest.mark.parametrize("recompute", [False, True], ids=["compute once", "recompute"])


def simple_bound(passes, fiber, capacity):
    return fiber + (passes - 1) * max(0, fiber - capacity)


def both_games(game, capacity, counted=None):
    """Least loads with recomputation forbidden and allowed; the second is never more."""
    once = least_loads(game, capacity, recompute=False, counted=counted)
    return once, least_loads(game, capacity, recompute=True, counted=counted, known=once)


# ---------------------------------------------------------------- the library


def library_instances(*fibers):
    """(cascade, rank, sizes): every family of every cascade, the other ranks of size 1."""
    found = []
    for name in library_names():
        cascade = load_cascade(name)
        parts = {part for p in cascade.partitions for part in p.parts}
        ranks = [p.rank for p in cascade.partitions]
        ranks += sorted({r for d in cascade.declarations for r in d.ranks} - parts)
        for rank in ranks:
            family = cascade.family(rank)
            if set(cascade.iterative_ranks) <= set(family):
                for fiber in fibers if len(family) == 1 and operands(cascade, family) < 4 else (2,):
                    sizes = dict.fromkeys(parts, 1) | dict.fromkeys(family, fiber)
                    found.append(pytest.param(name, rank, sizes, id=f"{name}-{rank}={fiber}"))
    return found


def operands(cascade, family):
    """The most operands of a point that carry the whole family."""
    carried = {t for t, ranks in cascade.ranks_of.items() if set(family) <= set(ranks)}
    return max(len({a.tensor for a in e.inputs} & carried) for e in cascade.einsums)


TWO_CHAINS = ("attention-differential",)


def check_library(name, rank, sizes):
    """The bound of the analysis holds, and the sharp one is met wherever it is claimed."""
    cascade = load_cascade(name)
    game, passes = Game(cascade, rank, sizes), analyse_passes(cascade, rank).passes
    fiber = len(game.columns)
    assert longest_chain(game) == passes
    least_room = max(1 if rank == "M" else 3, operands(cascade, cascade.family(rank)))
    for capacity in range(least_room, max(fiber, least_room) + 2):
        for least in both_games(game, capacity):
            assert least >= simple_bound(passes, fiber, capacity)
            assert least >= loads_bound(game, capacity)
            assert least == loads_bound(game, capacity) or (rank == "M" and name in TWO_CHAINS)


@pytest.mark.parametrize(("name", "rank", "sizes"), library_instances(2))
def test_library(name, rank, sizes):
    check_library(name, rank, sizes)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "rank", "sizes"), library_instances(3, 4, 5))
def test_library_with_other_fibers(name, rank, sizes):
    check_library(name, rank, sizes)


@pytest.mark.parametrize(
    ("name", "extra"),
    [("attention-3-pass", 2), ("attention-3-pass-deferred", 1)],
)
@pytest.mark.parametrize("fiber", [3, 4, 5])
def test_attention_in_closed_form(name, extra, fiber):
    """K, then QK or SN once more per pass, with room for a value of V in the last; V once."""
    game = Game(load_cascade(name), "M", {"M": fiber})
    for capacity in range(2, fiber + 1):
        expected = 2 * fiber + extra * (fiber - capacity) + 1
        assert both_games(game, capacity) == (expected, expected)


def test_two_softmaxes_share_the_fast_memory():
    """What one of the two keeps, the other loads again: the bound, which looks at each by itself, is not met."""
    game = Game(load_cascade("attention-differential"), "M", {"M": 3})
    for capacity, (loads, bound) in {2: (15, 15), 3: (13, 11), 4: (11, 9), 5: (10, 9), 6: (9, 9)}.items():
        assert loads_bound(game, capacity) == bound
        assert both_games(game, capacity) == (loads, loads)


@pytest.mark.parametrize(("rows", "tile"), [(1, 3), (1, 4), (2, 2), (2, 3), (3, 2)])
def test_one_pass_attention_reads_a_tile_twice(rows, tile):
    """One pass over M1, two over the fiber of M0: a tile of keys beside a value of BV is what must fit."""
    cascade = load_cascade("attention-1-pass")
    game = Game(cascade, "M", {"M1": rows, "M0": tile})
    assert analyse_passes(cascade, "M").passes == 1
    assert analyse_passes(cascade, "M0", within_tile=True).tensor_passes["BQK"] == 2
    for capacity in range(2, tile + 2):
        reloads = rows * max(0, tile - capacity + 1)
        assert both_games(game, capacity) == (2 * rows * tile + reloads, 2 * rows * tile + reloads)


# ---------------------------------------------------------------- random cascades

SIZES = {"plain": {"K": 3}, "iterative": {"K": 3}, "partitioned": {"K1": 2, "K0": 2}, "tiles": {"K1": 2, "K0": 2}}


def check_random(cascade, sizes, capacities):
    """Check the bounds; return whether the sharp one is met, per game and capacity."""
    game, fiber = Game(cascade, "K", sizes), math.prod(sizes.values())
    assert longest_chain(game) == analyse_passes(cascade, "K").passes, cascade
    passes = longest_chain(game, game.rooted)
    met = []
    for capacity in capacities:
        bound = loads_bound(game, capacity)
        assert bound >= simple_bound(passes, fiber, capacity)
        for least in both_games(game, capacity):
            if least is not None:
                assert least >= bound, cascade
                met.append(least == bound)
    return met


@pytest.mark.parametrize("kind", KINDS)
def test_random_cascades(kind):
    """Up to four Einsums over two inputs; nearly always the bound is even met."""
    met = [m for seed in range(15) for m in check_random(random_cascade(seed, kind, steps=4), SIZES[kind], (1, 2, 3))]
    assert len(met) >= 60
    assert sum(met) >= 0.9 * len(met)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_more_random_cascades(kind):
    for seed in range(15, 100):
        check_random(random_cascade(seed, kind, steps=4), SIZES[kind], (1, 2, 3))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_longer_random_cascades(kind):
    for seed in range(100, 130):
        check_random(random_cascade(seed, kind, steps=6, inputs=1 + seed % 2), SIZES[kind], (1, 2))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["plain", "iterative"])
def test_random_cascades_on_longer_fibers(kind):
    for seed in range(200, 240):
        check_random(random_cascade(seed, kind, steps=4), {"K": 5}, (1, 2, 3))


# ---------------------------------------------------------------- passes over one tensor


def forced_passes(game, tensor):
    """The longest chain of Einsums that read a tensor or what it is computed from."""
    return longest_chain(game, game.lineage(tensor) & game.rooted)


ATTENTION = [name for name in library_names() if name.startswith("attention-")]


@pytest.mark.parametrize(
    ("name", "fiber"),
    [
        *((name, 3 if name in TWO_CHAINS else 4) for name in ATTENTION),
        *(pytest.param(name, 4, marks=pytest.mark.slow) for name in TWO_CHAINS),  # twice the tensors, ten times as long
    ],
)
def test_loads_of_each_tensor_of_attention(name, fiber):
    """A tensor and what it is recomputed from are loaded as the passes over the tensor say."""
    cascade = load_cascade(name)
    game = Game(cascade, "M", {"M1": 2, "M0": 2} if cascade.partitions else {"M": fiber})
    passes = analyse_passes(cascade, "M").tensor_passes
    for tensor in game.tensors:
        assert forced_passes(game, tensor) >= passes[tensor]
        for capacity in (2, 3, 4):
            for least in both_games(game, capacity, game.lineage(tensor)):
                assert least >= simple_bound(forced_passes(game, tensor), fiber, capacity)


@pytest.mark.parametrize("kind", KINDS)
def test_loads_of_each_tensor_of_random_cascades(kind):
    implied = []
    for seed in range(300, 310):
        cascade = random_cascade(seed, kind, steps=4)
        game, passes = Game(cascade, "K", SIZES[kind]), analyse_passes(cascade, "K").tensor_passes
        for tensor in (t for t in game.tensors if game.strands_of(t) & game.rooted):
            forced = forced_passes(game, tensor)
            implied.append(forced >= passes[tensor])
            for capacity in (1, 2):
                for least in both_games(game, capacity, game.lineage(tensor)):
                    assert least is None or least >= simple_bound(forced, len(game.columns), capacity), cascade
    assert sum(implied) >= 0.9 * len(implied)


# ---------------------------------------------------------------- where the bound is met


def forward_cascade(passes, seed):
    """A path of tensors A, B1, B2, ...; each pass ends with a sum that the first map of the next one reads."""
    generator = random.Random(seed)
    last, names, body = "A", ["A: [K]"], []
    for number in range(1, passes + 1):
        for step in range(generator.randint(number > 1, 2)):
            scalar = f" * S{number - 1}" if number > 1 and step == 0 else ""
            new = f"B{len(names)}"
            body.append(f"{new}[k] = tanh({last}[k]{scalar})")
            names.append(f"{new}: [K]")
            last = new
            if generator.random() < 0.3:
                body.append(f"X{len(names)} = {last}[k] :: reduce(k) max")
                names.append(f"X{len(names)}: []")
        body.append(f"S{number} = {last}[k]")
        names.append(f"S{number}: []")
    lines = "".join(f'  - "{line}"\n' for line in body)
    return parse_cascade(f"declaration: {{{', '.join(names)}}}\nexpressions:\n{lines}")


@GAMES
@pytest.mark.parametrize("passes", [1, 2, 3, 4])
@pytest.mark.parametrize("fiber", [2, 3, 5])
def test_forward_cascades_meet_the_bound(passes, fiber, recompute):
    for seed in range(4):
        cascade = forward_cascade(passes, seed)
        assert analyse_passes(cascade, "K").passes == passes
        game = Game(cascade, "K", {"K": fiber})
        for capacity in range(1, fiber + 2):
            least = least_loads(game, capacity, recompute=recompute)
            assert least == simple_bound(passes, fiber, capacity)


@GAMES
@pytest.mark.parametrize("fiber", [2, 3, 4])
def test_worked_examples(fiber, recompute):
    """`Z = (sum A*B) * sum A`: two passes over A; with the multiplication deferred, one; iterated, one."""
    two = parse_cascade(
        "{declaration: {A: [K], B: [K], Y: [], Z: []}, expressions: ['Y = A[k] * B[k]', 'Z = Y * A[k]']}"
    )
    deferred = parse_cascade(
        "{declaration: {A: [K], B: [K], Y: [], X: [], Z: []},"
        " expressions: ['Y = A[k] * B[k]', 'X = A[k]', 'Z = Y * X']}"
    )
    iterated = parse_cascade("""
        declaration: {A: [K], B: [K], RY: [K], RZ: [K], Z: []}
        init: ["RY[0] = 1", "RZ[0] = 0"]
        expressions:
          - RY[k+1] = RY[k] + A[k] * B[k]
          - RZ[k+1] = RZ[k] * RY[k+1] / RY[k] + RY[k+1] * A[k]
        final: ["Z = RZ[K]"]
        stop: k >= K
    """)
    for capacity in range(2, fiber + 2):
        for cascade, passes in ((two, 2), (deferred, 1), (iterated, 1)):
            game = Game(cascade, "K", {"K": fiber})
            reloads = (passes - 1) * max(0, fiber - capacity + 1)
            assert least_loads(game, capacity, recompute=recompute) == 2 * fiber + reloads


# ---------------------------------------------------------------- what the theorem needs


def test_crossing_partial_results_are_no_chain():
    """Sums of rows and of columns: no loop order streams both, but a corner of the matrix needs no whole pass."""
    cascade = parse_cascade("""
        declaration: {A: [K1, K0], R: [K1], C: [K0], Z: []}
        partition: {K: [K1, K0]}
        expressions: ["R[k1] = A[k1, k0]", "C[k0] = A[k1, k0]", "Z = A[k1, k0] * R[k1] * C[k0]"]
    """)
    game = Game(cascade, "K", {"K1": 2, "K0": 2})
    assert analyse_passes(cascade, "K").passes == 2
    assert longest_chain(game) == 1
    assert both_games(game, 3) == (4, 4)
    assert simple_bound(2, 4, 3) == 5


def test_passes_over_a_tensor_are_those_of_the_fewest_passes_of_all():
    """In two passes A is read in both; in three, once: between the sum of B and the sum over C."""
    cascade = parse_cascade("""
        declaration: {A: [K], B: [K], C: [K], S: [], R: [], Y: [], W: []}
        expressions: ["S = B[k]", "R = A[k]", "Y = A[k] * S", "W = C[k] * R"]
    """)
    analysis = analyse_passes(cascade, "K")
    assert (analysis.passes, analysis.tensor_passes["A"]) == (2, 2)
    game = Game(cascade, "K", {"K": 4})
    assert forced_passes(game, "A") == 1
    assert both_games(game, 1) == (12, 12)


def test_too_little_room_for_one_point():
    game = Game(load_cascade("attention-3-pass"), "M", {"M": 3})
    assert both_games(game, 1) == (None, None)


def test_ranks_outside_the_family_are_not_summed():
    with pytest.raises(ValueError, match="QK is summed over a rank outside the family"):
        Game(load_cascade("attention-3-pass"), "M", {"M": 2, "E": 2})
    with pytest.raises(ValueError, match="no other rank may be iterative"):
        Game(load_cascade("attention-1-pass"), "P", {"M1": 2, "M0": 2, "P": 2})


# ---------------------------------------------------------------- the search itself


def check_search(kind, sizes, seeds, steps, recompute, capacities=(1, 2, 3), values=math.inf):
    """All loads and those of one strand, on games of at most so many values."""
    for seed in seeds:
        game = Game(random_cascade(seed, kind, steps=steps, inputs=1 + seed % 2), "K", sizes)
        if len(game.strands) * len(game.columns) > values:
            continue
        for capacity in capacities:
            for counted in (None, 1 << seed % len(game.strands)):
                least = least_loads(game, capacity, recompute=recompute, counted=counted)
                assert least == least_loads_plain(game, capacity, recompute=recompute, counted=counted), game.cascade


@GAMES
@pytest.mark.parametrize(
    ("kind", "sizes", "steps", "number"),
    [
        ("plain", {"K": 2}, 4, 10),
        ("iterative", {"K": 2}, 4, 10),
        ("tiles", {"K1": 1, "K0": 2}, 4, 10),
        ("partitioned", {"K1": 2, "K0": 1}, 4, 10),
        ("plain", {"K": 3}, 3, 6),
    ],
)
def test_search_against_a_plain_one(kind, sizes, steps, number, recompute):
    """The reductions of the search lose nothing."""
    check_search(kind, sizes, range(1000, 1000 + number), steps, recompute)


@pytest.mark.slow
@GAMES
@pytest.mark.parametrize("kind", KINDS)
def test_search_against_a_plain_one_on_more(kind, recompute):
    check_search(kind, {"K": 2} if len(SIZES[kind]) == 1 else {"K1": 1, "K0": 2}, range(5000, 5030), 5, recompute)
    check_search(kind, SIZES[kind], range(6000, 6020), 4, recompute, capacities=(1, 2), values=9)
