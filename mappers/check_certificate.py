"""Check the proof that a mapping is the best: ``python -m mappers.check_certificate FILE``.

It shares with the search the statement of the space (which boxes a segment has, which tree a box is) and the cost
functions (what a tree costs, what no tree of a box is better than), and nothing of how the search went about it. It
goes through the file and checks, step by step:

    1  each preset's tree costs what is stated
    2  each box that is cut is cut into all that it consists of
    3  each tree costs what is stated, each one refused cannot be executed or does not fit
    4  each bound that leaves out a box holds for it
    5  from these, and the floors of segments that are not listed, the lower bound follows
    6  the mappings of the answer cost what is stated, and are as far from the lower bound as is stated

and names the first that is wrong. Exit status: 0 the proof holds, 1 it does not, 2 the file cannot be read.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from math import inf, isclose
from pathlib import Path
from typing import Any, NamedTuple

from einsum_cascades.errors import InputError
from einsum_cascades.load import parse_cascade
from einsum_cascades.loops.legal import check_legal
from einsum_cascades.loops.text import parse_tree
from hw_models.accounting import accounting_named
from hw_models.load import load_architecture
from mappers.presets.problem import Problem
from mappers.search.figures import Figures, objective_named
from mappers.search.frames.frame import Box
from mappers.search.frames.presets import PRESETS, preset_figures, preset_tree
from mappers.search.segment import figures_of
from mappers.search.space import FRAMES, CutSpace, MappingSpace, Split

FORMAT = 1
SAME = 1e-9
"""Figures that differ less, relatively, are those stated: files are read on other machines, with other libraries."""


class WrongStepError(Exception):
    """A step of the proof does not hold."""


class Part(NamedTuple):
    """What a segment may cost.

    Attributes:
        sure: whether it is a tree's figures; else a bound.
    """

    figures: Figures
    sure: bool


def check(certificate: Mapping[str, Any]) -> str:
    """Return what a certificate proves.

    Raises:
        WrongStepError: a step of it does not hold.
        InputError: it asks for a cascade or a machine that there is not.
    """
    return _Check(certificate).all()


class _Check:
    def __init__(self, certificate: Mapping[str, Any]) -> None:
        self.certificate = certificate
        question = certificate["question"]
        self.objective = objective_named(question["objective"])
        machine = load_architecture(question["arch"], question["set_arch"])
        sizes = {str(rank): int(size) for rank, size in question["sizes"].items()}
        accounting = accounting_named(question["accounting"])
        self.problem = Problem(parse_cascade(question["cascade"]), sizes, machine, accounting)
        self.space = MappingSpace(self.problem)
        self.steps = 0

    def all(self) -> str:
        presets = self._presets()
        ways = [way for cut in self.space.cut.values() for way in self._ways(cut, self._searched(cut))]
        stated = self.certificate["answer"]
        bounds = [figures for figures, _ in ways] + presets
        lower = min(map(self.objective.value, bounds), default=inf)
        if lower < float(stated["lower_bound"]) * (1 - SAME):
            raise WrongStepError(
                f"the lower bound is {lower!r} by these steps, and {stated['lower_bound']!r} is stated"
            )
        found = self._answer(stated["mappings"])
        gap = self._gap(found, bounds)
        if gap > float(stated["gap"]) + SAME:
            raise WrongStepError(f"the gap is {gap!r} by these steps, and {stated['gap']!r} is stated")
        value = min(map(self.objective.value, found))
        said = "optimal in the stated space" if stated["gap"] == 0 else f"within {100 * float(stated['gap']):.3g} %"
        return f"{self.objective.name} {value:.12g}, {said}: {self.steps} steps hold"

    # Steps 1 to 4.

    def _presets(self) -> list[Figures]:
        stated = {(entry["preset"], int(entry["number"])): entry for entry in self.certificate["presets"]}
        found = []
        for name in PRESETS:
            number, more = 0, True
            while more:
                where = f"preset {name}, tree {number}"
                try:
                    tree = preset_tree(self.problem, name, number)
                except InputError:
                    tree, more = None, False
                    self._refused(stated.get((name, number)), where)
                    continue
                if tree is None:
                    break
                try:
                    figures = preset_figures(self.problem, tree)
                except InputError:
                    self._refused(stated.get((name, number)), where)
                else:
                    self._same(stated.get((name, number)), figures, where)
                    found.append(figures)
                number += 1
        return found

    def _searched(self, cut: CutSpace) -> dict[int, list[Part]]:
        found: dict[int, list[Part]] = {}
        units_of = {self.space.cuts.names(units): units for units in self.space.cuts.segments}
        for entry in self.certificate["searched"]:
            split: Split = tuple((str(part), int(size)) for part, size in entry["split"].items())
            names = tuple(entry["einsums"])
            if split not in self.space.cut or names not in units_of:
                raise WrongStepError(f"the space has no segment {' '.join(names)} with the partitions {dict(split)}")
            if split == cut.split:
                found[units_of[names]] = self._segment(cut, units_of[names], entry["boxes"])
        return found

    def _segment(self, cut: CutSpace, units: int, boxes: Mapping[str, Any]) -> list[Part]:
        floor = cut.floors.of(cut.segment(units))
        found: list[Part] = []
        for name in FRAMES:
            if name not in boxes:
                raise WrongStepError(f"{' '.join(cut.segment(units).names)}: the frame '{name}' is missing")
            found += self._box(cut, units, Box(name), boxes[name], floor)
        return found

    def _box(self, cut: CutSpace, units: int, box: Box, stated: Mapping[str, Any], above: Figures) -> list[Part]:
        """Check a box and all in it; return what its trees may cost."""
        self.steps += 1
        frame, segment = FRAMES[box.frame], cut.segment(units)
        where = f"{dict(cut.split)} {' '.join(segment.names)}: {box.frame} {list(box.choices)}"
        try:
            floor = frame.floor(segment, box)
            bound = floor.or_more(above)
            if "bound" in stated:
                if any(float(s) > b * (1 + SAME) for s, b in zip(stated["bound"], bound, strict=True)):
                    raise WrongStepError(f"{where}: no tree is known to be above {stated['bound']}, only {list(bound)}")
                return [Part(Figures(*stated["bound"]), sure=False)]
            values = frame.values(segment, box)
            if values is not None:
                inside = dict(self._values(stated, values, where))
                return [p for v in values for p in self._box(cut, units, box.with_value(v), inside[v], bound)]
            figures = segment.figures(frame.tree(segment, box))
        except InputError:
            self._refused(stated, where)
            return []
        self._same(stated, figures, where)
        return [Part(figures, sure=True)]

    def _values(self, stated: Mapping[str, Any], values: Sequence[Any], where: str) -> list[Any]:
        if "cut" not in stated:
            raise WrongStepError(f"{where}: it is more than one tree, and is not cut")
        if [value for value, _ in stated["cut"]] != list(values):
            raise WrongStepError(
                f"{where}: it is cut into {[v for v, _ in stated['cut']]}, and consists of {list(values)}"
            )
        return list(stated["cut"])

    def _same(self, stated: Mapping[str, Any] | None, figures: Figures, where: str) -> None:
        self.steps += 1
        if stated is None or "figures" not in stated:
            raise WrongStepError(f"{where}: it costs {list(figures)}, which is not stated")
        if not all(isclose(float(a), b, rel_tol=SAME) for a, b in zip(stated["figures"], figures, strict=True)):
            raise WrongStepError(f"{where}: it costs {list(figures)}, and {stated['figures']} is stated")

    def _refused(self, stated: Mapping[str, Any] | None, where: str) -> None:
        self.steps += 1
        if stated is None or "refused" not in stated:
            raise WrongStepError(f"{where}: it cannot be executed or does not fit, which is not stated")

    # Steps 5 and 6.

    def _ways(self, cut: CutSpace, searched: Mapping[int, list[Part]]) -> list[tuple[Figures, bool]]:
        """What mappings may cost, segments one after another: none that is left out is better in all figures."""
        states = self.space.cuts.states
        best: dict[int, list[tuple[Figures, bool]]] = {states[0]: [(Figures(0.0, 0.0, 0), True)]}
        for after in states[1:]:
            found = []
            for before in self.space.cuts.segments_to[after]:
                units = after & ~before
                parts = searched.get(units)
                if parts is None:
                    parts = [Part(cut.floors.of(cut.segment(units)), sure=False)]
                found += [
                    (f.then(p.figures), sure and p.sure) for f, sure in best.get(before, ()) for p in self._least(parts)
                ]
            best[after] = self._least_of(found)
        return best[states[-1]]

    def _least(self, parts: Sequence[Part]) -> list[Part]:
        return [Part(*pair) for pair in self._least_of([(p.figures, p.sure) for p in parts])]

    def _least_of(self, some: Sequence[tuple[Figures, bool]]) -> list[tuple[Figures, bool]]:
        found: list[tuple[Figures, bool]] = []
        for figures, sure in sorted(some, key=lambda pair: self.objective.key(pair[0])):
            own = self.objective.key(figures)
            if not any(all(a <= b for a, b in zip(self.objective.key(f), own, strict=True)) for f, _ in found):
                found.append((figures, sure))
        return found

    def _answer(self, stated: Sequence[Mapping[str, Any]]) -> list[Figures]:
        found = []
        for number, one in enumerate(stated):
            where = f"mapping {number} of the answer"
            try:
                plan = self.problem.plan(parse_tree(one["mapping"]))
                check_legal(plan)
                figures = figures_of(plan, self.problem)
            except InputError as error:
                raise WrongStepError(f"{where}: {error}") from error
            self._same(one, figures, where)
            found.append(figures)
        if not found:
            raise WrongStepError("the answer has no mapping")
        return found

    def _gap(self, found: Sequence[Figures], bounds: Sequence[Figures]) -> float:
        value, key = self.objective.value, self.objective.key
        if self.objective.name != "pareto":
            best, least = min(map(value, found)), min(map(value, bounds))
            return 0.0 if best <= least * (1 + SAME) else 1 - least / best
        far = 1.0
        for bound in bounds:
            ratios = [
                [a / b if b else (inf if a else 1.0) for a, b in zip(key(f), key(bound), strict=True)] for f in found
            ]
            far = max(far, min(map(max, ratios)))
        return 0.0 if far <= 1 + SAME else far - 1


def main(arguments: Sequence[str]) -> int:
    """Check the file that is named; print what it proves, or its first wrong step."""
    if len(arguments) != 1:
        print("usage: python -m mappers.check_certificate FILE", file=sys.stderr)
        return 2
    try:
        certificate = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
        if certificate.get("fusemax_certificate") != FORMAT:
            raise InputError(f"{arguments[0]} is no certificate of the format {FORMAT}")
        print("accepted: " + check(certificate))
    except WrongStepError as wrong:
        print(f"rejected: {wrong}")
        return 1
    except (OSError, ValueError, InputError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (KeyError, TypeError, AttributeError) as error:
        print(f"rejected: the file is not as it should be: {error!r}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
