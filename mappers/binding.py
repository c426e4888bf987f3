"""Which array an Einsum runs on: an array whose PEs offer its operators, and where its operands already are.

An Einsum with a value per PE of the tile prefers the 2D array if it is fed from memory along rows and columns, or if it
walks further ranks and so reuses what the PEs hold (a contraction). One that only works through a tile, element by
element or reducing it, runs where that tile was made: moving a tile costs more than it saves. What has no value per PE
prefers the 1D array. Source: Nayak et al., MICRO 2024, section V (binding), of which this is the general rule.
"""

from __future__ import annotations

from einsum_cascades.errors import InputError
from einsum_cascades.ir import Cascade, Einsum
from einsum_cascades.operations import work_classes
from hw_models.activity import ArrayName
from hw_models.architecture import Architecture
from mappers.roles import Roles


def bind(cascade: Cascade, roles: Roles, architecture: Architecture) -> dict[str, ArrayName]:
    """Return the array of each Einsum of the body and of the final part.

    Raises:
        InputError: neither array offers an Einsum's operators.
    """
    made_on: dict[str, ArrayName] = {}
    for einsum in (*cascade.body, *cascade.final):
        first: ArrayName = "array_2d" if _prefers_2d(einsum, roles, made_on) else "array_1d"
        made_on[einsum.name] = offered(einsum, first, architecture)
    return made_on


def offered(einsum: Einsum, first: ArrayName, architecture: Architecture) -> ArrayName:
    """Return the preferred array if it offers the Einsum's operators, else the other one.

    Raises:
        InputError: neither does.
    """
    work = work_classes(einsum)
    second: ArrayName = "array_1d" if first == "array_2d" else "array_2d"
    for name in (first, second):
        if architecture.array(name).offers(work):
            return name
    raise InputError(
        f"no array of {architecture.name} offers all that {einsum.name} needs: {', '.join(sorted(set(work)))}",
        hint="array_2d offers "
        + ", ".join(architecture.array_2d.unit_of)
        + "; array_1d offers "
        + ", ".join(architecture.array_1d.unit_of),
    )


def _prefers_2d(einsum: Einsum, roles: Roles, made_on: dict[str, ArrayName]) -> bool:
    if not roles.in_tile(einsum.ranks):
        return False
    tiles = [a for a in einsum.inputs if a.tensor in made_on and roles.in_tile(a.ranks)]
    if not tiles:
        return True
    tile_ranks = {r for a in tiles for r in a.ranks}
    if any(r not in tile_ranks for r in einsum.ranks if r not in roles.family):
        return True
    return all(made_on[a.tensor] == "array_2d" for a in tiles)
