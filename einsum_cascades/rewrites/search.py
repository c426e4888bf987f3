"""The search over sequences of rewrites for the fewest passes.

Best first, over cascades that differ by more than names. A cascade is better with fewer passes, then with
fewer fibers kept (visits to a tensor beyond the first), then with fewer operations, then with fewer steps.
Every step is run against the source on random inputs, which try each kind of mask. One that could overflow where the
source does not is not followed, but offered with its warning; one whose results differ, or are no numbers where the
source has some, is refused.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from einsum_cascades.errors import InputError
from einsum_cascades.ir import Cascade, check_cascade
from einsum_cascades.operations import total
from einsum_cascades.passes import analyse_passes
from einsum_cascades.rewrites.certificate import certificate
from einsum_cascades.rewrites.check import Comparison, compare, stays_finite
from einsum_cascades.rewrites.defer import Defer
from einsum_cascades.rewrites.iterate import Iterate
from einsum_cascades.rewrites.local import CorrectLocally
from einsum_cascades.rewrites.obstacle import hidden_rows, obstacles
from einsum_cascades.rewrites.partition import PartitionRank
from einsum_cascades.rewrites.stability import risks
from einsum_cascades.shown import Facts, Shown

LARGE_INPUT = 1e3
"""The size of inputs at which a derived cascade must stay finite where its source does."""

ANY_INPUT = 1e12
"""The size of inputs for which exponents are judged: so large that only those with a bound of their own pass."""

TOLERANCE = 1e-12
"""The largest difference from the source, in float64, over the largest value of a result."""

_PART = 16
_MOST_STEPS = 6
_MOST_CASCADES = 64
_MOST_TRIALS = 200
_SEED = 1


class Rewrite(Protocol):
    """From cascade to cascade; its fields say where and how."""

    @property
    def name(self) -> str:
        """What kind of rewrite it is."""

    def describe(self) -> str:
        """Return the step in words."""

    def apply(self, cascade: Cascade) -> Cascade:
        """Return the rewritten cascade."""


@dataclass(frozen=True)
class Step:
    """One rewrite of a derivation.

    Attributes:
        rewrite: what was done.
        cascade: the result.
        passes: its passes over the rank.
        error: its largest relative difference from the source on random inputs; NaN where it was not finite.
        warnings: what can overflow in it that cannot in the source.
        caution: where it can lose digits; empty where it cannot.
        compared: how many finite values of each result were compared, at least.
        hidden: how many fibers had whole tiles that a mask hides, with something left to see.
        before: the rewrites before it, in words.
    """

    rewrite: Rewrite
    cascade: Cascade
    passes: int
    error: float
    warnings: tuple[str, ...] = ()
    caution: str = ""
    compared: int = 0
    hidden: int = 0
    before: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What kind of rewrite it is."""
        return self.rewrite.name

    def __repr__(self) -> str:
        return f"<Step {self}>"

    def __str__(self) -> str:
        words = ", then ".join([*self.before, self.rewrite.describe()])
        return f"{words}: {self.passes} pass" + "es" * (self.passes != 1)


