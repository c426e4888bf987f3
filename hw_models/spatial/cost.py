"""Cost of an activity on a machine, in SI units; numbers, or arrays with a value per point.

    seconds of a phase  = the most of: its cycles / clock, and of each memory and link its bytes / bandwidth
    latency             = Σ over phases
    utilisation         = Σ useful PE-cycles of an array / (its PEs · latency · clock)

``bound`` is what the latency depends on most (``hw_models.bound``): for each resource the seconds of the phases in
which it is (one of) the slowest are summed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from einsum_cascades.loops.arith import Number, steps
from einsum_cascades.loops.sites import Site
from einsum_cascades.loops.turns import first
from hw_models.accounting import Accounting
from hw_models.bound import slowest
from hw_models.machine import Machine, Memory
from hw_models.spatial.activity import Activity
from hw_models.spatial.energy import Energy, energy
from hw_models.spatial.moved import Moved, real
from hw_models.spatial.schedule import Span, spans


class TaskCost(NamedTuple):
    """One Einsum's part.

    Attributes:
        name: the Einsum.
        array: where it runs.
        cycles: for which it occupies the array.
        share: fraction of the array's PE-cycles, over the whole latency, that it uses.
    """

    name: str
    array: str
    cycles: Number
    share: Number


@dataclass(frozen=True)
class Cost:
    """The cost of an activity.

    Attributes:
        latency_s: seconds.
        dram_bytes: traffic of the off-chip memory.
        peak_bytes: the most that one instance of each memory on chip holds at a time.
        energy: joules by node and operation.
        utilization: by array, fraction of its PE-cycles that do useful work.
        bound: seconds for which the latency depends on each resource: arrays, memories, links (``NODE link``).
        tasks: each Einsum's part.
    """

    latency_s: Number
    dram_bytes: Number
    peak_bytes: dict[str, Number]
    energy: Energy
    utilization: dict[str, Number]
    depends_s: dict[str, Number]
    tasks: tuple[TaskCost, ...]

    @property
    def energy_j(self) -> Number:
        """All parts of the energy together, in joules."""
        return self.energy.total_j

    @property
    def bound(self) -> str:
        """What the latency depends on most; of equals all, joined by ``+``."""
        return slowest({label(name, self): value for name, value in self.depends_s.items()})


def label(resource: str, cost: Cost) -> str:
    """Return what a resource is called: the off-chip memory is ``memory``, ``array_2d`` is ``2d``."""
    if resource == next(iter(cost.depends_s)):
        return "memory"
    return resource.removeprefix("array_")


def cost(activity: Activity, accounting: Accounting) -> Cost:
    """Return what an activity costs.

    Raises:
        InputError: a component has no price.
    """
    machine = activity.machine
    latency, depends = _latency(activity, spans(activity, accounting))
    cycles = latency * machine.frequency_hz
    available = {array.name: real(machine.instances(array.name)) * cycles for array in machine.arrays}
    busy: dict[str, Number] = dict.fromkeys(available, 0)
    parts = []
    for task in activity.tasks.values():
        busy[task.array] = busy[task.array] + task.pe_cycles
        parts.append(TaskCost(task.name, task.array, task.cycles, _share(task.pe_cycles, available[task.array])))
    return Cost(
        latency_s=latency,
        dram_bytes=activity.dram_bytes,
        peak_bytes={name: -(-bits // 8) for name, bits in activity.peak_bits.items()},
        energy=energy(activity, accounting, latency),
        utilization={name: _share(busy[name], available[name]) for name in available},
        depends_s=depends,
        tasks=tuple(parts),
    )


def latency_s(activity: Activity, accounting: Accounting) -> Number:
    """Return an activity's latency in seconds: the number that presets minimise and ``cost`` reports."""
    return _latency(activity, spans(activity, accounting))[0]


def phases(activity: Activity, accounting: Accounting) -> tuple[tuple[Span, Number], ...]:
    """Return of each phase the time of its computation, and how long it takes in seconds, transfers included."""
    return tuple((span, longest) for span, _, longest in _phases(activity, spans(activity, accounting)))


def _phases(activity: Activity, found: tuple[Span, ...]) -> Iterator[tuple[Span, dict[str, Number], Number]]:
    """Yield each phase, the seconds of its transfers, and what is the longest of these and of its computation."""
    moving = _seconds(activity)
    for number, span in enumerate(found):
        transfers = {name: by_phase[number] for name, by_phase in moving.items() if number in by_phase}
        longest = real(span.elapsed) / activity.machine.frequency_hz
        for seconds in transfers.values():
            longest = _most(longest, seconds)
        yield span, transfers, longest


