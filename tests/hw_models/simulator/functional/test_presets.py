"""The presets' own trees on real machines with small arrays: results are the interpreter's, accesses the engine's."""

from __future__ import annotations

import random

import pytest
from preset_cases import SMALLER, ranks_of
from spatial import evaluated
from tree_differences import inputs_of, of_counts, of_results, of_room

from einsum_cascades.errors import InputError
from einsum_cascades.load import library_names, load_cascade
from einsum_cascades.loops.tree import INSTANCES
from hw_models.accounting import ACCOUNTINGS
from hw_models.machine import Machine
from hw_models.simulator.functional import simulate
from hw_models.spatial_machines import spatial_machine
from mappers.choose import Outcome
from mappers.presets.named import PRESETS

SIZES = {INSTANCES: 2, "E": 5, "F": 4, "M": 16, "P": 9}


def checked(outcome: Outcome, machine: Machine, accounting: str) -> list[str]:
    """Run a preset's tree; what differs. The published evaluation leaves copies and fibers in registers out of its
    capacities, so that not all of its trees fit."""
    plan = outcome.activity.plan
    inputs = inputs_of(plan.space)
    unlimited = [] if accounting == "physical" else [node.name for node in machine.nodes]
    done = simulate(outcome.tree, plan.space, machine, inputs, unlimited=unlimited)
    return [
        *of_results(done, plan.space, inputs),
        *of_counts(done, plan),
        *of_room(done, plan, lambda tensor: int(outcome.activity.bits(tensor))),
    ]


@pytest.mark.parametrize(
    ("cascade", "machine", "preset", "sizes"),
    [
        ("attention-3-pass", "flat-cloud", "unfused", {}),
        ("attention-3-pass", "flat-cloud", "flat", {}),
        ("attention-3-pass-deferred", "tpu-v4i", "flat", {"M": 9, "P": 8}),
        ("attention-3-pass", "flat-attention-mesh", "flat", {"M": 9, "P": 12}),
        ("attention-1-pass", "fusemax-cloud", "fusemax-serial", {}),
        ("attention-1-pass", "fusemax-cloud", "fusemax-interleaved", {INSTANCES: 1, "M": 38, "P": 8}),
        ("attention-2-pass", "fusemax-cloud", "fusemax-interleaved", {INSTANCES: 1, "M": 12}),
        ("attention-causal", "phone-npu", "unfused", {"M": 12}),
        ("layer-norm", "tpu-v4i", "fusemax-serial", {INSTANCES: 1}),
    ],
)
def test_presets_do_what_the_engine_says(cascade: str, machine: str, preset: str, sizes: dict[str, int]) -> None:
    narrow = [f"{name}={3 + place}" for place, name in enumerate(SMALLER[machine][1][:2])]
    chip = spatial_machine(machine, narrow)
    found = evaluated(preset, cascade, SIZES | sizes, chip, ACCOUNTINGS["physical"])
    assert checked(found, chip, "physical") == []


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_presets_on_all_machines_do_what_the_engine_says(part: int) -> None:
    run = 0
    for seed in range(40 * part, 40 * part + 40):
        generator = random.Random(f"simulated {seed}")
        name, machine = generator.choice(library_names()), generator.choice(list(SMALLER))
        cascade, preset = load_cascade(name), generator.choice(list(PRESETS))
        accounting = generator.choice(list(ACCOUNTINGS))
        sizes = {rank: generator.choice((1, 2, 3, 5, 8, 9, 12, 13, 16, 20)) for rank in sorted(ranks_of(cascade))}
        memories, dimensions = SMALLER[machine]
        changes = [f"{dimension}={generator.choice((2, 3, 4))}" for dimension in dimensions]
        changes += [f"{memory}.bytes={generator.choice((256, 512, 1024, 2048, 8192))}" for memory in memories]
        try:
            chip = spatial_machine(machine, changes)
            sizes[INSTANCES] = generator.choice((1, 1, 2, 3))
            found = evaluated(preset, cascade, sizes, chip, ACCOUNTINGS[accounting])
        except InputError:
            continue
        assert checked(found, chip, accounting) == [], (seed, name, machine, preset, accounting, sizes, changes)
        run += 1
    assert run > 20
