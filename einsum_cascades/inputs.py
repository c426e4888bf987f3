"""What a cascade is given to run on: arrays in declared shape, tiled views cut, and the rank sizes that they show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from einsum_cascades.errors import InputError, check_type, unknown
from einsum_cascades.ir import Cascade
from einsum_cascades.not_a_rank import not_a_rank
from einsum_cascades.operations import complete_sizes

Array = NDArray[np.floating[Any]]


def plain_ranks(cascade: Cascade, ranks: tuple[str, ...]) -> tuple[str, ...]:
    """Return the ranks of the tensor that a tiled one views: each family's parts become the rank that they split."""
    whole = {part: partition.rank for partition in cascade.partitions for part in partition.parts}
    return tuple(dict.fromkeys(whole.get(rank, rank) for rank in ranks))


def bind_inputs(
    cascade: Cascade, inputs: Mapping[str, Any], sizes: dict[str, int]
) -> tuple[dict[str, Array], dict[str, int]]:
    """Return the arrays of the input tensors in declared shape, and the rank sizes that they and ``sizes`` tell.

    Raises:
        InputError: an input is missing, unknown or of the wrong shape, or a rank has two sizes.
    """
    names = _given_names(cascade, inputs)
    known = {r for d in cascade.declarations for r in d.ranks} | {r for e in cascade.einsums for r in e.ranks}
    known |= set(cascade.iterative_ranks) | {r for p in cascade.partitions for r in (p.rank, *p.parts)}
    for rank in sizes:
        if rank not in known:
            raise not_a_rank(cascade, rank, known)
    dtype = _dtype(inputs)
    source = dict.fromkeys(sizes, "the sizes given")
    sizes = complete_sizes(cascade, sizes)
    arrays: dict[str, Array] = {}
    for tensor, name in names.items():
        arrays[tensor] = np.asarray(inputs[name], dtype=dtype)
        ranks = cascade.ranks_of[tensor]
        ranks = ranks if tensor == name else plain_ranks(cascade, ranks)
        _note_shape(name, ranks, arrays[tensor], sizes, source)
    sizes = complete_sizes(cascade, sizes)
    for tensor, name in names.items():
        if tensor != name:
            arrays[tensor] = tiled(cascade, tensor, arrays[tensor], sizes)
    return arrays, sizes


def _given_names(cascade: Cascade, inputs: Mapping[str, Any]) -> dict[str, str]:
    """The name under which each input is given: its own, or that of the plain tensor that it views."""
    plain_of = dict(cascade.views)
    needed = [t for t in cascade.inputs if plain_of.get(t) not in cascade.ranks_of]
    accepted = {name for t in needed for name in (t, plain_of.get(t, t))}
    check_type("inputs", inputs, Mapping, "a mapping from the names of tensors to arrays is expected")
    for name in inputs:
        if name not in accepted:
            raise unknown("input", str(name), accepted)
    names = {}
    for tensor in needed:
        spellings = dict.fromkeys((tensor, plain_of.get(tensor, tensor)))
        found = [name for name in spellings if name in inputs]
        if len(found) == 2:
            raise InputError(f"both {tensor} and {found[1]} are given", hint=f"{tensor} is a view: give one")
        if not found:
            ranks = cascade.ranks_of[tensor]
            shapes = (ranks if n == tensor else plain_ranks(cascade, ranks) for n in spellings)
            raise InputError(
                f"input {tensor} is missing",
                hint=f"cascade '{cascade.name}' reads "
                + " or ".join(f"{n}[{', '.join(r)}]" for n, r in zip(spellings, shapes, strict=True))
                + f"; given: {', '.join(inputs) or 'nothing'}",
            )
        names[tensor] = found[0]
    return names


def _dtype(inputs: Mapping[str, Any]) -> np.dtype[Any]:
    """The floating-point type that the inputs promote to; float64 for integers and for no inputs."""
    kinds = []
    for name, value in inputs.items():
        try:
            kinds.append(np.asarray(value).dtype)
        except ValueError as error:
            raise InputError(f"input {name} is not an array", hint=str(error)) from None
        if kinds[-1].kind not in "biuf":
            raise InputError(f"input {name} holds values of type {kinds[-1]}", hint="real numbers are needed")
    dtype = np.result_type(*kinds) if kinds else np.dtype(np.float64)
    return dtype if dtype.kind == "f" else np.dtype(np.float64)


def _note_shape(name: str, ranks: tuple[str, ...], array: Array, sizes: dict[str, int], source: dict[str, str]) -> None:
    """Record the rank sizes that an array shows; refuse those that contradict what is known."""
    declared = f"{name}[{', '.join(ranks)}]"
    if array.ndim != len(ranks):
        raise InputError(
            f"input {name} has {array.ndim} axes, shape {array.shape}; expected {len(ranks)}",
            hint=f"it is declared {declared}",
        )
    for rank, size in zip(ranks, array.shape, strict=True):
        if size < 1:
            raise InputError(f"rank {rank} of input {name} is empty: shape {array.shape}", hint=f"it is {declared}")
        if sizes.setdefault(rank, size) != size:
            raise InputError(
                f"rank {rank} of input {name} has size {size}; expected {sizes[rank]}, "
                f"as {source.get(rank, 'its partition')} says",
                hint=f"{declared} was given with shape {array.shape}",
            )
        source.setdefault(rank, f"input {name}")


def tiled(cascade: Cascade, tensor: str, array: Array, sizes: Mapping[str, int]) -> Array:
    """Cut a plain array into the parts that the tensor is declared with.

    Raises:
        InputError: a part has no size, or the parts do not make up the plain tensor.
    """
    declared = cascade.ranks_of[tensor]
    parts_of = {p.rank: p.parts for p in cascade.partitions if set(p.parts) & set(declared)}
    parts = [part for rank in plain_ranks(cascade, declared) for part in parts_of.get(rank, (rank,))]
    if sorted(parts) != sorted(declared):
        raise InputError(f"{tensor} has ranks {declared}, which no plain tensor can be cut into")
    missing = [part for part in parts if part not in sizes]
    if missing:
        raise InputError(
            f"rank {missing[-1]} has no size, so {tensor}[{', '.join(declared)}] cannot be cut",
            hint=f"give sizes={{'{missing[-1]}': ...}}",
        )
    tiled = array.reshape([sizes[part] for part in parts])
    return tiled.transpose([parts.index(rank) for rank in declared])
