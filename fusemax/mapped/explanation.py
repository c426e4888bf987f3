"""Where the time and the room of a mapping go: its loop tree with sizes, each memory, each phase.

hold     bytes that its tiles take in one instance of its memory, copies included
memory   the most that it holds at a time, of its capacity
phase    what it depends on: the resource that is the slowest in it
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from einsum_cascades.loops.arith import steps
from einsum_cascades.loops.capacity import copies, room
from einsum_cascades.loops.sites import Site
from einsum_cascades.loops.text import text_lines
from einsum_cascades.loops.tree import Compute, Hold, Loop
from einsum_cascades.loops.turns import first
from fusemax.evaluated import SpatialEvaluation
from fusemax.evaluation import Asked
from fusemax.mapped.gains import Gain, gains
from fusemax.units import quantity
from hw_models.bound import slowest
from hw_models.spatial.activity import Activity
from hw_models.spatial.cost import label, phase_costs
from mappers.presets.problem import Problem
from mappers.search.figures import Objective


@dataclass(frozen=True)
class Held:
    """What a memory holds of a tensor.

    Attributes:
        tile: values along each rank.
        copies: how many tiles live at a time.
        bytes: of all of them, in one instance of the memory.
    """

    tensor: str
    tile: Mapping[str, int]
    copies: int
    bytes: int

    def __str__(self) -> str:
        sizes = ", ".join(f"{rank} {size:,}" for rank, size in self.tile.items())
        return self.tensor + f" [{sizes}]" * bool(sizes) + f" x {self.copies}" * (self.copies > 1) + f": {self.size}"

    @property
    def size(self) -> str:
        """The bytes, for people."""
        return quantity(self.bytes, "B")


@dataclass(frozen=True)
class TreeLine:
    """A line of a mapping's file.

    Attributes:
        depth: how deep it is.
        note: what it means in numbers.
        held: what the memory holds; empty for other nodes.
    """

    depth: int
    text: str
    note: str = ""
    held: tuple[Held, ...] = ()


@dataclass(frozen=True)
class MemoryUse:
    """What one instance of a memory, or a PE's registers, hold at most; no capacity is without limit."""

    memory: str
    held_bytes: int
    capacity_bytes: int | None


@dataclass(frozen=True)
class PhaseUse:
    """One of the phases that run one after another.

    Attributes:
        share: of the latency.
        bound: the slowest resources, joined by ``+``, as an evaluation calls them.
    """

    einsums: tuple[str, ...]
    latency_s: float
    share: float
    bound: str


@dataclass(frozen=True)
class Explanation:
    """Where time and room go, and what more of the machine would buy.

    Attributes:
        searched_s: seconds that each changed machine was searched for at most.
    """

    tree: tuple[TreeLine, ...]
    memories: tuple[MemoryUse, ...]
    phases: tuple[PhaseUse, ...]
    gains: tuple[Gain, ...]
    searched_s: float

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)


def explained(
    asked: Asked,
    problem: Problem,
    found: SpatialEvaluation,
    objective: Objective,
    seconds: float,
    limit_s: float | None,
) -> Explanation:
    """Return where the time and the room of a mapping go.

    Args:
        problem: what was mapped.
        seconds: that its search took.
        limit_s: seconds that all changed machines may be searched for.
    """
    bought, each_s = gains(asked, problem, found.mapping, objective, seconds, limit_s)
    return Explanation(tuple(_tree(found.activity)), _memories(found), tuple(_phases(found)), bought, each_s)


def _tree(activity: Activity) -> Iterator[TreeLine]:
    plan, number = activity.plan, 0
    for part, size in plan.tree.split:
        yield TreeLine(0, f"split {part} {size}")
    around: list[tuple[int, Loop]] = []
    for depth, text, nodes in text_lines(plan.tree.body):
        around = [(at, loop) for at, loop in around if at < depth]
        held: list[Held] = []
        note = ""
        for node in nodes:
            if isinstance(node, Hold):
                held.append(_held(activity, plan.sites[number], node.tensor))
            elif isinstance(node, Compute):
                note = f"{int(activity.tasks[number].cycles):,} cycles in all"
            elif isinstance(node, Loop):
                tiles = [loop.tile for _, loop in around if loop.rank == node.rank]
                count = int(steps(first(plan.space.extent(node.rank), tiles), node.tile))
                note = f"{count:,} {'positions' if node.over else 'times'}"
                around.append((depth, node))
            number += isinstance(node, Hold | Compute)
        yield TreeLine(depth, text, note or "; ".join(map(str, held)), tuple(held))


def _held(activity: Activity, site: Site, tensor: str) -> Held:
    plan, measure = activity.plan, activity.measure
    operand = plan.operand_of(site)
    ranks: dict[str, list[str]] = {}
    for rank in operand.ranks:
        ranks.setdefault(plan.space.whole(rank), []).append(rank)
    tile = {whole: int(measure.region(site, own)) for whole, own in ranks.items()}
    several = copies(plan, site, in_copies=activity.copies)
    values = room(plan, site, measure, in_copies=activity.copies)
    return Held(tensor, tile, several, -(-int(values * activity.bits(operand.tensor)) // 8))


def _memories(found: SpatialEvaluation) -> tuple[MemoryUse, ...]:
    levels = found.architecture.levels
    rows = []
    for name, bits in found.activity.peak_bits.items():
        capacity = levels[name].capacity_bits
        rows.append(MemoryUse(name, -(-int(bits) // 8), None if capacity is None else int(capacity) // 8))
    return tuple(rows)


def _phases(found: SpatialEvaluation) -> Iterator[PhaseUse]:
    activity = found.activity
    names: dict[int, dict[str, None]] = {}
    for site, task in activity.tasks.items():
        names.setdefault(activity.phase_of(site), {})[task.name] = None
    for number, phase in enumerate(phase_costs(activity, found.accounting)):
        seconds = {label(name, found.cost): float(value) for name, value in phase.depends_s.items()}
        share = float(phase.latency_s) / float(found.cost.latency_s) if found.cost.latency_s else 0.0
        yield PhaseUse(tuple(names.get(number, ())), float(phase.latency_s), share, slowest(seconds))
