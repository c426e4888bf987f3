"""The published configurations: the simulation's traffic and energy are the engine's, its latency is close."""

from collections import Counter

import pytest

from einsum_cascades.load import load_cascade
from fusemax.evaluated import SpatialEvaluation
from fusemax.experiments import CONFIGURATIONS
from fusemax.spatial import evaluate_on
from fusemax.workloads import load_model
from hw_models.accounting import accounting_named
from hw_models.load import load_architecture
from hw_models.simulator.timed.result import Timed
from hw_models.simulator.timed.simulate import simulate_timed

NAMES = [configuration.name for configuration in CONFIGURATIONS]


def both(name: str, model: str, length: int, accounting: str = "published") -> tuple[SpatialEvaluation, Timed]:
    """Return the engine's evaluation of a configuration and its simulation."""
    configuration = next(c for c in CONFIGURATIONS if c.name == name)
    cascade, machine = load_cascade(configuration.cascade), load_architecture(configuration.architecture)
    workload = load_model(model).attention(length)
    found = evaluate_on(cascade, machine, configuration.mapper, workload, accounting_named(accounting))
    return found, simulate_timed(found.mapping, found.activity.plan.space, machine, found.accounting)


def ratio(found: SpatialEvaluation, done: Timed) -> float:
    """Return the simulated latency over the engine's."""
    return done.latency_s / found.cost.latency_s


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("model", "length", "within"),
    [("BERT", 1024, 0.05), pytest.param("BERT", 4096, 0.01, marks=pytest.mark.slow), ("XLM", 16384, 0.01)],
)
def test_the_published_configurations(name: str, model: str, length: int, within: float) -> None:
    """Traffic to the byte, every access to the integer, the same energy but for leakage, and nearly the same time."""
    found, done = both(name, model, length)
    counted, moved = Counter[tuple[str, str, str]](), Counter[tuple[str, str, str]]()
    for rows, into in ((found.activity.rows, counted), (done.activity(found.accounting).rows, moved)):
        for row in rows:
            into[row.node, row.tensor, row.action] += row.count
    assert +moved == +counted
    assert done.activity(found.accounting).dram_bytes == found.cost.dram_bytes
    assert done.energy(found.accounting).total_j == pytest.approx(found.cost.energy_j, rel=1e-12)
    assert 1 - 1e-9 <= ratio(found, done) <= 1 + within
    for array in done.arrays.values():
        assert abs(array.busy + sum(array.stalled.values()) + array.over - done.cycles) <= len(array.stalled)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("accounting", ["published", "physical"])
def test_long_sequences(name: str, accounting: str) -> None:
    """64K tokens, in both accountings. Where copies count, the binding's group of queries takes the whole buffer, and
    there is no room to fetch the next keys ahead, as the engine takes for granted."""
    found, done = both(name, "BERT", 65536, accounting)
    assert done.activity(found.accounting).dram_bytes == found.cost.dram_bytes
    full = (name, accounting) == ("binding", "physical")
    assert abs(ratio(found, done) - 1) <= (0.05 if full else 0.01)


def test_the_serial_configuration_waits_for_its_array_to_drain() -> None:
    """The stall is none of what is put in: without a drain there is none."""
    configuration = next(c for c in CONFIGURATIONS if c.name == "architecture")
    cascade, workload = load_cascade(configuration.cascade), load_model("BERT").attention(4096)
    published = accounting_named("published")
    stalls = {}
    for drain in ("rows", "0"):
        machine = load_architecture(configuration.architecture, {"array_2d.drain": drain})
        found = evaluate_on(cascade, machine, configuration.mapper, workload, published)
        done = simulate_timed(found.mapping, found.activity.plan.space, machine, published)
        stalls[drain] = done.arrays["array_1d"].stalled["drain"]
        assert ratio(found, done) == pytest.approx(1, abs=0.01)
    tiles = 768 * (4096 // 256) ** 2
    assert stalls["0"] == 0
    assert 256 * tiles <= stalls["rows"] <= 1.01 * 320 * tiles  # what else waits, for 64 cycles, waits meanwhile


@pytest.mark.parametrize("name", NAMES)
def test_steady_states_run_once(name: str) -> None:
    """What is left out as proven alike is what would have run: with every task the same cycles, stalls and accesses."""
    configuration = next(c for c in CONFIGURATIONS if c.name == name)
    cascade, machine = load_cascade(configuration.cascade), load_architecture(configuration.architecture)
    workload = load_model("T5").attention(512)
    found = evaluate_on(cascade, machine, configuration.mapper, workload, accounting_named("published"))
    space = found.activity.plan.space
    once = simulate_timed(found.mapping, space, machine, found.accounting)
    every = simulate_timed(found.mapping, space, machine, found.accounting, every=True)
    assert once.skips
    assert not every.skips
    assert once.turns < every.turns
    for what in ("cycles", "arrays", "port_cycles", "tasks", "rows", "peak_bits", "held_bits"):
        assert getattr(once, what) == getattr(every, what), what