class PhaseCost(NamedTuple):
    """What one of the phases that run one after another takes.

    Attributes:
        latency_s: seconds.
        depends_s: seconds for which it depends on each resource: 0 for those that are not the slowest.
    """

    latency_s: Number
    depends_s: dict[str, Number]


def phase_costs(activity: Activity, accounting: Accounting) -> tuple[PhaseCost, ...]:
    """Return what each phase takes and depends on, in seconds."""
    return tuple(_phase_costs(activity, spans(activity, accounting)))


def _phase_costs(activity: Activity, found: tuple[Span, ...]) -> Iterator[PhaseCost]:
    frequency_hz = activity.machine.frequency_hz
    for span, transfers, longest in _phases(activity, found):
        compute = real(span.elapsed) / frequency_hz
        depends = {name: seconds * (seconds >= longest) for name, seconds in transfers.items()}
        for name, cycles in span.waits.items():
            depends[name] = real(cycles) / frequency_hz * (compute >= longest)
        yield PhaseCost(longest, depends)


def _latency(activity: Activity, found: tuple[Span, ...]) -> tuple[Number, dict[str, Number]]:
    machine = activity.machine
    total: Number = 0.0
    depends: dict[str, Number] = {machine.root.name: 0.0}
    depends |= {array.name: 0.0 for array in machine.arrays}
    for phase in _phase_costs(activity, found):
        total = total + phase.latency_s
        for name, seconds in phase.depends_s.items():
            depends[name] = depends.get(name, 0.0) + seconds
    return total, depends


def _seconds(activity: Activity) -> dict[str, dict[int, Number]]:
    """Seconds that each memory and link with a bandwidth takes, by phase."""
    found: dict[str, dict[int, Number]] = {}
    for name, bandwidth, bits in _moved(activity):
        for phase, moved in bits.items():
            seconds = moved.bits / 8 / bandwidth
            by_phase = found.setdefault(name, {})
            by_phase[phase] = _most(by_phase[phase], seconds) if phase in by_phase else seconds
    return found


def _moved(activity: Activity) -> list[tuple[str, Number, dict[int, Moved]]]:
    """Per bandwidth what it carries in each phase, each instance its part: (resource, bytes/s, values)."""
    found: dict[tuple[str, str], tuple[Number, dict[int, Moved]]] = {}
    for row in activity.rows:
        node = activity.machine.node(row.node)
        kinds: list[tuple[str, Number | None]] = []
        if isinstance(node, Memory) and row.action in ("read", "drain", "fill", "update"):
            shared, reads, writes = node.rates
            kinds = [("", shared), (" reads", reads if row.action in ("read", "drain") else None)]
            kinds += [(" writes", writes if row.action in ("fill", "update") else None)]
        elif row.action == "sent":
            kinds = [(" link", node.link.bandwidth_bytes_per_s)]
        for kind, rate in kinds:
            if rate is None:
                continue
            at = node.parent if kind == " link" else node.name
            used = _used(activity.plan.sites[row.site], at or node.name, activity)
            by_phase = found.setdefault((node.name, kind), (rate, {}))[1]
            carried = by_phase.setdefault(activity.phase_of(row.site), Moved())
            width = activity.bits(row.tensor)
            carried.add(width, row.count if used is None else row.count // used)
            if used is not None:
                carried.add(1, steps(row.count % used * width, used))
    return [(name + kind, rate, bits) for (name, kind), (rate, bits) in found.items()]


def _used(site: Site, node: str, activity: Activity) -> Number | None:
    """How many instances of a memory the loops around a site spread its values over; None for one."""
    plan = activity.plan
    fan = plan.levels.fan_out(node)
    used: Number | None = None
    loops = plan.loops(site)
    for place, loop in enumerate(loops):
        if loop.over is not None and loop.over in fan:
            inside = [outer.tile for outer in loops[:place] if outer.rank == loop.rank]
            count = steps(first(plan.space.extent(loop.rank), inside), loop.tile)
            used = count if used is None else used * count
    return used


def _share(part: Number, whole: Number) -> Number:
    if isinstance(whole, float):
        return real(part) / whole if whole else 0.0
    import numpy as np

    return real(part) / np.where(whole == 0, 1.0, whole)


def _most(a: Any, b: Any) -> Any:
    if isinstance(a, float) and isinstance(b, float):
        return max(a, b)
    import numpy as np

    return np.maximum(a, b)


__all__ = ["Cost", "Machine", "PhaseCost", "TaskCost", "cost", "latency_s", "phase_costs", "phases"]
