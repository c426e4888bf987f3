"""Why a cascade makes its passes: which Einsums share one, and the dependencies that force each next one.

An Einsum of pass k+1 is there because it reads, directly or through Einsums that walk only a part of the family, a
value that is complete only after pass k: something folded over the family, or the last value of a recurrence. From
the last pass back to the first these make one chain, as long as the cascade has passes.

Source: Nayak et al., "FuseMax", MICRO 2024, section 3 (passes).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from einsum_cascades.errors import short
from einsum_cascades.graph import dependencies
from einsum_cascades.ir import Cascade, Size
from einsum_cascades.passes import Family, Schedule, analyse_passes, slot_name
from einsum_cascades.printer import access_text, expression_text

_FOLDS = {"add": "sum", "max": "maximum", "min": "minimum", "mul": "product"}
_LONGEST = 60


@dataclass(frozen=True)
class Stage:
    """Einsums that can be fused: those of one pass, or those between two passes.

    Attributes:
        slot: its place in time (see `passes.slot_name`); odd for a pass.
        einsums: their names, in the order of a run, each in its earliest pass.
    """

    slot: int
    einsums: tuple[str, ...]

    @property
    def name(self) -> str:
        """``pass 2``, ``after pass 2``, ..."""
        return slot_name(self.slot)


@dataclass(frozen=True)
class Link:
    """What forces one more pass.

    Attributes:
        number: the pass that it forces, from 2 on.
        reader: the Einsum that cannot run earlier.
        through: Einsums between the passes that hand the value on, in the order of a run.
        folded: the Einsum whose result is complete only after the pass before.
        text: the same in words.
    """

    number: int
    reader: str
    through: tuple[str, ...]
    folded: str
    text: str


def stages(cascade: Cascade, rank: str = "M") -> tuple[Stage, ...]:
    """Return which Einsums share each pass, or the time between two, in time order.

    Raises:
        InputError: as `analyse_passes`.
    """
    schedule = _schedule(cascade, rank)
    first = len(cascade.init)
    found: dict[int, dict[str, None]] = {}
    for index, einsum in enumerate(cascade.einsums[first:], start=first):
        found.setdefault(schedule.slots[index], {})[einsum.name] = None
    return tuple(Stage(slot, tuple(found[slot])) for slot in sorted(found))


def chain(cascade: Cascade, rank: str = "M") -> tuple[Link, ...]:
    """Return one link for each pass after the first, in the order of the passes.

    Raises:
        InputError: as `analyse_passes`.
    """
    schedule = _schedule(cascade, rank)
    tracer = _Tracer(schedule)
    links: list[Link] = []
    last = 2 * schedule.passes - 1
    here = next((i for i, slot in enumerate(schedule.slots) if slot == last), 0)
    for number in range(schedule.passes, 1, -1):
        reader = tracer.trace(here, 2 * number - 1)[-1]
        *through, folded = tracer.trace(reader, 2 * number - 2)[1:]
        links.append(_link(schedule, rank, number, reader, through[::-1], folded))
        here = folded
    return tuple(reversed(links))


def _schedule(cascade: Cascade, rank: str) -> Schedule:
    return Schedule(cascade, Family(cascade, analyse_passes(cascade, rank).family))


class _Tracer:
    """Walks back along the dependencies that hold an Einsum at its slot."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.forcing: dict[int, list[tuple[int, int]]] = {}
        for producer, consumer, parts in schedule.edges:
            slot = schedule.slots[producer]
            there = slot + 1 if slot & 1 and not schedule.streams(parts, slot) else slot
            self.forcing.setdefault(consumer, []).append((producer, there))

    def trace(self, start: int, slot: int) -> list[int]:
        """Return Einsums from ``start`` back to the first that a value of an earlier slot holds there.

        With an odd slot, the last one is the reader of such a value; with an even one, the last is the Einsum of the
        pass before whose result is complete only now.
        """
        came_from: dict[int, int] = {}
        waiting = [start]
        for einsum in waiting:
            for producer, there in self.forcing.get(einsum, ()):
                if slot & 1 and there == slot - 1:
                    return _path(came_from, einsum)
                if there != slot or producer in came_from or producer == start:
                    continue
                came_from[producer] = einsum
                if not slot & 1 and self.schedule.slots[producer] == slot - 1:
                    return _path(came_from, producer)
                waiting.append(producer)
        raise AssertionError("a slot is held by something")


def _path(came_from: dict[int, int], end: int) -> list[int]:
    path = [end]
    while path[-1] in came_from:
        path.append(came_from[path[-1]])
    return path[::-1]


def _link(schedule: Schedule, rank: str, number: int, reader: int, through: Sequence[int], folded: int) -> Link:
    einsums = schedule.cascade.einsums
    names = tuple(einsums[index].name for index in through)
    value = einsums[through[-1] if through else folded].name
    reads = [d.read for d in dependencies(schedule.cascade) if d.consumer == reader and d.write.tensor == value]
    text = f"pass {number} over {rank}: {access_text(einsums[reader].output)} reads {access_text(reads[0])}, "
    if through:
        steps = [access_text(einsums[folded].output), *names[:-1]]
        text += f"computed from {', '.join(reversed(steps))}, "
    text += _completed(schedule, number - 1, folded, (*through, reader)[0])
    return Link(number, einsums[reader].name, names, einsums[folded].name, text)


def _completed(schedule: Schedule, number: int, folded: int, user: int) -> str:
    """Why a result is there only after a pass."""
    einsum = schedule.cascade.einsums[folded]
    reads = [d.read for d in dependencies(schedule.cascade) if (d.producer, d.consumer) == (folded, user)]
    last = [s.rank for read in reads for s in read.subscripts if isinstance(s, Size)]
    if last:
        return f"the value after the last iteration of {last[0]}, at the end of pass {number}"
    over = [r for r in einsum.reductions if schedule.family.parts([r.rank])]
    if not over:
        return f"which is complete only after pass {number}"
    operators = " and ".join(dict.fromkeys(_FOLDS.get(r.operator, r.operator) for r in over))
    term = short(expression_text(einsum.expression), _LONGEST)
    ranks = ", ".join(r.rank.lower() for r in over)
    text = f"the {operators} of {term} over {ranks}, complete only after pass {number}"
    if schedule.family.parts(einsum.output.ranks):
        text += ", whose loop order streams other partial results"
    return text
