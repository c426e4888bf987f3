"""Every mapping that the engine evaluates moves at least the least traffic of fused tiles.

The capacity of the bound is all that the mapping holds on chip: in the buffer, in the register files of both arrays, in
which partial sums wait, and between them. Cascades, machines, capacities and sizes are drawn at random; a
mapping that a strategy cannot make says so and is passed over.
"""

import random

import pytest

from einsum_cascades.errors import InputError
from einsum_cascades.load import library_names, load_cascade
from einsum_cascades.traffic import traffic_bound
from fusemax.evaluation import evaluate
from fusemax.workloads import settable_ranks
from mappers.presets.named import PRESETS

SPATIAL = ("flat-cloud", "flat-edge", "fusemax-cloud")
SIZES = [1, 3, 17, 32, 64, 100, 128, 256, 384, 1000, 1024, 4096]


def held_bytes(evaluation):
    """The most that all memories on chip hold: at most that much can be reused."""
    machine, peaks = evaluation.architecture, evaluation.cost.peak_bytes
    return sum(bytes * machine.instances(name) for name, bytes in peaks.items())


def random_evaluation(generator):
    cascade = load_cascade(generator.choice(library_names()))
    sizes = {rank: generator.choice(SIZES) for rank in settable_ranks(cascade)}
    changes = [f"global_buffer.bytes={2 ** generator.randint(9, 25)}"]
    if generator.random() < 0.6:
        changes += [f"array_2d.{side}={generator.choice([8, 16, 32])}" for side in ("rows", "columns")]
    return evaluate(
        cascade,
        generator.choice(SPATIAL),
        generator.choice(list(PRESETS)),
        sizes=sizes,
        heads=generator.choice([1, 12]),
        accounting=generator.choice(["published", "physical"]),
        set_arch=changes,
    )


def ratios(seeds):
    """Traffic over the bound, of every mapping that can be made."""
    found = []
    for seed in seeds:
        try:
            evaluation = random_evaluation(random.Random(seed))
        except InputError:
            continue
        capacity = held_bytes(evaluation)
        sizes, instances = evaluation.workload.as_dict(), evaluation.workload.instances
        least = traffic_bound(evaluation.cascade, sizes, capacity, instances=instances)
        found.append(evaluation.cost.dram_bytes / least.dram_bytes)
    return found


def test_random_mappings():
    """Many attain it."""
    found = ratios(range(12))
    assert len(found) >= 4
    assert min(found) >= 1
    assert sum(ratio < 1.05 for ratio in found) >= len(found) / 5


@pytest.mark.slow
@pytest.mark.parametrize("block", range(5))
def test_more_random_mappings(block):
    found = ratios(range(1000 + 15 * block, 1015 + 15 * block))
    assert len(found) >= 3
    assert min(found) >= 1


@pytest.mark.parametrize(
    ("mapper", "length"),
    [
        ("fusemax-serial", 1024),
        ("fusemax-interleaved", 1024),
        pytest.param("fusemax-serial", 2**20, marks=pytest.mark.slow),
        ("fusemax-interleaved", 2**20),
    ],
)
def test_published_mappings_lie_close_above(mapper, length):
    """What FuseMax keeps in the buffer alone bounds its traffic, within the room of one tile."""
    found = evaluate("attention-1-pass", "fusemax-cloud", mapper, model="BERT", seq_len=length)
    sizes, instances = found.workload.as_dict(), found.workload.instances
    least = traffic_bound(found.cascade, sizes, found.cost.peak_bytes["global_buffer"], instances=instances).dram_bytes
    assert least <= found.cost.dram_bytes <= 1.05 * least
