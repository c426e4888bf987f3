"""Small random problems: a random cascade on a small array, whose space can be gone through."""

from __future__ import annotations

import random
from typing import Any

from random_einsums import random_einsums

from einsum_cascades.errors import InputError
from einsum_cascades.ir import Cascade
from einsum_cascades.load import load_cascade, parse_cascade
from hw_models.accounting import ACCOUNTINGS
from hw_models.load import load_architecture
from mappers.presets.problem import Problem
from mappers.search.certificate import certificate_of
from mappers.search.search import Answer

LIBRARY = ("attention-1-pass", "attention-2-pass", "attention-3-pass", "attention-3-pass-deferred")


def small_problem(seed: int) -> Problem | None:
    """Return a problem that depends on nothing but the seed; None where the cascade is none."""
    generator = random.Random(f"problem {seed}")
    try:
        cascade = load_cascade(generator.choice(LIBRARY)) if seed % 8 == 0 else parse_cascade(random_einsums(seed))
    except InputError:
        return None
    used = {access.tensor for einsum in cascade.einsums for access in einsum.inputs}
    if not set(cascade.inputs) <= used:
        return None
    changes = {
        "array_2d.rows": generator.choice((2, 4)),
        "array_2d.columns": generator.choice((2, 4)),
        "array_1d.columns": generator.choice((2, 4, 8)),
        "array_2d.registers": generator.choice((4, 8, 12)),
        "dram.bandwidth_bytes_per_s": generator.choice((1e9, 1e10, 4e11)),
        "global_buffer.bytes": generator.choice((128, 512, 2048, 16384)),
    }
    machine = load_architecture(
        generator.choice(("fusemax-cloud", "flat-cloud")), [f"{key}={value}" for key, value in changes.items()]
    )
    accounting = ACCOUNTINGS[generator.choice(("published", "physical"))]
    return Problem(cascade, {"instances": generator.choice((1, 3)), **_sizes(cascade, generator)}, machine, accounting)


def _sizes(cascade: Cascade, generator: random.Random) -> dict[str, int]:
    parts = {part for p in cascade.partitions for part in p.parts}
    ranks = {r for d in cascade.declarations for r in d.ranks if r not in parts} | {p.rank for p in cascade.partitions}
    return {rank: generator.choice((1, 2, 3, 5, 8, 12)) for rank in sorted(ranks)}


def certified(answer: Answer) -> dict[str, Any]:
    """Return a certificate that asks for the machine of ``small_problem``."""
    machine = answer.proof.space.problem.machine
    changes = {
        f"{node.name}.{name}": str(length)
        for node in machine.arrays
        for name, length in node.dimensions
        if (node.name, name) != ("array_1d", "rows")
    }
    changes["array_2d.registers"] = str(machine.array("array_2d").registers)
    changes["dram.bandwidth_bytes_per_s"] = repr(machine.root.shared_bytes_per_s)
    changes["global_buffer.bytes"] = str(machine.memory("global_buffer").bytes)
    return certificate_of(answer, machine.name, changes)
