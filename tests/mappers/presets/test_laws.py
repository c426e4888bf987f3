"""Laws that every preset keeps, on random cascades, machines and sizes (``preset_cases.py``).

Presets that choose among mappings are asked for more: what gives them more choices never hurts.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from preset_cases import SMALLER, Case, case, renamed, reordered, words_of

from einsum_cascades.loops.tree import INSTANCES
from mappers.choose import Outcome
from mappers.presets.named import PRESETS
from mappers.presets.problem import Parts, lanes

CHOOSING = ("unfused", "flat-searched", "fusemax-serial", "fusemax-interleaved")
EXACT = 1e-12
SEEDS = st.integers(0, 10**6)


def of_seeds(few: int, many: int) -> Callable[[Callable[[int], None]], Callable[[int], None]]:
    """Run a law on few seeds, and on many where slow tests run: always the same ones."""

    def decorate(law: Callable[[int], None]) -> Callable[[int], None]:
        def test(seed: int, number: int) -> None:
            assert number
            law(seed)

        drawn = given(seed=SEEDS)
        quick = settings(max_examples=few, derandomize=True, database=None)(drawn(test))
        thorough = settings(max_examples=many, derandomize=True, database=None)(drawn(test))

        def run(number: int) -> None:
            (quick if number == few else thorough)(number=number)

        run.__doc__ = law.__doc__
        sizes = [few, pytest.param(many, marks=pytest.mark.slow)]
        return pytest.mark.parametrize("number", sizes)(run)

    return decorate


def drawn(seed: int, presets: tuple[str, ...] = CHOOSING, accounting: str = "") -> tuple[Case, Outcome] | None:
    """A case and its cost, the first one of some seeds that is not refused."""
    for more in range(4):
        found = case(seed + more, presets, accounting)
        outcome = None if found is None else found.run()
        if found is not None and outcome is not None:
            return found, outcome
    return None


@of_seeds(5, 50)
def test_inputs_come_once_and_results_leave_once_at_least(seed: int) -> None:
    """And no array does more than it can; and the work is that of the cascade, whatever the preset."""
    if (found := drawn(seed, tuple(PRESETS))) is None:
        return
    asked, outcome = found
    cascade, activity = asked.cascade(), outcome.activity
    outside = [t for t in (*cascade.inputs, *cascade.outputs) if t in activity.plan.users]
    values = activity.plan.space.values
    compulsory = sum(values(cascade.ranks_of[t]) * activity.bits(t) for t in outside)
    assert 8 * outcome.cost.dram_bytes >= compulsory
    assert all(share <= 1 + EXACT for share in outcome.cost.utilization.values())
    if not cascade.partitions:  # the sizes of parts are for the preset to choose
        other = replace(asked, preset="unfused").run()
        assert other is not None
        assert work(outcome) == work(other)


def work(outcome: Outcome) -> dict[str, int]:
    found: dict[str, int] = {}
    for task in outcome.activity.tasks.values():
        for kind, number in task.operations.items():
            found[kind] = found.get(kind, 0) + number
    return found


@of_seeds(5, 40)
def test_more_buffer_or_bandwidth_never_hurts(seed: int) -> None:
    if (found := drawn(seed)) is None:
        return
    asked, outcome = found
    machine, times = asked.spatial(), random.Random(seed).choice((2, 3, 8))
    larger = asked.with_changes(
        *(f"{name}.bytes={times * machine.node(name).bytes}" for name in SMALLER[asked.machine][0])
    )
    rate = machine.root.shared_bytes_per_s
    faster = asked.with_changes(f"{machine.root.name}.bandwidth_bytes_per_s={times * rate}")
    for more in (larger, faster):
        improved = more.run()
        assert improved is not None
        assert improved.cost.latency_s <= outcome.cost.latency_s * (1 + EXACT)


@of_seeds(4, 40)
def test_twice_the_copies_cost_twice(seed: int) -> None:
    """A machine of many buffers takes at most twice as long; pipelines fill and drain once more or not."""
    if (found := drawn(seed, ("unfused", "fusemax-serial", "fusemax-interleaved"))) is None:
        return
    asked, once = found
    twice = replace(asked, sizes=asked.sizes | {INSTANCES: 2 * asked.sizes[INSTANCES]}).run()
    assert twice is not None
    assert 0 <= 2 * once.cost.dram_bytes - twice.cost.dram_bytes <= 1  # bits are rounded up to bytes
    assert twice.cost.latency_s <= 2 * once.cost.latency_s * (1 + EXACT)
    if lanes(Parts.of(asked.spatial()).outside) > 1:
        return
    assert without_leakage(twice) == pytest.approx(2 * without_leakage(once), rel=1e-9)
    if asked.accounting == "published":
        assert twice.cost.latency_s == pytest.approx(2 * once.cost.latency_s, rel=1e-9)


def without_leakage(outcome: Outcome) -> float:
    return outcome.cost.energy_j - outcome.cost.energy.parts_j.get("leakage", 0.0)


@of_seeds(5, 50)
def test_names_change_nothing(seed: int) -> None:
    if (found := drawn(seed)) is None:
        return
    asked, outcome = found
    generator = random.Random(f"names {seed}")
    tensors, ranks = words_of(asked.cascade())
    names = dict(zip(tensors, generator.sample(["A", *(f"Z{n}" for n in range(40))], len(tensors)), strict=True))
    names |= dict(zip(ranks, generator.sample([f"J{n}" for n in range(40)], len(ranks)), strict=True))
    if set(tensors) & set(ranks):
        return
    sizes = {names.get(rank, rank): size for rank, size in asked.sizes.items()}
    assert_same(outcome, replace(asked, text=renamed(asked.text, names), sizes=sizes).run())


@of_seeds(5, 50)
def test_the_order_of_independent_einsums_changes_nothing(seed: int) -> None:
    if (found := drawn(seed)) is None:
        return
    asked, outcome = found
    assert_same(outcome, replace(asked, text=reordered(asked.text, random.Random(f"order {seed}"))).run())


@pytest.mark.parametrize("seed", [10223, 10728, 10970])
def test_orders_that_once_mattered(seed: int) -> None:
    """Of vector Einsums between products; of phases that hand on a single value."""
    found = drawn(seed)
    assert found is not None
    asked, outcome = found
    assert_same(outcome, replace(asked, text=reordered(asked.text, random.Random(f"order {seed}"))).run())


def test_a_pass_without_the_axis_that_others_share_lies_along_its_own() -> None:
    found = case(305, tuple(PRESETS))
    assert found is not None
    assert replace(found, preset="unfused").run() is not None


def assert_same(outcome: Outcome, other: Outcome | None) -> None:
    assert other is not None
    assert other.cost.dram_bytes == outcome.cost.dram_bytes
    assert other.cost.latency_s == pytest.approx(outcome.cost.latency_s, rel=1e-9)


@of_seeds(4, 40)
def test_one_more_costs_at_most_one_more_tile(seed: int) -> None:
    """Of a rank of n, g being how often the largest array is filled with n; parts of ranks are cut anew for n + 1."""
    if (found := drawn(seed)) is None or found[0].cascade().partitions:
        return
    asked, outcome = found
    rank = random.Random(seed).choice(sorted(asked.sizes))
    machine, size = asked.spatial(), asked.sizes[rank]
    more = replace(asked, sizes=asked.sizes | {rank: size + 1}).run()
    if more is None:
        return  # a fiber that does not fit
    tiles = max(1, size // max(lanes(array.dimensions) for array in machine.arrays))
    assert more.cost.latency_s <= (tiles + 1) / tiles * outcome.cost.latency_s * (1 + EXACT)


@of_seeds(4, 40)
def test_fewer_registers_cost_no_less_or_are_refused(seed: int) -> None:
    if (found := drawn(seed)) is None:
        return
    asked, outcome = found
    array = random.Random(seed).choice([a for a in asked.spatial().arrays if a.registers is not None])
    fewer = asked.with_changes(f"{array.name}.registers={max(1, array.registers // 4)}").run()
    assert fewer is None or fewer.cost.latency_s >= outcome.cost.latency_s * (1 - EXACT)


@settings(max_examples=3, derandomize=True, database=None)
@given(st.integers(1, 300), st.integers(1, 40), st.integers(1, 7), st.integers(1, 40))
@pytest.mark.parametrize("machine", ["fusemax-cloud", "tpu-v4i"])
@pytest.mark.parametrize("preset", CHOOSING)
def test_joined_and_split_ranks_cost_the_same(
    preset: str, machine: str, rows: int, summed: int, heads: int, width: int
) -> None:
    split = "declaration: {X: [P, D], W: [D, H, E], Q: [P, H, E]}\nexpressions: ['Q[p, h, e] = X[p, d] * W[d, h, e]']"
    joined = "declaration: {X: [P, D], W: [D, G], Q: [P, G]}\nexpressions: ['Q[p, g] = X[p, d] * W[d, g]']"
    sizes = {INSTANCES: 1, "P": rows, "D": summed}
    apart = Case(split, {**sizes, "H": heads, "E": width}, machine, (), preset, "physical").run()
    assert apart is not None
    assert_same(apart, Case(joined, {**sizes, "G": heads * width}, machine, (), preset, "physical").run())
