"""FLAT: the phases of a cascade fused on a tile of queries, with the score tile on chip if it fits.

For each contraction the tensor that stays put decides the loops: the ranks that it lacks run innermost, in full and in
time; the two others lie along the array, queries outermost. A tensor on chip is fetched once per fused tile, a tensor
off chip whenever the loops above the array change its tile. Of what overflows the buffer, every access goes to DRAM.
Everything overlaps: the slowest of traffic, 2D array and 1D array sets the time.

Sources: Kao et al., "FLAT: An Optimized Dataflow for Mitigating Attention Bottlenecks", ASPLOS 2023; the published
mappings (``tables/flat.csv``) from the evaluation of Nayak et al., MICRO 2024. Where the table has no row for the
machine and shape, the mapping is searched (``flat_search.py``).
"""

from __future__ import annotations

import csv
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

from einsum_cascades.ir import Cascade
from einsum_cascades.workload import Workload
from hw_models.accounting import Accounting
from hw_models.architecture import Architecture
from mappers.flat_nest import FlatChoice, FlatProblem
from mappers.flat_search import search
from mappers.mapping import Mapping

_Key = tuple[int, int, int, int]


@lru_cache(maxsize=1)
def published_choices() -> dict[_Key, FlatChoice]:
    """Return the published choices by array side, buffer bytes, head dim and sequence length; do not mutate them."""
    with (Path(__file__).parent / "tables" / "flat.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    return {
        (int(r["array_side"]), int(r["buffer_bytes"]), int(r["head_dim"]), int(r["seq_len"])): FlatChoice(
            fused=int(r["fused_queries"]),
            stationary=(r["qk_stationary"], r["av_stationary"]),
            on_chip=frozenset(r["on_chip"].split()),
            spilled=Fraction(r["spilled"]),
        )
        for r in rows
    }


def is_tabulated(problem: FlatProblem) -> bool:
    """Whether the products are those of the published table."""
    return [tuple(o.tensor for o in p.operands) for p in problem.products] == [("Q", "K", "QK"), ("A", "V", "AV")]


def tabulated(problem: FlatProblem) -> FlatChoice | None:
    """Return the published choice for the same machine and shape, if there is one."""
    array, sizes = problem.architecture.array_2d, problem.sizes
    if not is_tabulated(problem):
        return None
    if array.rows != array.columns or sizes["E"] != sizes["F"] or sizes["M"] != sizes["P"]:
        return None
    return published_choices().get((array.rows, problem.architecture.global_buffer.bytes, sizes["E"], sizes["P"]))


def flat(cascade: Cascade, workload: Workload, architecture: Architecture, accounting: Accounting) -> Mapping:
    """Map a cascade as FLAT does, with the published choice where there is one, else with the best found.

    Raises:
        InputError: the cascade has no contraction to fuse, or the buffer is too small.
    """
    problem = FlatProblem.of(cascade, workload, architecture, accounting)
    return problem.mapping("flat", tabulated(problem) or search(problem))


def flat_searched(cascade: Cascade, workload: Workload, architecture: Architecture, accounting: Accounting) -> Mapping:
    """Map a cascade as FLAT does, always choosing the mapping itself.

    Raises:
        InputError: the cascade has no contraction to fuse, or the buffer is too small.
    """
    problem = FlatProblem.of(cascade, workload, architecture, accounting)
    return problem.mapping("flat-searched", search(problem))
