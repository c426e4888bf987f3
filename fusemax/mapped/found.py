"""What searches found: the best mappings, the bound that proves how good they are, and the cascades that were tried."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from einsum_cascades.errors import InputError
from einsum_cascades.ir import Cascade
from einsum_cascades.loops.tree import LoopTree
from einsum_cascades.rewrites.search import Step
from einsum_cascades.shown import Facts, Shown
from fusemax.evaluated import SpatialEvaluation
from fusemax.evaluation import Asked
from fusemax.mapped.explanation import Explanation
from fusemax.units import quantity
from hw_models.machine import Machine
from mappers.choose import Outcome
from mappers.presets.problem import Problem
from mappers.search.figures import Figures, Objective
from mappers.search.search import Answer

UNITS: Final = {"latency": "s", "energy": "J", "edp": "J·s", "pareto": "s"}
"""The unit of each objective's value; of a Pareto front it is the latency of its fastest mapping."""


@dataclass(frozen=True, eq=False)
class CascadeSearch:
    """The search for one cascade.

    Attributes:
        problem: what was searched.
        steps: the rewrites that derive its cascade; none for the one given.
        mappings: the best found, the fastest first; none where there is none.
        lower_bound: what no mapping of the stated space is better than, by the objective's value.
        gap: by which fraction the best may be off; 0 is optimal, None is not known.
        answer: of a search that ended, what it found and its proof; else None.
        skipped: whether it was left, since it cannot beat what others have.
        refused: why it has no mapping; None if it has one.
    """

    problem: Problem
    steps: tuple[Step, ...]
    mappings: tuple[Outcome, ...] = ()
    lower_bound: float = float("inf")
    gap: float | None = 0.0
    evaluated: int = 0
    pruned: int = 0
    seconds: float = 0.0
    answer: Answer | None = None
    skipped: bool = False
    refused: InputError | None = None

    @property
    def cascade(self) -> Cascade:
        """The cascade."""
        return self.problem.cascade

    def best(self, objective: Objective) -> float:
        """Return the best value found; infinite if there is none."""
        return min((objective.value(figures(one, self.problem.machine)) for one in self.mappings), default=float("inf"))

    def as_dict(self, objective: Objective) -> dict[str, Any]:
        """Return plain data: steps, bound, and what came of it."""
        return {
            "cascade": self.cascade.name,
            "rewrites": steps_as_dicts(self.steps),
            "value": self.best(objective),
            "lower_bound": self.lower_bound,
            "gap": self.gap,
            "evaluated": self.evaluated,
            "pruned": self.pruned,
            "seconds": self.seconds,
            "skipped": self.skipped,
            "refused": self.refused and self.refused.message,
        }


@dataclass(frozen=True, eq=False)
class Found:
    """One of the best mappings.

    Attributes:
        figures: latency, energy, and the most bytes on chip at a time.
        search: where it comes from.
    """

    evaluation: SpatialEvaluation
    figures: Figures
    search: CascadeSearch

    def as_dict(self) -> dict[str, Any]:
        """Return the figures of a row of a Pareto front."""
        return {
            "cascade": self.evaluation.cascade.name,
            "latency_s": self.figures.latency_s,
            "energy_j": self.figures.energy_j,
            "on_chip_bytes": self.figures.buffer_bytes,
        }


