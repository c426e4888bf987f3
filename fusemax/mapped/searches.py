"""Searches for the best mappings of one cascade, or of all that rewrites derive from it, within one time limit.

Of several cascades those with the fewest passes are searched first, each for half of the time that is left; what has
none left is given the time for its presets and its lower bound. A cascade is left once its bound is no better than what
has been found; of equal mappings that of the fewest passes is taken.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final, TypeAlias

from einsum_cascades.errors import InputError
from einsum_cascades.ir import Cascade
from einsum_cascades.rewrites.search import Step, derive
from fusemax.backends import Request
from fusemax.mapped.found import CascadeSearch, Progress
from fusemax.spatial import problem_of
from mappers.choose import outcome
from mappers.rows import passes_of, row_rank
from mappers.search.figures import ROUNDING, Objective
from mappers.search.search import Search
from mappers.search.space import MappingSpace

Form: TypeAlias = tuple[Cascade, tuple[Step, ...]]
"""A cascade, and the rewrites that derive it."""
NO_TIME: Final = 0.0


class _CannotWinError(Exception):
    """Raised where the bound of a search has reached what another cascade has."""


def forms_of(cascade: Cascade) -> list[Form]:
    """Return a cascade and all that rewrites derive from it, those with the fewest passes first after it."""
    rank = row_rank(cascade)
    derived = () if rank is None else derive(cascade, rank).forms
    return [(cascade, ()), *((form.cascade, form.steps) for form in derived if form.steps)]


@dataclass(eq=False)
class Searches:
    """The searches of some cascades.

    Attributes:
        forms: the cascades; the first is the one given.
        start: when the time began, on the monotonic clock.
        limit_s: seconds for all of them; None for no limit.
        done: what came of each form so far, by its place.
        interrupted: what ended the searches before their time; else None.
    """

    request: Request
    objective: Objective
    forms: Sequence[Form]
    start: float
    limit_s: float | None
    progress: Progress | None
    done: dict[int, CascadeSearch] = field(default_factory=dict)
    interrupted: KeyboardInterrupt | None = None

    def run(self) -> None:
        """Search all forms.

        Raises:
            InputError: none has a mapping that can be executed and fits; it says why the one given has none.
            KeyboardInterrupt: before anything was found.
        """
        try:
            if len(self.forms) == 1:
                self._search(0, self.limit_s)
            else:
                self._search_all()
        except KeyboardInterrupt as error:
            self.interrupted = error
            if self.best == float("inf"):
                raise
        self.done = dict(sorted(self.done.items()))
        if self.best == float("inf") and self.done[0].refused is not None:
            raise self.done[0].refused

    @property
    def best(self) -> float:
        """The best value so far; infinite if there is none."""
        return min((search.best(self.objective) for search in self.done.values()), default=float("inf"))

    def proven(self, best: float) -> tuple[float, float | None]:
        """Return what no mapping of any form is better than, and by which fraction the best may be off.

        Args:
            best: the best value found.
        """
        if len(self.done) < len(self.forms):
            return 0.0, None
        tried = [search for search in self.done.values() if search.refused is None]
        lower = min(best, *(search.lower_bound for search in tried))
        if len(tried) == 1:
            return lower, tried[0].gap
        if self.objective.name == "pareto":
            gaps = [search.gap for search in tried]
            return lower, None if None in gaps else max(gap for gap in gaps if gap is not None)
        return lower, _gap(lower, best)

    def _search_all(self) -> None:
        order = sorted(range(len(self.forms)), key=lambda place: (self._passes[place], place))
        for place in order:
            left = None if self.limit_s is None else max(NO_TIME, self.start + self.limit_s - time.monotonic())
            self._search(place, left if left is None or place == order[-1] else left / 2)

    @cached_property
    def _passes(self) -> tuple[int, ...]:
        return tuple(passes_of(cascade) for cascade, _ in self.forms)

    def _cannot_win(self, place: int, bound: float) -> bool:
        """Whether no mapping above a bound is better than the best of other forms, or as good in fewer passes."""
        others = [(search.best(self.objective), other) for other, search in self.done.items() if other != place]
        if self.objective.name == "pareto" or not others:
            return False
        best = min(value for value, _ in others)
        passes = min(self._passes[other] for value, other in others if value <= best * (1 + ROUNDING))
        return bound >= best * (1 - ROUNDING if passes <= self._passes[place] else 1 + ROUNDING)

    def _search(self, place: int, limit_s: float | None) -> None:
        cascade, steps = self.forms[place]
        request, others = self.request, self.best
        problem = problem_of(cascade, request.machine, request.workload, request.accounting)
        bounds = [0.0]

        def tell(best: float, bound: float, costed: int) -> None:
            bounds.append(bound)
            if self.progress is not None:
                self.progress(cascade.name, min(best, others), bound, costed)
            if self._cannot_win(place, bound) and bound < best * (1 - ROUNDING):
                raise _CannotWinError

        search, begun = Search(MappingSpace(problem), self.objective), time.monotonic()
        try:
            found = search.run(limit_s, tell)
        except InputError as error:
            self.done[place] = CascadeSearch(problem, steps, refused=error, evaluated=search.evaluated)
        except _CannotWinError:
            stopped = CascadeSearch(problem, steps, skipped=True, seconds=time.monotonic() - begun)
            self.done[place] = self._stopped(stopped, search, max(bounds))
        except KeyboardInterrupt:
            stopped = CascadeSearch(problem, steps, seconds=time.monotonic() - begun)
            self.done[place] = self._stopped(stopped, search, max(bounds))
            raise
        else:
            proof = (found.evaluated, found.pruned, found.seconds, found)
            self.done[place] = CascadeSearch(problem, steps, found.mappings, found.lower_bound, found.gap, *proof)

    def _stopped(self, stopped: CascadeSearch, search: Search, lower: float) -> CascadeSearch:
        """Return the best that a search had found when it was stopped."""
        mappings = tuple(outcome(stopped.problem, tree) for _, tree in search.best_so_far())
        found = replace(stopped, mappings=mappings, lower_bound=lower, evaluated=search.evaluated)
        gap = None if self.objective.name == "pareto" or not lower else _gap(lower, found.best(self.objective))
        return replace(found, gap=gap)


def _gap(lower: float, best: float) -> float:
    """Return by which fraction the best may be off; 0 if it meets the bound."""
    return 0.0 if best <= lower * (1 + ROUNDING) else 1 - lower / best
