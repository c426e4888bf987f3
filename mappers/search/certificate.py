"""The proof of a search, as a file: what was costed, cut, refused and left out, with the bounds that left it out.

    question    cascade (its text), arch, set_arch, accounting, sizes, objective
    answer      mappings (text, figures), lower_bound, gap
    presets     of each preset's trees, its figures or why it was refused
    searched    of each segment that was opened, split, einsums, and by frame the boxes: a tree of

        {"cut": [[value, box], ...]}   cut by the next choice
        {"figures": [latency_s, energy_j, buffer_bytes]}
        {"refused": why}
        {"bound": [latency_s, energy_j, buffer_bytes]}   left out: no tree of it is better

Segments that are not listed are left out by the floors of ``floors.py``. ``mappers.check_certificate`` goes through it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from einsum_cascades.loops.text import to_text
from mappers.search.figures import Figures
from mappers.search.frames.frame import Box
from mappers.search.search import Answer, Opened, Tried
from mappers.search.segment import figures_of
from mappers.search.space import FRAMES

FORMAT: Final = 1


def certificate_of(answer: Answer, arch: str, set_arch: Mapping[str, str]) -> dict[str, Any]:
    """Return the certificate of an answer.

    Args:
        arch: the machine's name or file.
        set_arch: values of it that were set.
    """
    proof, problem = answer.proof, answer.proof.space.problem
    return {
        "fusemax_certificate": FORMAT,
        "question": {
            "cascade": str(problem.cascade),
            "arch": arch,
            "set_arch": dict(set_arch),
            "accounting": problem.accounting.name,
            "sizes": {rank: int(size) for rank, size in problem.sizes.items()},
            "objective": proof.objective.name,
        },
        "answer": {
            "mappings": [
                {"mapping": to_text(o.tree), "figures": list(figures_of(problem.plan(o.tree), problem))}
                for o in answer.mappings
            ],
            "lower_bound": answer.lower_bound,
            "gap": answer.gap,
        },
        "presets": [
            {"preset": name, "number": number, **_leaf(tried)} for (name, number), tried in proof.presets.items()
        ],
        "searched": [
            {
                "split": dict(split),
                "einsums": list(proof.space.cuts.names(units)),
                "boxes": {name: _boxes(Box(name), opened, _bounds(opened)) for name in FRAMES},
            }
            for (split, units), opened in sorted(proof.opened.items(), key=lambda entry: entry[0])
        ],
    }


def write_certificate(answer: Answer, question: Mapping[str, Any], path: Path | str) -> None:
    """Write the certificate of an answer.

    Args:
        question: what was asked: ``arch``, the machine's name or file, and ``set_arch``, what was set of it.

    Raises:
        OSError: the file cannot be written.
    """
    found = certificate_of(answer, question["arch"], question.get("set_arch", {}))
    Path(path).write_text(json.dumps(found, indent=None, separators=(",", ":")) + "\n", encoding="utf-8")


def _bounds(opened: Opened) -> dict[Box, Figures]:
    return {entry[4]: entry[3] for entry in opened.open}


def _boxes(box: Box, opened: Opened, bounds: Mapping[Box, Figures]) -> dict[str, Any]:
    if box in bounds:
        return {"bound": list(bounds[box])}
    tried = opened.tried[box]
    if tried.kind != "cut":
        return _leaf(tried)
    return {"cut": [[value, _boxes(box.with_value(value), opened, bounds)] for value in tried.values]}


def _leaf(tried: Tried) -> dict[str, Any]:
    return {"refused": tried.why} if tried.figures is None else {"figures": list(tried.figures)}
