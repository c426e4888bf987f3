"""One evaluation on the engine, for tests: a preset or trees, a cascade, sizes, a machine."""

from __future__ import annotations

from closed_forms import Machine as Shape2d
from closed_forms import Shape

from einsum_cascades.ir import Cascade
from einsum_cascades.load import load_cascade
from einsum_cascades.loops.tree import INSTANCES
from hw_models.accounting import PUBLISHED, Accounting
from hw_models.machine import Machine
from hw_models.spatial_machines import spatial_machine
from mappers.choose import Outcome, best
from mappers.presets.named import preset_named
from mappers.presets.problem import Problem


def sizes_of(shape: Shape) -> dict[str, int]:
    return {INSTANCES: shape.B * shape.H, "E": shape.E, "F": shape.F, "M": shape.M, "P": shape.P}


def machine_of(machine: Shape2d, name: str) -> Machine:
    """A published machine with other numbers."""
    return spatial_machine(
        name,
        [
            f"array_2d.rows={machine.rows}",
            f"array_2d.columns={machine.columns}",
            f"global_buffer.bytes={machine.buffer_bytes}",
            f"dram.bandwidth_bytes_per_s={machine.bandwidth_bytes_per_s!r}",
            f"frequency_hz={machine.frequency_hz!r}",
        ],
    )


def evaluated(
    preset: str,
    cascade: str | Cascade,
    sizes: dict[str, int],
    machine: str | Machine,
    accounting: Accounting = PUBLISHED,
) -> Outcome:
    """Return the best of a preset's trees, checked to be legal and to fit."""
    cascade = load_cascade(cascade) if isinstance(cascade, str) else cascade
    machine = spatial_machine(machine) if isinstance(machine, str) else machine
    problem = Problem(cascade, sizes, machine, accounting)
    return best(problem, preset_named(preset)(problem))