@dataclass(frozen=True, repr=False, eq=False)
class Mapped(Shown):
    """The best mappings of a cascade on a spatial array, of those in the stated space.

    Attributes:
        given: the cascade.
        found: the best one; of a Pareto front all, the fastest first.
        objective: latency, energy, edp (energy times latency) or pareto.
        lower_bound: what no mapping of the space is better than: seconds, joules, or joule-seconds; of a Pareto front
            the least latency.
        gap: by which fraction of the answer it may be off; 0 is optimal, None is not known.
        seconds: of the whole search.
        searches: of each cascade that was tried, the given one first.
        explanation: where time and room go, and what more of the machine would buy; None if that was not asked for.
        interrupted: what ended the search before its time; else None.
    """

    asked: Asked
    given: Cascade
    found: tuple[Found, ...]
    objective: Objective
    lower_bound: float
    gap: float | None
    seconds: float
    searches: tuple[CascadeSearch, ...]
    explanation: Explanation | None = None
    interrupted: KeyboardInterrupt | None = None

    @property
    def evaluation(self) -> SpatialEvaluation:
        """What the best mapping costs; of a Pareto front the fastest."""
        return self.found[0].evaluation

    @property
    def mapping(self) -> LoopTree:
        """The best mapping; of a Pareto front the fastest."""
        return self.evaluation.mapping

    @property
    def cascade(self) -> Cascade:
        """The cascade that the best mapping runs."""
        return self.evaluation.cascade

    @property
    def rewrites(self) -> tuple[Step, ...]:
        """The rewrites that derive it from the cascade given; none if it is that one."""
        return self.found[0].search.steps

    @property
    def optimal(self) -> bool:
        """Whether no mapping of the space is better."""
        return self.gap == 0

    @property
    def value(self) -> float:
        """What was minimised: seconds, joules, or joule-seconds."""
        return self.objective.value(self.found[0].figures)

    @property
    def evaluated(self) -> int:
        """How many trees were costed."""
        return sum(search.evaluated for search in self.searches)

    @property
    def pruned(self) -> int:
        """How many parts of the space bounds left out."""
        return sum(search.pruned for search in self.searches)

    def mapping_file(self, found: Found | None = None, path: Path | None = None) -> str:
        """Return the text of a file that holds a mapping and all that was asked for.

        Args:
            found: which mapping; the best if not given.
            path: where it is to lie: a derived cascade is named as the file ``cascade_file`` beside it.
        """
        one = found or self.found[0]
        asked = self.asked
        if one.search.steps:
            named = str(cascade_file(path)) if path else one.evaluation.cascade.name
            asked = replace(asked, cascade=named)
        return asked.mapping_file(one.evaluation, path)

    def shown(self) -> tuple[str, Facts]:
        """Return the figures of the best mapping and the bound."""
        title, facts = self.evaluation.shown()
        unit = UNITS[self.objective.name]
        gap = "not known" if self.gap is None else f"{100 * self.gap:.2g} %"
        own = [
            (self.objective.name, quantity(self.value, unit)),
            ("lower bound", quantity(self.lower_bound, unit)),
            ("gap", gap),
            ("trees costed", f"{self.evaluated:,}"),
        ]
        return title, [*own, *facts]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data: the evaluation's columns, and what the search says of them."""
        row = self.evaluation.as_dict() | {
            "objective": self.objective.name,
            "lower_bound": self.lower_bound,
            "gap": self.gap,
            "optimal": self.optimal,
            "evaluated": self.evaluated,
            "pruned": self.pruned,
            "seconds": self.seconds,
            "mapping": self.mapping_file(),
        }
        if self.objective.name == "pareto":
            row["front"] = [{**one.as_dict(), "mapping": self.mapping_file(one)} for one in self.found]
        if len(self.searches) > 1:
            row["rewrites"] = steps_as_dicts(self.rewrites)
            row["cascade_text"] = str(self.cascade)
            row["searches"] = [search.as_dict(self.objective) for search in self.searches]
        if self.explanation is not None:
            row["explanation"] = self.explanation.as_dict()
        return row


Progress = Callable[[str, float, float, int], None]
"""Told the cascade, the best value so far of all cascades, the lower bound, and how many trees have been costed."""


def figures(one: Outcome, machine: Machine) -> Figures:
    """Return what an outcome costs in the figures that are minimised."""
    memories = {memory.name for memory in machine.memories}
    held = sum(int(size) for name, size in one.cost.peak_bytes.items() if name in memories)
    return Figures(float(one.cost.latency_s), float(one.cost.energy_j), held)


def cascade_file(path: Path) -> Path:
    """Return where the derived cascade of a mapping's file lies: ``best.yaml`` has ``best-cascade.yaml``."""
    return path.with_name(f"{path.stem}-cascade{path.suffix or '.yaml'}")


def steps_as_dicts(steps: Sequence[Step]) -> list[dict[str, Any]]:
    """Return rewrites as plain data."""
    return [{"rewrite": s.name, "description": s.rewrite.describe(), "passes": s.passes} for s in steps]
