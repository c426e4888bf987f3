"""Searches for the best mappings of one cascade, or of all that rewrites derive from it, within one time limit.

Of several cascades each is first given the time for its presets and its lower bound. Then they are searched, those
whose presets are best first, each for its share of the time that is left. A cascade is left once its bound is no better
than what has been found.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

from einsum_cascades.errors import InputError
from einsum_cascades.ir import Cascade
from einsum_cascades.rewrites.search import Step, derive
from fusemax.backends import Request
from fusemax.mapped.found import CascadeSearch, Progress
from fusemax.spatial import problem_of
from mappers.choose import outcome
from mappers.rows import row_rank
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
        done: what came of each form, by its place.
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
        for place in range(len(self.forms)):
            self._search(place, NO_TIME)
        order = sorted(self.done, key=lambda place: (self.done[place].best(self.objective), place))
        for number, place in enumerate(order):
            known = self.done[place]
            if known.refused is not None or known.gap == 0:
                continue
            if self._cannot_win(known.lower_bound, self.best):
                self.done[place] = replace(known, skipped=True)
                continue
            share = None
            if self.limit_s is not None:
                share = (self.start + self.limit_s - time.monotonic()) / (len(order) - number)
            if share is None or share > 0:
                self._search(place, share)

    def _cannot_win(self, bound: float, best: float) -> bool:
        """Whether no mapping above a bound is better than the best; a Pareto front may need any."""
        return self.objective.name != "pareto" and bound >= best * (1 - ROUNDING)

    def _search(self, place: int, limit_s: float | None) -> None:
        cascade, steps = self.forms[place]
        request, others = self.request, self.best
        problem = problem_of(cascade, request.machine, request.workload, request.accounting)
        known = self.done.get(place, CascadeSearch(problem, steps, lower_bound=0.0))
        bounds = [known.lower_bound]

        def tell(best: float, bound: float, costed: int) -> None:
            bounds.append(bound)
            if self.progress is not None:
                self.progress(cascade.name, min(best, others), bound, costed)
            if self._cannot_win(bound, others) and bound < best * (1 - ROUNDING):
                raise _CannotWinError

        search, begun = Search(MappingSpace(problem), self.objective), time.monotonic()
        try:
            found = search.run(limit_s, tell)
        except InputError as error:
            self.done[place] = replace(known, refused=error, evaluated=search.evaluated)
        except _CannotWinError:
            stopped = self._stopped(search, known, max(bounds), time.monotonic() - begun)
            self.done[place] = replace(stopped, skipped=True)
        except KeyboardInterrupt:
            self.done[place] = self._stopped(search, known, max(bounds), time.monotonic() - begun)
            raise
        else:
            proof = (found.evaluated, found.pruned, found.seconds, found)
            self.done[place] = CascadeSearch(problem, steps, found.mappings, found.lower_bound, found.gap, *proof)

    def _stopped(self, search: Search, known: CascadeSearch, lower: float, seconds: float) -> CascadeSearch:
        """Return the best that a search has found until it was stopped."""
        trees = [tree for _, tree in search._mappings()]
        mappings = tuple(outcome(known.problem, tree) for tree in trees) or known.mappings
        found = replace(known, mappings=mappings, lower_bound=lower, evaluated=search.evaluated, seconds=seconds)
        gap = None if self.objective.name == "pareto" or not lower else _gap(lower, found.best(self.objective))
        return replace(found, gap=gap)


def _gap(lower: float, best: float) -> float:
    """Return by which fraction the best may be off; 0 if it meets the bound."""
    return 0.0 if best <= lower * (1 + ROUNDING) else 1 - lower / best
