"""A cascade's iteration space in whole ranks, and how coarsely each tensor sees it.

A split rank (``M`` into ``M1``, ``M0``) is one range of M points. A tensor with both parts has a value for each point; one
with the outer part alone has a value for each ``M0`` of them: the *grain* at which it sees the rank. So a last tile that
is smaller needs no padding: 65,537 keys in parts of 256 are 257 values of ``LM[m1]`` and 65,537 of ``BQK[m1, m0]``.

Where some tensor has an inner part without the outer ones, or an Einsum walks parts beside the rank itself, the parts are
ranks of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

from einsum_cascades.errors import InputError
from einsum_cascades.graph import node_names
from einsum_cascades.ir import Access, Cascade, Einsum, Partition
from einsum_cascades.loops.arith import Number, steps
from einsum_cascades.loops.tree import INSTANCES, parts_of
from einsum_cascades.order import earlier_ranks

PRIME = "'"
"""Marks a tensor's values of an earlier iteration."""


@dataclass(frozen=True)
class Operand:
    """What an Einsum reads or writes.

    Attributes:
        name: the tensor, with a prime if its value comes from an earlier iteration.
        ranks: ranks of the cascade along which it changes.
    """

    name: str
    ranks: tuple[str, ...]

    @cached_property
    def tensor(self) -> str:
        """The tensor without the prime."""
        return self.name.removesuffix(PRIME)

    @cached_property
    def carried(self) -> bool:
        """Whether its value comes from an earlier iteration."""
        return self.name.endswith(PRIME)


@dataclass(frozen=True)
class Step:
    """An Einsum as a tree runs it.

    Attributes:
        name: in a tree: its tensor's, or ``H@init`` for one that gives a first value.
        inputs, output: what it reads and writes.
        ranks: its iteration space.
        reduced: those of them that it folds away.
    """

    name: str
    einsum: Einsum
    inputs: tuple[Operand, ...]
    output: Operand
    ranks: tuple[str, ...]
    reduced: tuple[str, ...]


def carried(access: Access, cascade: Cascade) -> bool:
    """Whether an access reads what an earlier iteration of an iterative rank wrote."""
    return any(e.name == access.tensor and earlier_ranks(access, e.output) for e in cascade.body)


@lru_cache(maxsize=256)
def steps_of(cascade: Cascade) -> Mapping[str, Step]:
    """Return the Einsums that run, by name, in order; first values that are constants cost nothing and are left out."""
    found: dict[str, Step] = {}
    init = {id(e) for e in cascade.init}
    in_body = {id(e) for e in cascade.body}
    for name, einsum in zip(node_names(cascade), cascade.einsums, strict=True):
        if id(einsum) in init and not einsum.inputs:
            continue
        operands = dict.fromkeys(
            Operand(a.tensor + PRIME * (id(einsum) in in_body and carried(a, cascade)), a.ranks) for a in einsum.inputs
        )
        output = Operand(einsum.name, einsum.output.ranks)
        found[name] = Step(name, einsum, tuple(operands), output, einsum.ranks, einsum.reduced_ranks)
    return found


@lru_cache(maxsize=256)
def whole_ranks(cascade: Cascade) -> Mapping[str, tuple[str, ...]]:
    """Return the parts of each split rank that is one range: of each, tensors have outermost parts only."""
    seen = [set(d.ranks) for d in cascade.declarations]
    seen += [{r for r in a.ranks} for e in cascade.einsums for a in (*e.inputs, e.output)]
    beside = [set(e.ranks) for e in cascade.einsums]
    return {
        p.rank: p.parts
        for p in cascade.partitions
        if all(_outermost(p, ranks) for ranks in seen)
        and not any(p.rank in ranks and ranks & set(p.parts) for ranks in beside)
    }


def _outermost(partition: Partition, ranks: set[str]) -> bool:
    has = [part in ranks for part in partition.parts]
    return has == sorted(has, reverse=True)


