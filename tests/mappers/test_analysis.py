"""The loop-nest analysis against execution of thousands of random nests, value by value with real buffers."""

from __future__ import annotations

import random

import pytest
from nest_simulator import iterations, simulate

from hw_models.activity import Count
from mappers.analysis import analyse, compile_nest
from mappers.nest import Hold, Loop, LoopNest, Operand

MEMORIES = ("dram", "global_buffer", "array_2d")
MAX_ITERATIONS = 400


def random_nest(rng: random.Random) -> LoopNest:
    """Up to six loops over up to four ranks, two or three operands, up to three memories, bypasses, scope."""
    ranks = "MNKB"[: rng.randint(1, 4)]
    loops: list[Loop] = []
    for _ in range(rng.randint(1, 6)):
        loops.append(Loop(rng.choice(ranks), rng.randint(1, 4), rng.random() < 0.35))
    while iterations(LoopNest((), tuple(loops), ())) > MAX_ITERATIONS:
        loops.pop(rng.randrange(len(loops)))
    scope = rng.choice((0, 0, 1, 2))
    names = rng.choice((("A", "Z"), ("A", "B", "Z")))
    operands = [Operand(name, tuple(r for r in ranks if rng.random() < 0.6), output=name == "Z") for name in names]
    innermost = 1 + max((i for i, loop in enumerate(loops) if loop.spatial), default=-1)
    spatial_reduction = rng.random() < 0.6
    if not spatial_reduction:
        output = operands[-1]
        loops = [Loop(x.rank, x.extent, x.spatial and x.rank in output.ranks) for x in loops]
    scope = min(scope, len(loops))
    holds = [h for o in operands for h in _random_holds(rng, o.tensor, innermost, scope, len(loops))]
    return LoopNest(
        tuple(operands),
        tuple(loops),
        tuple(holds),
        scope=scope,
        multicast=rng.random() < 0.7,
        spatial_reduction=spatial_reduction,
    )


def _random_holds(rng: random.Random, tensor: str, innermost: int, scope: int, loops: int) -> list[Hold]:
    inner = rng.randint(max(innermost, scope), loops)
    home = 0 if rng.random() < 0.8 else rng.randint(0, inner)
    holds = [Hold(MEMORIES[0], tensor, home)]
    if rng.random() < 0.6:
        holds.append(Hold(MEMORIES[1], tensor, rng.randint(max(home, scope), inner)))
    if rng.random() < 0.95:
        holds.append(Hold(MEMORIES[2], tensor, inner))
    else:
        holds[-1] = Hold(holds[-1].memory, tensor, inner)
    return holds


def counts(nest: LoopNest) -> dict[tuple[str, str], Count]:
    return {(c.memory, c.tensor): c for c in analyse(nest)}


@pytest.mark.parametrize("seed", [*range(4), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(4, 8))])
def test_analysis_equals_execution_of_random_nests(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(500):
        nest = random_nest(rng)
        assert counts(nest) == simulate(nest), nest


def test_home_values_are_the_accesses_to_the_homes() -> None:
    rng = random.Random(99)
    for _ in range(150):
        nest = random_nest(rng)
        if any(sum(h.tensor == o.tensor for h in nest.holds) < 2 for o in nest.operands):
            continue  # computed on where it lives: no traffic between memories
        ranks, extents, spatial = zip(*((x.rank, x.extent, x.spatial) for x in nest.loops), strict=True)
        options = (nest.scope, nest.multicast, nest.spatial_reduction)
        compiled = compile_nest(nest.operands, ranks, spatial, nest.holds, *options)
        homes = [c for c in simulate(nest).values() if c.memory == MEMORIES[0]]
        assert compiled.home_values(extents) == sum(c.reads + c.updates for c in homes), nest


def matmul(*loops: Loop, holds: tuple[Hold, ...], **options: bool) -> LoopNest:
    operands = (Operand("A", ("M", "K")), Operand("B", ("K", "N")), Operand("Z", ("M", "N"), output=True))
    return LoopNest(operands, loops, holds, **options)


def registers(depth: int) -> tuple[Hold, ...]:
    return tuple(Hold(m, t, d) for t in "ABZ" for m, d in (("dram", 0), ("array_2d", depth)))


def test_output_stationary_product_by_hand() -> None:
    """2 x 3 PEs, 4 products each: an operand value serves a row or column of PEs, a result leaves once."""
    nest = matmul(Loop("M", 2, True), Loop("N", 3, True), Loop("K", 4), holds=registers(3))
    expected = {
        Count("dram", "A", reads=2 * 4),
        Count("dram", "B", reads=3 * 4),
        Count("dram", "Z", updates=6),
        Count("array_2d", "A", reads=24, fills=24),
        Count("array_2d", "B", reads=24, fills=24),
        Count("array_2d", "Z", reads=24 - 6, updates=24, drains=6),
    }
    assert set(simulate(nest).values()) == expected == set(analyse(nest))


@pytest.mark.parametrize("reduced", [True, False])
def test_weight_stationary_product_by_hand(reduced: bool) -> None:
    """K over 2 PEs, summed on the way out: partial sums come back for each later visit."""
    loops = (Loop("K", 3), Loop("K", 2, reduced), Loop("N", 5), Loop("M", 4))
    counted = simulate(matmul(*loops, holds=registers(4)))
    visits = 3 if reduced else 6
    assert counted == counts(matmul(*loops, holds=registers(4)))
    assert counted["dram", "Z"] == Count("dram", "Z", reads=(visits - 1) * 20, updates=visits * 20)
    assert counted["dram", "A"].reads == 6 * 4 * 5
    assert counted["dram", "B"].reads == 6 * 5
