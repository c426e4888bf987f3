"""Leading batch axes: a cascade that walks one more rank, so that instances of it are rows like any others."""

from __future__ import annotations

import math
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any

import numpy as np

from einsum_cascades.errors import InputError
from einsum_cascades.inputs import plain_ranks
from einsum_cascades.ir import Access, Apply, Cascade, Einsum, Expression, Var


def batched(cascade: Cascade, inputs: AbstractSet[str]) -> Cascade:
    """Return a cascade that does the same for every value of a new outermost rank.

    Args:
        cascade: one instance.
        inputs: the input tensors that differ between instances; what depends on them gets the rank too.
    """
    ranks = {r for d in cascade.declarations for r in d.ranks} | {r for e in cascade.einsums for r in e.ranks}
    ranks |= {r for p in cascade.partitions for r in (p.rank, *p.parts)}
    rank = next(name for name in ("BATCH", *(f"BATCH_{i}" for i in range(len(ranks) + 1))) if name not in ranks)
    wide = _dependent(cascade, inputs)

    def access(found: Access) -> Access:
        return Access(found.tensor, (Var(rank), *found.subscripts)) if found.tensor in wide else found

    def expression(part: Expression) -> Expression:
        if isinstance(part, Apply):
            return Apply(part.operator, tuple(expression(operand) for operand in part.operands))
        return access(part) if isinstance(part, Access) else part

    def einsum(found: Einsum) -> Einsum:
        return replace(found, output=access(found.output), expression=expression(found.expression))

    return replace(
        cascade,
        declarations=tuple(replace(d, ranks=(rank, *d.ranks)) if d.tensor in wide else d for d in cascade.declarations),
        init=tuple(map(einsum, cascade.init)),
        body=tuple(map(einsum, cascade.body)),
        final=tuple(map(einsum, cascade.final)),
    )


def _dependent(cascade: Cascade, inputs: AbstractSet[str]) -> set[str]:
    """The tensors that some inputs reach, and the views of these."""
    found = set(inputs)
    while True:
        more = {e.name for e in cascade.einsums if any(a.tensor in found for a in e.inputs)}
        more |= {t for pair in cascade.views if found & set(pair) for t in pair if t in cascade.ranks_of}
        if more <= found:
            return found
        found |= more


def batched_inputs(
    cascade: Cascade, inputs: Mapping[str, Any]
) -> tuple[dict[str, Any], tuple[int, ...], frozenset[str]]:
    """Return the inputs with their batch axes made one, the sizes of these axes, and the tensors that have them.

    Raises:
        InputError: the batch axes of two inputs differ.
    """
    tiled_of = {plain: tiled for tiled, plain in cascade.views if plain not in cascade.ranks_of}
    leading: tuple[int, ...] = ()
    first = ""
    flat = dict(inputs)
    tensors: set[str] = set()
    for name, given in inputs.items():
        tensor = tiled_of.get(name, name)
        array = np.asarray(given)
        declared = cascade.ranks_of.get(tensor, ())
        own = len(declared) if tensor == name else len(plain_ranks(cascade, declared))
        if tensor not in cascade.ranks_of or array.ndim <= own:
            continue
        axes = array.shape[: array.ndim - own]
        if tensors and axes != leading:
            raise InputError(
                f"input {name} has batch axes {axes}, but {first} has {leading}",
                hint="give all batched inputs the same leading axes",
            )
        leading, first = axes, first or name
        tensors.add(tensor)
        flat[name] = array.reshape(math.prod(axes), *array.shape[array.ndim - own :])
    return flat, leading, frozenset(tensors)
