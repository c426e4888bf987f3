"""Phases of a cascade that is not tiled: each contraction by itself, and the runs of other Einsums between them.

A *contraction* multiplies tensors and sums over a rank, and each tensor lacks a rank that another has, so that what the
PEs hold is used again: it wants the 2D array. The Einsums between two contractions (a softmax) form a *vector* phase on
the 1D array, walked fiber by fiber. Source: Kao et al., "FLAT", ASPLOS 2023; Nayak et al., MICRO 2024, section V.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from einsum_cascades.ir import Access, Cascade, Einsum
from einsum_cascades.operations import work_classes
from einsum_cascades.operators import WorkClass
from einsum_cascades.workload import Workload
from hw_models.accounting import Accounting
from hw_models.architecture import Architecture, Array
from mappers.capacity import least


@dataclass(frozen=True)
class PhaseGroup:
    """Einsums that make up one phase; ``contraction`` if it is a single matrix product."""

    einsums: tuple[Einsum, ...]
    contraction: bool

    @property
    def name(self) -> str:
        """A contraction is named by its Einsum; a vector phase by the tensor that it makes last."""
        return self.einsums[-1].name

    @property
    def tensors(self) -> frozenset[str]:
        """Tensors made in the phase."""
        return frozenset(e.name for e in self.einsums)


def joined(access: Access, einsum: Einsum, cascade: Cascade) -> tuple[str, ...]:
    """Return the ranks of an access; parts of a split rank that occur only together count as the rank itself."""
    ranks = list(access.ranks)
    for partition in cascade.partitions:
        parts = set(partition.parts)
        together = all(parts & set(a.ranks) in (parts, set()) for a in (*einsum.inputs, einsum.output))
        if together and parts & set(ranks) and partition.rank not in einsum.ranks:
            ranks = [r for r in ranks if r not in parts] + [partition.rank]
    return tuple(ranks)


def product_ranks(einsum: Einsum, cascade: Cascade) -> tuple[set[str], set[str], set[str]] | None:
    """Return the ranks that make an Einsum a matrix product; None if it is none.

    Returns:
        Those of the left tensor alone, and of the right one alone, that the result keeps; those of both that are
        summed. A product needs each: only then is what a PE holds used again, whichever way it lies.
    """
    if work_classes(einsum) != ("mac",) or len(einsum.inputs) != 2:
        return None
    left, right, out = (set(joined(a, einsum, cascade)) for a in (*einsum.inputs, einsum.output))
    found = ((left - right) & out, (right - left) & out, (left & right) - out)
    return found if all(found) else None


@lru_cache(maxsize=256)
def phase_groups(cascade: Cascade) -> tuple[PhaseGroup, ...]:
    """Return the phases in execution order."""
    groups: list[PhaseGroup] = []
    run: list[Einsum] = []
    for einsum in (*cascade.body, *cascade.final):
        if product_ranks(einsum, cascade):
            if run:
                groups.append(PhaseGroup(tuple(run), False))
                run = []
            groups.append(PhaseGroup((einsum,), True))
        else:
            run.append(einsum)
    if run:
        groups.append(PhaseGroup(tuple(run), False))
    return tuple(groups)


def phase_cycles(work: tuple[tuple[WorkClass, int], ...], array: Array, accounting: Accounting) -> int:
    """Return the cycles that a PE takes for one point of an Einsum in a phase.

    Where the accounting says so, the subtraction inside an exponential takes no cycle of its own.
    """
    classes = dict(work)
    if "exp" in classes and "add" in classes and not accounting.phase_subtraction_cycles:
        classes["add"] -= 1
    return sum(n * array.unit_of[w].cycles for w, n in classes.items())


def actions(work: tuple[tuple[WorkClass, int], ...], array: Array) -> int:
    """Return how often a PE's units act for one point of an Einsum."""
    return sum(n * array.unit_of[w].actions for w, n in work)


def rank_sizes(cascade: Cascade, workload: Workload, architecture: Architecture) -> dict[str, int]:
    """Return the size of every rank; the innermost part of a split rank is a tile of the array's rows.

    Raises:
        InputError: the workload lacks a size.
    """
    return sizes_of_ranks(cascade, workload.size, architecture)


def sizes_of_ranks(cascade: Cascade, size: Callable[[str], int], architecture: Architecture) -> dict[str, int]:
    """Return what ``rank_sizes`` does; the sizes and the machine may be of arrays.

    Raises:
        InputError: ``size`` knows no size of a rank.
    """
    sizes: dict[str, int] = {}
    for partition in cascade.partitions:
        left = size(partition.rank)
        parts = list(partition.parts)
        sizes[parts[-1]] = least(left, architecture.array_2d.rows)
        left = -(-left // sizes[parts[-1]])
        for part in parts[1:-1]:
            sizes[part] = least(left, size(part))
            left = -(-left // sizes[part])
        sizes[parts[0]] = left
    for rank in dict.fromkeys(r for e in (*cascade.body, *cascade.final) for r in e.ranks):
        if rank not in sizes:
            sizes[rank] = size(rank)
    return sizes
