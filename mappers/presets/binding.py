"""Which array an Einsum runs on: one whose PEs offer its operators, where its cycles are few and its operands are.

An Einsum with a value per PE of the tile prefers the matrix array if it is fed from memory along rows and columns, or if
it walks further ranks and so reuses what the PEs hold (a contraction). One that only works through a tile, element by
element or reducing it, runs where that tile was made: moving a tile costs more than it saves. What has no value per PE
prefers the vector array. Source: Nayak et al., MICRO 2024, section V (binding), of which this is the general rule.
"""

from __future__ import annotations

from einsum_cascades.ir import Einsum
from mappers.presets.problem import Problem
from mappers.residency import ArrayName
from mappers.roles import Roles


def bind(problem: Problem, roles: Roles) -> dict[str, ArrayName]:
    """Return the array of each Einsum of the body and of the final part.

    Raises:
        InputError: no array offers an Einsum's operators.
    """
    parts = problem.parts
    made_on: dict[str, ArrayName] = {}
    for einsum in (*problem.cascade.body, *problem.cascade.final):
        first = parts.matrix if _prefers_matrix(einsum, roles, made_on) else parts.vector
        made_on[einsum.name] = "array_2d" if parts.offered(einsum, first) is parts.matrix else "array_1d"
    return made_on


def _prefers_matrix(einsum: Einsum, roles: Roles, made_on: dict[str, ArrayName]) -> bool:
    if not roles.in_tile(einsum.ranks):
        return False
    tiles = [a for a in einsum.inputs if a.tensor in made_on and roles.in_tile(a.ranks)]
    if not tiles:
        return True
    tile_ranks = {r for a in tiles for r in a.ranks}
    if any(r not in tile_ranks for r in einsum.ranks if r not in roles.family):
        return True
    return all(made_on[a.tensor] == "array_2d" for a in tiles)
