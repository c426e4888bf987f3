"""Transfers in time: bandwidths, room for the next tile, off-chip memories; closed forms of small runs."""

import pytest

from einsum_cascades.load import load_cascade, parse_cascade
from einsum_cascades.loops.space import Space
from einsum_cascades.loops.text import parse_tree
from einsum_cascades.operators import WORK_CLASSES
from fusemax.spatial import evaluate_on
from fusemax.workloads import load_model
from hw_models.accounting import PHYSICAL
from hw_models.load import load_architecture
from hw_models.machine import Array, Machine, Memory, Unit
from hw_models.simulator.recording import Recording, joined
from hw_models.simulator.timed.result import Timed
from hw_models.simulator.timed.simulate import simulate_timed

COPY = parse_cascade("name: copy\ndeclaration: {A: [M, K], Z: [M]}\nexpressions:\n  - 'Z[m] = A[m, k]'\n")
TREE = parse_tree("""
for M step 4
  keep A in buffer
    for M step 1 over lanes.n
      keep Z in lanes
        for K step 1
          keep A in lanes
            compute Z on lanes
""")


def run(rate: int, room: int | None, cycles: int = 1, **keys: object) -> Timed:
    """Sum rows of 8 values in tiles of 4 rows: 32 bytes come in for each, 8 steps of so many cycles are taken."""
    units = tuple((kind, Unit("add", 1, cycles)) for kind in WORK_CLASSES)
    buffer = Memory("buffer", "dram", room)
    lanes = Array("lanes", "buffer", (("n", 4),), units=units)
    nodes = (Memory("dram", read_bytes_per_s=rate, **keys), buffer, lanes)  # type: ignore[arg-type]
    machine = Machine("small", nodes, 1, bits=(("inputs", 8), ("accumulators", 8), ("outputs", 8)))
    return simulate_timed(TREE, Space.of(COPY, {"M": 40, "K": 8}, ()), machine, PHYSICAL, every=True)


@pytest.mark.parametrize("rate", [1, 2, 8, 32])
@pytest.mark.parametrize("cycles", [1, 3])
def test_with_room_for_two_tiles_the_slower_of_transfer_and_work_counts(rate: int, cycles: int) -> None:
    """The first tile is waited for, and the last is worked on when all is there."""
    transfer, work = 32 // rate, 8 * cycles
    done = run(rate, 64, cycles)
    assert done.cycles == transfer + 9 * max(transfer, work) + work
    assert done.held_bits["buffer"] == 8 * 64
    assert done.peak_bits["buffer"] == 8 * 32


@pytest.mark.parametrize("rate", [1, 8, 32])
def test_with_room_for_one_tile_they_take_turns(rate: int) -> None:
    """Space is what the next tile waits for."""
    done = run(rate, 63)
    assert done.cycles == 10 * (32 // rate + 8)
    assert done.held_bits["buffer"] == 8 * 32
    assert done.arrays["lanes"].stalled["space"] == 9 * (32 // rate)
    assert done.arrays["lanes"].stalled["operands"] == 32 // rate


def test_a_latency_is_hidden_as_far_as_there_is_room() -> None:
    """With room for many tiles only the first waits for it; with room for one each does."""
    assert run(32, 1000, latency_s=5.0).cycles == 1 + 5 + 10 * 8
    assert run(32, 32, latency_s=5.0).cycles == 10 * (1 + 5 + 8)


def test_a_port_serves_all_that_share_it() -> None:
    """Its work is the bits that pass, whoever wants them."""
    done = run(4, None)
    assert done.port_cycles["dram reads"] == 40 * 8 / 4


@pytest.mark.parametrize("timing", ["hbm2", pytest.param("ddr4-3200", marks=pytest.mark.slow)])
def test_banks_and_rows_take_longer_than_their_bandwidth(timing: str) -> None:
    """A machine with a timed off-chip memory reads what is asked for, no faster than bandwidth alone lets it."""
    cascade, workload = load_cascade("attention-1-pass"), load_model("T5").attention(512)
    found = []
    for keys in ({}, {"dram.timing": timing}):
        machine = load_architecture("fusemax-cloud", keys)
        engine = evaluate_on(cascade, machine, "fusemax-interleaved", workload, PHYSICAL)
        found.append(simulate_timed(engine.mapping, engine.activity.plan.space, machine, PHYSICAL))
    plain, timed = found
    assert timed.rows == plain.rows
    assert plain.cycles < timed.cycles < 1.5 * plain.cycles
    assert not timed.skips


def test_a_recording_is_what_ran() -> None:
    """Its tasks are as long as their array was busy, its occupancy never above what was held."""
    machine = load_architecture("fusemax-cloud")
    chunks: list[Recording] = []
    workload = load_model("T5").attention(256)
    engine = evaluate_on(load_cascade("attention-1-pass"), machine, "fusemax-interleaved", workload, PHYSICAL)
    space = engine.activity.plan.space
    done = simulate_timed(engine.mapping, space, machine, PHYSICAL, every=True, record=chunks.append)
    recording = joined(chunks)
    recording.check()
    assert recording.complete
    for number, array in enumerate(machine.arrays):
        own = recording.tasks.tracks == number
        lasted = int((recording.tasks.ends[own] - recording.tasks.begins[own]).sum())
        assert (
            done.arrays[array.name].busy
            <= lasted
            <= done.arrays[array.name].busy + done.arrays[array.name].stalled["port"]
        )
        assert int(own.sum()) == sum(task.visits for task in done.tasks if task.array == array.name)
    for number, memory in enumerate(machine.memories):
        levels = recording.changes.bytes[recording.changes.counters == number]
        assert 8 * int(levels.max(initial=0)) == done.held_bits[memory.name]
