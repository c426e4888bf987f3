"""From what is asked for to the best mapping: the one path that the command and ``map_cascade`` take."""

from __future__ import annotations

import time
from collections.abc import Mapping as Table
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from einsum_cascades.errors import InputError
from einsum_cascades.ir import Cascade
from einsum_cascades.workload import Workload
from fusemax.backends import BACKENDS, Request
from fusemax.evaluation import Asked, asked_for
from fusemax.mapped.explanation import explained
from fusemax.mapped.found import Found, Mapped, Progress, figures
from fusemax.mapped.searches import Searches, forms_of
from fusemax.spatial import evaluation_of
from fusemax.workload_spec import Count, Name, WorkloadSpec
from hw_models.accounting import Accounting
from hw_models.load import KINDS
from hw_models.machine import Machine
from mappers.rows import passes_of
from mappers.search.figures import ROUNDING, objective_named
from mappers.strategies import tables

MAPPER = "search"
TIME_LIMIT_S = 60.0
"""So many seconds are searched, if nothing is said."""


def map_cascade(
    cascade: Name | Cascade,
    arch: Name | Machine,
    objective: str = "latency",
    *,
    rewrite: bool = False,
    explain: bool = False,
    time_limit_s: float | None = TIME_LIMIT_S,
    workload: Workload | WorkloadSpec | None = None,
    accounting: str | Accounting | None = None,
    set_arch: Sequence[str] = (),
    progress: Progress | None = None,
    **described: Name | Count | Table[str, Count] | None,
) -> Mapped:
    """Search for the best mapping of a cascade on a spatial array, with a bound that says how far off it may be.

    Args:
        cascade: library name, file, or a cascade.
        arch: architecture name, file, or a spatial array.
        objective: ``latency``, ``energy``, ``edp`` (energy times latency), or ``pareto`` (all mappings that no other
            is better than in latency, energy and bytes on chip).
        rewrite: whether to search the cascades that rewrites derive from this one as well.
        explain: whether to say where time and room go, and what more of the machine would buy.
        time_limit_s: seconds after which the best so far is returned; None for no limit.
        accounting: ``published`` (if nothing is said) or ``physical``.
        set_arch: what-ifs such as ``array_2d.rows=128``.
        progress: told the cascade, the best value so far, the lower bound, and how many trees have been costed.
        workload, described: as ``evaluate`` takes them.

    Raises:
        InputError: anything unusable, or no mapping can be executed and fits.
    """
    plain: dict[str, Any] = described
    asked = asked_for(cascade, arch, MAPPER, None, workload, accounting, set_arch, **plain)
    found = mapped(asked, objective, rewrite=rewrite, explain=explain, time_limit_s=time_limit_s, progress=progress)
    if found.interrupted is not None:
        raise found.interrupted
    return found


def mapped(
    asked: Asked,
    objective: str,
    *,
    rewrite: bool = False,
    explain: bool = False,
    time_limit_s: float | None = TIME_LIMIT_S,
    progress: Progress | None = None,
) -> Mapped:
    """Search as ``map_cascade`` does; what interrupts the search is kept beside the best found until then.

    Raises:
        InputError: anything unusable, or no mapping can be executed and fits.
        KeyboardInterrupt: before anything was found.
    """
    goal = objective_named(objective)
    request = asked.request()
    _check_spatial(request)
    start = time.monotonic()
    forms = forms_of(request.cascade) if rewrite else [(request.cascade, ())]
    searches = Searches(request, goal, forms, start, time_limit_s, progress)
    searches.run()
    found = _mapped(asked, searches, time.monotonic() - start)
    if explain and found.interrupted is None:
        best = found.found[0]
        try:
            told = explained(asked, best.search.problem, best.evaluation, goal, found.seconds, time_limit_s)
        except KeyboardInterrupt as error:
            return replace(found, interrupted=error)
        return replace(found, explanation=told)
    return found


def _mapped(asked: Asked, searches: Searches, seconds: float) -> Mapped:
    """Return the best of what all searches found, and the bound of all."""
    goal, request, done = searches.objective, searches.request, tuple(searches.done.values())
    machine = request.machine
    each = [(search, one) for search in done for one in search.mappings]
    best = goal.front(each, lambda pair: figures(pair[1], machine))
    if goal.name != "pareto":
        least = min(goal.value(figures(one, machine)) for _, one in each)
        equal = [pair for pair in each if goal.value(figures(pair[1], machine)) <= least * (1 + ROUNDING)]
        best = [min(equal, key=lambda pair: passes_of(pair[0].cascade))]
    found = tuple(
        Found(evaluation_of(one, s.problem, MAPPER, request.workload), figures(one, machine), s) for s, one in best
    )
    lower, gap = searches.proven(goal.value(found[0].figures))
    return Mapped(asked, request.cascade, found, goal, lower, gap, seconds, done, interrupted=searches.interrupted)


def _check_spatial(request: Request) -> None:
    machine = request.machine
    if not isinstance(machine, Machine):
        kind = KINDS[machine.kind].title
        raise InputError(
            f"mappings are searched for spatial arrays, and {machine.name} is a {kind}",
            hint=f"what maps onto a {kind}: evaluate --mapper " + ", ".join(tables()[machine.kind]),
        )
    BACKENDS[machine.kind].check(request)
