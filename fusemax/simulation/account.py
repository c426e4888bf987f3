"""Where the cycles of an array go, in the engine's account and in the simulation's: each adds up to all cycles.

    all cycles = works + what it waits for, by cause + idle after its last task

The simulation counts the causes as it goes. In the engine's formulas they are: operands, the fill of the array; port,
by how much traffic takes longer than computation; dependence, the time of other arrays and of first and last epochs of
pipelines; drain, the drain of arrays that others wait for. A phase before an array's last one in which it has nothing
to do is dependence, one after it is idle.

Likewise for room: what the engine says, and what a run has beyond that, cause by cause.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from einsum_cascades.loops.capacity import live_bits
from fusemax.evaluated import SpatialEvaluation
from hw_models.accounting import Accounting
from hw_models.machine import Array, Machine
from hw_models.spatial.activity import Activity
from hw_models.spatial.cost import phases
from hw_models.spatial.schedule import Span, spans

if TYPE_CHECKING:
    from hw_models.simulator.timed.result import Timed

WORKS: Final = "works"
CAUSES: Final = ("operands", "space", "port", "dependence", "drain")
OVER: Final = "over"
ENTRIES: Final = (WORKS, *CAUSES, OVER)
"""What an array does with a cycle: it works, waits for one of the causes, or has done its last task."""
MEANINGS: Final = {
    WORKS: "works",
    "operands": "waits for operands",
    "space": "waits for room",
    "port": "waits for a port or link",
    "dependence": "waits for another task",
    "drain": "waits for results to leave",
    OVER: "is idle after its last task",
}
"""In a few words."""
REASONS: Final = {
    "operands": "Operands are on their way to it, or fill its registers.",
    "space": "Room: what comes next has none in a memory yet.",
    "port": "Port or link: it serves others first, or is slower than the array.",
    "dependence": "Another task makes what comes next, or precedes it in the mapping.",
    "drain": "Results leave an array in its drain, after its last step; then another array may read them.",
}
"""In a sentence each."""


@dataclass(frozen=True)
class CycleAccount:
    """Where all cycles of an array go.

    Attributes:
        engine, simulated: cycles by entry.
        ends: cycles of the engine's dependence that are first and last epochs of pipelines.
    """

    array: str
    engine: Mapping[str, int]
    simulated: Mapping[str, int]
    ends: int

    @property
    def differences(self) -> dict[str, int]:
        """By how much the simulation has more, by entry."""
        return {entry: self.simulated[entry] - self.engine[entry] for entry in ENTRIES}


@dataclass(frozen=True)
class RoomAccount:
    """What one instance of a memory holds at most, in bits.

    Attributes:
        engine: as the engine says.
        copies: more, since what crosses the stages of a pipeline takes room for each iteration under way; 0 where the
            accounting counts it.
        overlap: more, since neighbouring iterations of the loops around a pipeline overlap; less, where what the engine
            adds is never there at once.
        ahead: more, since entries come in ahead of their use and leave after it; less, where room is kept for a next
            entry that comes late.
        simulated: all of it.
    """

    memory: str
    engine: int
    copies: int
    overlap: int
    ahead: int
    simulated: int


def engine_cycles(found: SpatialEvaluation) -> int:
    """Return the engine's cycles, rounded where traffic takes a part of one."""
    return round(float(found.cost.latency_s) * float(found.architecture.frequency_hz))


def cycle_accounts(found: SpatialEvaluation, timed: Timed) -> tuple[CycleAccount, ...]:
    """Return the account of each array, those that idle least first."""
    engine = _EngineCycles(found.activity, found.accounting)
    accounts = [
        CycleAccount(
            name,
            engine.of(name),
            {WORKS: time.busy, **time.stalled, OVER: time.over},
            engine.ends_of(name),
        )
        for name, time in timed.arrays.items()
    ]
    return tuple(sorted(accounts, key=lambda account: -account.simulated[WORKS]))


def room_accounts(found: SpatialEvaluation, timed: Timed) -> tuple[RoomAccount, ...]:
    """Return the account of each memory on chip that has a size, or holds something."""
    activity = found.activity
    copied = live_bits(activity.plan, activity.bits, measure=activity.measure)
    accounts = []
    for memory in found.architecture.memories[1:]:
        engine = int(activity.peak_bits.get(memory.name, 0))
        copies = int(copied.get(memory.name, 0)) - engine
        keeps, holds = timed.peak_bits[memory.name], timed.held_bits[memory.name]
        if memory.bytes is not None or engine or keeps or holds:
            accounts.append(RoomAccount(memory.name, engine, copies, keeps - copies - engine, holds - keeps, holds))
    return tuple(accounts)


class _EngineCycles:
    """The engine's cycles by phase, with one of its terms after the other."""

    def __init__(self, activity: Activity, accounting: Accounting) -> None:
        steady = replace(accounting, pipeline_ends=False)
        filled = replace(activity, machine=_with(activity.machine, lambda array: replace(array, drain_cycles=0)))
        bare = replace(filled, machine=_with(filled.machine, lambda array: replace(array, fill_cycles=0)))
        self.bare = spans(bare, steady)
        self.filled = spans(filled, steady)
        self.drained = spans(activity, steady)
        self.whole: list[tuple[Span, int]] = []
        seconds, before = 0.0, 0
        for span, longest in phases(activity, accounting):
            seconds = seconds + longest
            end = round(seconds * float(activity.machine.frequency_hz))
            self.whole.append((span, end - before))
            before = end

    def of(self, array: str) -> dict[str, int]:
        """Return where the cycles of an array go."""
        found = dict.fromkeys(ENTRIES, 0)
        for place, (span, cycles) in enumerate(self.whole):
            works = self._works(array, place)
            if not works:
                last = not any(self._works(array, later) for later in range(place, len(self.whole)))
                found[OVER if last else "dependence"] += cycles
                continue
            bare, filled, drained = (int(x[place].elapsed) for x in (self.bare, self.filled, self.drained))
            found[WORKS] += works
            found["operands"] += filled - bare
            found["drain"] += drained - filled
            found["dependence"] += bare - works + int(span.elapsed) - drained
            found["port"] += cycles - int(span.elapsed)
        return found

    def ends_of(self, array: str) -> int:
        """Return which cycles are first and last epochs of pipelines, in the phases in which an array works."""
        return sum(
            int(span.elapsed) - int(self.drained[place].elapsed)
            for place, (span, _) in enumerate(self.whole)
            if self._works(array, place)
        )

    def _works(self, array: str, place: int) -> int:
        return int(self.bare[place].busy.get(array, 0))


def _with(machine: Machine, changed: Callable[[Array], Array]) -> Machine:
    """Return a machine with other arrays."""
    return replace(machine, nodes=tuple(changed(n) if isinstance(n, Array) else n for n in machine.nodes))
