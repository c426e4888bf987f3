"""Runs a lowered tree to its end, in turns, and leaves out what is proven to repeat what was run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from einsum_cascades.errors import InputError
from einsum_cascades.extras import require
from hw_models.simulator.timed import codes, layout
from hw_models.simulator.timed.periodic import Moment, most_periods, period, skip
from hw_models.simulator.timed.program import Build
from hw_models.simulator.timed.state import part, program_of, state_of

_CHUNK = 1 << 20
"""Turns between two looks at progress."""
_LONGER = 20_000
"""Turns that must be left of a loop for a look at its state to pay."""
_LOOKS = 12
_SHORTEST = 4


@dataclass(frozen=True)
class Skip:
    """A stretch that was left out.

    Attributes:
        begin, end: in cycles.
        rank: of the loop whose iterations were alike.
        iterations: how many.
        period: iterations in which all comes again.
    """

    begin: int
    end: int
    rank: str
    iterations: int
    period: int


@dataclass(eq=False)
class Run:
    """A run under way.

    Attributes:
        turns: how many were taken.
        tasks: how many tasks were run one by one.
        skips: stretches that were left out.
    """

    build: Build
    every: bool = False
    events: int = 0
    turns: int = 0
    skips: list[Skip] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.program, self.state = program_of(self.build), state_of(self.build)
        self.record = np.zeros((self.events, 5), np.int64)
        self._moments: dict[int, list[tuple[Moment, int]]] = {}
        self._failed: dict[int, int] = {}
        if not self.every and not self.build.layout.timed:  # the next refresh stands elsewhere each time
            self._part("watch")[...] = _LOOKS

    def _part(self, name: str) -> Any:
        return part(self.state, name)

    def go(self, progress: Callable[[float], None] | None = None) -> Iterator[Any]:
        """Take turns to the end, and yield what was recorded each time that the record is full, and at the end.

        Raises:
            InputError: no thread can go on: the mapping waits for itself.
        """
        require("kernels", "the timed simulator")
        from hw_models.simulator.timed.kernel.main import compiled as turns

        limit = _CHUNK
        while True:
            taken = turns(self.program, self.state, self.record, limit)
            if taken < 0:
                raise self._stuck()
            self.turns += taken
            recorded = int(self._part("clock")[1])
            if self.events and recorded + codes.MARGIN > self.events:
                yield self._recorded()
            stopped = int(self.state[layout.STOPPED])
            if stopped:
                self._look(stopped - 1)
            elif taken < limit and not (self.events and recorded + codes.MARGIN > self.events):
                yield self._recorded()
                return
            if progress is not None:
                progress(self.done)

    @property
    def done(self) -> float:
        """Which part of the work is done, about: how far the outermost loops of the main thread are."""
        share, width = 0.0, 1.0
        context = self._part("context")[0]
        for step in self.build.outermost:
            trips = step.most_trips
            share += width * context[5 * step.index] / trips
            width /= trips
        return min(share, 1.0)

    def _recorded(self) -> Any:
        clock = self._part("clock")
        found = self.record[: clock[1]].copy()
        clock[1] = 0
        return found

    def _look(self, loop: int) -> None:
        """See whether the state at the turn of a loop is one that was there before."""
        moment = Moment(self.state.copy(), loop, int(self._part("context")[0][5 * loop]))
        kept = self._moments.setdefault(loop, [])
        if kept and kept[-1][0].iteration >= moment.iteration:
            kept.clear()
        if moment.iteration == 1:
            kept.clear()
        left = self._trips(moment) - moment.iteration
        each = (self.turns - kept[-1][1]) // max(moment.iteration - kept[-1][0].iteration, 1) if kept else None
        watch = self._part("watch")
        if each is not None and each * left < _LONGER:
            watch[loop] = 0
            self._again(loop)
            return
        for before, _ in reversed(kept):
            by = period(before, moment, self.build.links)
            if by is not None:
                self._skip(before, moment, by)
                watch[loop] = _LOOKS
                kept.clear()
                return
        kept.append((moment, self.turns))
        del kept[:-8]
        if watch[loop] == 0:
            self._failed[loop] = self._failed.get(loop, 0) + 1
        self._again(loop)

    def _again(self, loop: int) -> None:
        """Watch the loops inside one that has turned, unless that was in vain before."""
        watch = self._part("watch")
        for other in range(loop + 1, len(self.build.lowered.controls.found)):
            if self._failed.get(other, 0) < 3:
                watch[other] = _LOOKS

    def _trips(self, moment: Moment) -> int:
        row = int(moment["context"][0][5 * moment.loop + 4])
        begins, upto = self.build.values["run_from"], self.build.values["run_upto"]
        return int(upto[begins[row + 1] - 1])

    def _skip(self, before: Moment, moment: Moment, by: Any) -> None:
        runs = self.build.values["run_from"], self.build.values["run_upto"]
        times = most_periods(before, moment, by, self.build.links, runs)
        if times < 1:
            return
        here = Moment(self.state, moment.loop, moment.iteration)
        begin = here.now
        skip(before, here, by, self.build.links, times)
        rank = self.build.lowered.controls.found[moment.loop].rank
        ticks = codes.TICKS
        self.skips.append(Skip(begin // ticks, here.now // ticks, rank, times * by.turns, by.turns))

    def _stuck(self) -> InputError:
        waiting = [
            self.build.lowered.threads[i].name for i, state in enumerate(self._part("state")) if state == codes.WAITING
        ]
        return InputError(
            f"the mapping waits for itself: {', '.join(waiting)} cannot go on",
            hint="a stage reads what is made after it, or a memory has no room for what is filled next",
        )