@dataclass(frozen=True)
class Space:
    """A cascade with the sizes of its ranks.

    Attributes:
        sizes: of whole ranks by name, ``instances`` included.
        split: sizes of the inner parts of split ranks.
    """

    cascade: Cascade
    sizes: Mapping[str, Number]
    split: Mapping[str, Number]

    @classmethod
    def of(cls, cascade: Cascade, given: Mapping[str, Number], split: Iterable[tuple[str, Number]]) -> Space:
        """Collect the sizes.

        Args:
            given: sizes of ranks; split ranks by their own name. ``instances`` is 1 if it is not given.
            split: (part, size) of the inner parts.

        Raises:
            InputError: a size is missing.
        """
        parts = dict(split)
        whole = whole_ranks(cascade)
        sizes: dict[str, Number] = {INSTANCES: given.get(INSTANCES, 1)}
        for partition in cascade.partitions:
            for part in partition.parts[1:]:
                if part not in parts:
                    raise InputError(
                        f"the split of {partition.rank} says no size of {part}", hint=f"begin with 'split {part} SIZE'"
                    )
            size = _given(given, partition.rank)
            if partition.rank in whole:
                sizes[partition.rank] = size
                continue
            for part in reversed(partition.parts[1:]):
                sizes[part] = parts[part]
                size = steps(size, parts[part])
            sizes[partition.parts[0]] = size
        separate = {part for p in cascade.partitions for part in p.parts}
        for rank in dict.fromkeys(r for e in cascade.einsums for r in e.ranks):
            if rank not in separate and rank not in sizes:
                sizes[rank] = _given(given, rank)
        return cls(cascade, sizes, parts)

    @cached_property
    def steps(self) -> Mapping[str, Step]:
        """The Einsums that run, by name."""
        return steps_of(self.cascade)

    @cached_property
    def _grains(self) -> dict[str, tuple[str, tuple[str, ...]]]:
        """Per rank of the cascade its whole rank, and the inner parts whose sizes make its grain."""
        found: dict[str, tuple[str, tuple[str, ...]]] = {}
        for rank, parts in whole_ranks(self.cascade).items():
            found |= {part: (rank, parts[i + 1 :]) for i, part in enumerate(parts)}
        return found

    def whole(self, rank: str) -> str:
        """Return the whole rank that a rank is a part of, or itself."""
        return self._grains.get(rank, (rank, ()))[0]

    def grains(self, ranks: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """Return by whole rank the inner parts whose sizes make the grain at which a tensor sees it: () is every point."""
        found: dict[str, tuple[str, ...]] = {}
        for rank in ranks:
            whole, inner = self._grains.get(rank, (rank, ()))
            if whole not in found or len(inner) < len(found[whole]):
                found[whole] = inner
        return found

    def length(self, grain: tuple[str, ...]) -> Number:
        """Return how many points a grain has."""
        found: Number = 1
        for part in grain:
            found = found * self.split[part]
        return found

    @cached_property
    def iterative(self) -> frozenset[str]:
        """Whole ranks whose iterations run one after another."""
        return frozenset(self.whole(rank) for rank in self.cascade.iterative_ranks)

    def extent(self, rank: str) -> Number:
        """Return the points of a loop's rank: of several that it joins, their product."""
        first, *others = parts_of(rank)
        found = self.sizes[first]
        for part in others:
            found = found * self.sizes[part]
        return found

    def values(self, ranks: Iterable[str]) -> Number:
        """Return how many values a tensor of these ranks has, in all instances."""
        found: Number = self.sizes[INSTANCES]
        for whole, grain in self.grains(ranks).items():
            found = found * steps(self.sizes[whole], self.length(grain))
        return found


def _given(given: Mapping[str, Number], rank: str) -> Number:
    if rank not in given:
        known = ", ".join(f"{r}={s}" for r, s in given.items())
        raise InputError(f"rank {rank} has no size", hint=f"give one with --set {rank}=SIZE; sizes known: {known}")
    return given[rank]
