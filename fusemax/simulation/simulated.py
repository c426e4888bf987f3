"""One simulation: an evaluation's mapping executed in cycles, and on numbers if wanted, beside the engine's figures.

The simulators read the cascade, the machine and the loop tree, and share no counting code with the engine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from einsum_cascades.errors import InputError
from einsum_cascades.extras import require
from einsum_cascades.ir import Cascade
from einsum_cascades.loops.tree import LoopTree
from einsum_cascades.shown import Facts, Shown
from einsum_cascades.workload import Workload
from fusemax.backends import Request
from fusemax.evaluated import SpatialEvaluation
from fusemax.evaluation import asked_for, evaluate_request
from fusemax.simulation.account import CycleAccount, RoomAccount, cycle_accounts, engine_cycles, room_accounts
from fusemax.simulation.differences import Difference, of_accesses, totals
from fusemax.spatial import Mapper
from fusemax.units import quantity
from fusemax.workload_spec import Count, Name, WorkloadSpec
from hw_models.accounting import Accounting
from hw_models.load import KINDS, AnyMachine
from hw_models.machine import Machine
from hw_models.simulator.recording import Recording
from hw_models.spatial.activity import Activity
from hw_models.spatial.energy import Energy

if TYPE_CHECKING:
    from fusemax.simulation.on_numbers import Checked
    from hw_models.simulator.timed.result import Timed

Progress = Callable[[str, float], None]
"""Is told what runs, and what part of it is done."""
IN_CYCLES: Final = "in cycles"
ON_NUMBERS: Final = "on numbers"


@dataclass(frozen=True, repr=False, eq=False)
class Simulation(Shown):
    """A mapping executed: what the simulation found, beside what the engine says.

    Attributes:
        evaluation: the engine's figures, with the mapping that was executed.
        timed: the run in cycles.
        recording: the first stretch of the run, with some steady epochs, for a picture.
        begins: by array, port and link, the cycle of its first task.
        on_numbers: what running it on numbers showed; None if that was not asked for.
    """

    evaluation: SpatialEvaluation
    timed: Timed
    recording: Recording
    begins: Mapping[str, int]
    on_numbers: Checked | None = None

    @cached_property
    def activity(self) -> Activity:
        """What the machine did, as the engine's table."""
        return self.timed.activity(self.evaluation.accounting)

    @cached_property
    def energy(self) -> Energy:
        """What that costs in energy."""
        return self.timed.energy(self.evaluation.accounting)

    @property
    def cycles(self) -> int:
        """From the first to when the last result has arrived."""
        return self.timed.cycles

    @property
    def engine_cycles(self) -> int:
        """What the engine says."""
        return engine_cycles(self.evaluation)

    @cached_property
    def accounts(self) -> tuple[CycleAccount, ...]:
        """Where the cycles of each array go, in both accounts; those that idle least first."""
        return cycle_accounts(self.evaluation, self.timed)

    @cached_property
    def rooms(self) -> tuple[RoomAccount, ...]:
        """What each memory on chip holds at most, in both accounts."""
        return room_accounts(self.evaluation, self.timed)

    @cached_property
    def differences(self) -> tuple[Difference, ...]:
        """Accesses and cycles of work that are not the engine's; none, if both are right."""
        engine = self.evaluation.activity
        found = of_accesses(totals(engine.rows), totals(self.activity.rows))
        for (number, said), ran in zip(engine.tasks.items(), self.timed.tasks, strict=True):
            if said.cycles != ran.cycles:
                array = self.activity.tasks[number].array
                found.append(Difference(f"cycles of {said.name} on {array}", int(said.cycles), ran.cycles))
        return tuple(found)

    def shown(self) -> tuple[str, Facts]:
        """Return the figures of both."""
        found, least = self.evaluation, self.accounts[0]
        facts = {
            "cycles": f"{self.cycles:,}",
            "by the engine": f"{self.engine_cycles:,}",
            "latency": quantity(self.timed.latency_s, "s"),
            "energy": quantity(float(self.energy.total_j), "J"),
            "off-chip traffic": quantity(int(self.activity.dram_bytes), "B"),
            f"{least.array} works": f"{100 * least.simulated['works'] / max(self.cycles, 1):.1f} %",
            "accesses": "the engine's" if not self.differences else f"{len(self.differences)} differ from the engine's",
        }
        if self.on_numbers is not None:
            facts["error on numbers"] = f"{self.on_numbers.max_error:.1g}"
        return f"{found.cascade.name} on {found.architecture.name}, simulated", list(facts.items())

    def as_dict(self) -> dict[str, Any]:
        """Return plain data: the engine's figures and the simulation's under the same keys, and what explains them."""
        row = self.evaluation.as_dict()
        kept = ("cascade", "arch", "kind", "mapper", "accounting", "model", "batch", "heads", "sizes", "bits", "tiles")
        timed = self.timed
        return {
            **{key: row[key] for key in kept},
            "engine": self._engine(),
            "simulated": self._simulated(),
            "stalls": {name: dict(array.stalled) for name, array in timed.arrays.items()},
            "busy": {name: array.busy for name, array in timed.arrays.items()},
            "over": {name: array.over for name, array in timed.arrays.items()},
            "begins": dict(self.begins),
            "ports": {name: float(cycles) for name, cycles in timed.port_cycles.items()},
            "accounts": [
                {"array": one.array, "engine": dict(one.engine), "simulated": dict(one.simulated), "ends": one.ends}
                for one in self.accounts
            ],
            "rooms": [vars(one) for one in self.rooms],
            "per_einsum": self.per_einsum(),
            "differences": [difference.as_dict() for difference in self.differences],
            "skipped": [vars(one) for one in timed.skips],
            "turns": timed.turns,
        } | self._on_numbers()

    def per_einsum(self) -> list[dict[str, Any]]:
        """Return each compute's cycles of work by the engine and in the simulation, and in how many tasks."""
        return [
            {
                "einsum": ran.name,
                "array": ran.array,
                "engine": int(said.cycles),
                "simulated": ran.cycles,
                "tasks": ran.visits,
            }
            for said, ran in zip(self.evaluation.activity.tasks.values(), self.timed.tasks, strict=True)
        ]

    def _engine(self) -> dict[str, Any]:
        cost, activity = self.evaluation.cost, self.evaluation.activity
        return {
            "cycles": self.engine_cycles,
            "latency_s": cost.latency_s,
            "dram_bytes": cost.dram_bytes,
            "energy_j": cost.energy_j,
            "energy_parts_j": dict(cost.energy.parts_j),
            "bytes": self._bytes(activity),
            "peaks": {one.memory: -(-one.engine // 8) for one in self.rooms},
        }

    def _simulated(self) -> dict[str, Any]:
        on_chip = [one.memory for one in self.rooms]
        return {
            "cycles": self.cycles,
            "latency_s": self.timed.latency_s,
            "dram_bytes": int(self.activity.dram_bytes),
            "energy_j": float(self.energy.total_j),
            "energy_parts_j": dict(self.energy.parts_j),
            "bytes": self._bytes(self.activity),
            "peaks": {name: -(-self.timed.peak_bits[name] // 8) for name in on_chip},
            "peaks_with_ahead": {name: -(-self.timed.held_bits[name] // 8) for name in on_chip},
        }

    def _bytes(self, activity: Activity) -> dict[str, int]:
        return {memory.name: int(activity.bytes_of(memory.name)) for memory in self.evaluation.architecture.memories}

    def _on_numbers(self) -> dict[str, Any]:
        found = self.on_numbers
        if found is None:
            return {}
        return {
            "max_error": found.max_error,
            "checked_reads": found.checked_reads,
            "points": found.points,
            "peaks_on_numbers": {name: -(-bits // 8) for name, bits in found.peak_bits.items()},
            "differences_on_numbers": [difference.as_dict() for difference in found.differences],
        }


def simulate(
    cascade: Name | Cascade | None = None,
    arch: Name | AnyMachine | None = None,
    mapper: Mapper | None = None,
    *,
    mapping: Name | LoopTree | None = None,
    workload: Workload | WorkloadSpec | None = None,
    accounting: str | Accounting | None = None,
    set_arch: Sequence[str] = (),
    dtype: str | None = None,
    functional: bool = False,
    every: bool = False,
    trace: Name | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    **described: Name | Count | Mapping[str, Count] | None,
) -> Simulation:
    """Execute a mapping on a spatial array, cycle by cycle, and set the engine's figures beside what happens.

    All that describes the cascade, the machine, the mapping and the workload is as for ``evaluate``. Needs the extra
    ``kernels``.

    Args:
        functional: whether it is run on numbers too, point by point: its result must be the interpreter's, its accesses
            and its room the engine's. For small sizes.
        every: whether each task is run one by one, and not what is proven to repeat others left out.
        trace: a file for the whole run, which the Perfetto viewer (ui.perfetto.dev) opens.
        seed: of the numbers.
        progress: is told what runs, and what part of it is done.

    Raises:
        InputError: anything unusable, with what would be right; on numbers also a value that is not where it is read,
            or room that a memory lacks.
    """
    plain: dict[str, Any] = described
    asked = asked_for(cascade, arch, mapper, mapping, workload, accounting, set_arch, dtype=dtype, **plain)
    return simulate_request(
        asked.request(), functional=functional, every=every, trace=trace, seed=seed, progress=progress
    )


def simulate_request(
    request: Request,
    *,
    functional: bool = False,
    every: bool = False,
    trace: str | PathLike[str] | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Simulation:
    """Simulate what has been read; the arguments are those of ``simulate``.

    Raises:
        InputError: the machine cannot do what is asked.
    """
    machine = request.machine
    if not isinstance(machine, Machine):
        raise InputError(
            f"{machine.name} is a {KINDS[machine.kind].title}, and a simulation executes a loop tree",
            hint="give a spatial array, such as fusemax-cloud; "
            f"'fusemax measure {machine.kind}' runs cascades on a {machine.kind.upper()}",
        )
    require("kernels", "a simulation")
    found = evaluate_request(request)
    assert isinstance(found, SpatialEvaluation)
    if not functional:
        return _in_cycles(found, every, trace, _told(progress, IN_CYCLES))
    from fusemax.simulation.on_numbers import check_on_numbers, points_of

    points_of(found)
    simulated = _in_cycles(found, every, trace, _told(progress, IN_CYCLES))
    return replace(simulated, on_numbers=check_on_numbers(found, seed, _told(progress, ON_NUMBERS)))


def _told(progress: Progress | None, what: str) -> Callable[[float], None]:
    """Return what tells shares from 0 to 1 that never go back."""
    most = 0.0

    def tell(share: float) -> None:
        nonlocal most
        most = min(1.0, max(most, float(share)))
        if progress is not None:
            progress(what, most)

    return tell


def _in_cycles(
    found: SpatialEvaluation, every: bool, trace: str | PathLike[str] | None, progress: Callable[[float], None]
) -> Simulation:
    from fusemax.simulation.perfetto import TraceWriter
    from fusemax.simulation.watch import Watch
    from hw_models.simulator.timed.simulate import simulate_timed

    with nullcontext() if trace is None else TraceWriter(Path(trace)) as writer:
        watch = Watch(writer)
        timed = simulate_timed(
            found.mapping,
            found.activity.plan.space,
            found.architecture,
            found.accounting,
            every=every,
            record=watch.add,
            progress=progress,
        )
    assert watch.recording is not None
    return Simulation(found, timed, watch.recording, watch.begins)