@dataclass(frozen=True, repr=False)
class Derivation(Shown):
    """How a cascade with fewer passes follows from another.

    Attributes:
        source: where it starts.
        rank: the rank whose passes are counted.
        passes_before: passes of the source.
        steps: the rewrites in order; none if nothing better was found.
        obstacles: what keeps the result from having fewer passes; empty for one pass.
        forms: all derivations that the search found, best first, the source's own empty one included.
        offers: rewrites that give fewer passes, of the source or of a form with no fewer than the result, but can
            overflow where the source does not.
        refused: rewrites that would give fewer passes than the result, but whose results are wrong; their warnings
            say where.
        notes: where the source itself has no number, and what helps.
    """

    source: Cascade
    rank: str
    passes_before: int
    steps: tuple[Step, ...] = ()
    obstacles: tuple[str, ...] = ()
    forms: tuple[Derivation, ...] = ()
    offers: tuple[Step, ...] = ()
    refused: tuple[Step, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def cascade(self) -> Cascade:
        """The result."""
        return self.steps[-1].cascade if self.steps else self.source

    @property
    def passes(self) -> int:
        """Passes of the result."""
        return self.steps[-1].passes if self.steps else self.passes_before

    @property
    def warnings(self) -> tuple[str, ...]:
        """What can overflow in the result, or on the way to it, that cannot in the source."""
        return tuple(dict.fromkeys(text for step in self.steps for text in step.warnings))

    @property
    def cautions(self) -> tuple[str, ...]:
        """Where the result can lose digits that the source keeps."""
        return tuple(step.caution for step in self.steps if step.caution)

    def shown(self) -> tuple[str, Facts]:
        """Return the passes before and after, and the steps between."""
        title = f"{self.source.name}, {self.passes_before} to {self.passes} passes over {self.rank}"
        steps = [(f"step {number}", f"{step}, error {step.error:.0e}") for number, step in enumerate(self.steps, 1)]
        said = {"warning": self.warnings, "caution": self.cautions, "in the way": self.obstacles}
        return title, [*steps, *((name, text) for name, texts in said.items() for text in texts)]

    def __repr__(self) -> str:
        return f"<Derivation {self.shown()[0]} by {len(self.steps)} rewrite{'s' * (len(self.steps) != 1)}>"

    def with_passes(self, passes: int) -> tuple[Derivation, ...]:
        """Return the forms that have a number of passes, best first."""
        return tuple(form for form in self.forms if form.passes == passes)


def derive(cascade: Cascade, rank: str = "M", *, allow_unstable: bool = False) -> Derivation:
    """Derive the cascade with the fewest passes that these rewrites reach.

    Args:
        cascade: where to start.
        rank: a rank, or a family by any of its names.
        allow_unstable: also follow rewrites whose result can overflow where the source does not.

    Returns:
        The best derivation, with all others in ``forms``.

    Raises:
        InputError: this is no cascade, or has no such rank, or too few finite values for a rewrite to be checked.
    """
    check_cascade(cascade)
    search = _Search(cascade, rank, allow_unstable)
    forms = search.run()
    best = forms[0]
    offers = [o for o in search.offers if o.passes < (best.passes if o.before else search.passes)]
    refused = [step for step in search.refused if step.passes < best.passes]
    better = [text for step in (*refused, *offers) if step.passes < best.passes for text in step.warnings]
    return replace(
        best,
        obstacles=obstacles(best.cascade, search.rank, better),
        forms=tuple(forms),
        offers=tuple(offers),
        refused=tuple(refused),
        notes=hidden_rows(cascade, search.rank) if search.passes > 1 else (),
    )


def candidates(cascade: Cascade, rank: str) -> Iterator[Rewrite]:
    """Yield every rewrite that may be applied to a cascade next."""
    for kind in (Defer, PartitionRank, CorrectLocally, Iterate):
        yield from kind.candidates(cascade, rank)


Cost = tuple[int, int, int, int]


class _Search:
    def __init__(self, source: Cascade, rank: str, allow_unstable: bool) -> None:
        self.source = source
        self.rank = rank
        self.passes = analyse_passes(source, rank).passes
        self.allow_unstable = allow_unstable
        self.risky = len(risks(source, ANY_INPUT, sums=False))
        self.offers: list[Step] = []
        self.refused: list[Step] = []

    def run(self) -> list[Derivation]:
        """Return the derivations found, best first; a cascade of one pass is left as it is."""
        start = Derivation(self.source, self.rank, self.passes)
        found: list[tuple[Cost, int, Derivation]] = [(self.cost(start), 0, start)]
        waiting = list(found) if self.passes > 1 else []
        seen = {certificate(self.source)}
        while waiting and len(found) < _MOST_CASCADES and len(seen) < _MOST_TRIALS:
            *_, derivation = heapq.heappop(waiting)
            if len(derivation.steps) == _MOST_STEPS:
                continue
            for rewrite in candidates(derivation.cascade, self.rank):
                step = self.step(derivation, rewrite, seen)
                if step is not None:
                    better = replace(derivation, steps=(*derivation.steps, step))
                    entry = (self.cost(better), len(found), better)
                    found.append(entry)
                    heapq.heappush(waiting, entry)
        return [derivation for *_, derivation in sorted(found, key=lambda entry: entry[:2])]

    def step(self, derivation: Derivation, rewrite: Rewrite, seen: set[int]) -> Step | None:
        """Return the step, or None if it leads to a cascade seen before, a wrong one, or an unstable one."""
        made = replace(rewrite.apply(derivation.cascade), title=f"Derived from {self.source.name}")
        mark = certificate(made)
        if mark in seen:
            return None
        seen.add(mark)
        try:
            passes = analyse_passes(made, self.rank).passes
        except InputError:
            return None
        usual = compare(self.source, made, seed=_SEED)
        large = stays_finite(self.source, made, seed=_SEED, magnitude=LARGE_INPUT)
        step = Step(
            rewrite,
            made,
            passes,
            usual.error,
            self.warnings(made, large),
            rewrite.caution(derivation.cascade) if isinstance(rewrite, Defer) else "",
            usual.compared,
            usual.hidden,
            tuple(earlier.rewrite.describe() for earlier in derivation.steps),
        )
        if not usual.error <= TOLERANCE:
            self.refused.append(replace(step, warnings=(_difference(usual),)))
            return None
        if step.warnings and not self.allow_unstable:
            self.offers.append(step)
            return None
        return step

    def warnings(self, made: Cascade, large: bool) -> tuple[str, ...]:
        """What can overflow in a cascade that cannot in the source; and whether it is finite for large inputs."""
        found = risks(made, ANY_INPUT, sums=False)
        if len(found) > self.risky:
            return tuple(map(str, found))
        if not large:
            return (f"results are not finite for inputs of size {LARGE_INPUT:g}, where the source's are",)
        return ()

    def cost(self, derivation: Derivation) -> Cost:
        """Passes, fibers kept, operations, steps."""
        cascade = derivation.cascade
        visits = analyse_passes(cascade, self.rank).tensor_passes
        work = sum(total(cascade, self.sizes(cascade)).values())
        return derivation.passes, sum(visits.values()) - len(visits), work, len(derivation.steps)

    def sizes(self, cascade: Cascade) -> dict[str, int]:
        """Equal sizes for all ranks, so that cascades can be compared; tiles make up the rank."""
        ranks = {r for d in cascade.declarations for r in d.ranks}
        sizes = dict.fromkeys(ranks, _PART)
        for rank in set(self.source.family(self.rank)) & ranks:
            sizes[rank] = _PART if len(self.source.family(self.rank)) > 1 else _PART**2
        return sizes


def _difference(found: Comparison) -> str:
    """In which way results are wrong."""
    if found.finite and not math.isinf(found.error):
        return f"results differ from the source's by {found.error:.0e} of their size"
    masked = " where a mask hides whole tiles" if found.hidden else ""
    return f"results are not finite{masked}, where the source's are"
