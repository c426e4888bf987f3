"""Every kernel against the reference interpreter in float64, on random inputs and shapes that fit no tile.

Kernels are those tuned by hand (`kernels.attention`) and those compiled from cascades
(`kernels.compile_cascade`). The error is ``|ours - reference| / |reference|`` in the Euclidean norm, the largest
over the outputs; an infinity or NaN where the reference has another value counts as infinite. Inputs are rounded
to the type of the kernel before both run. A causal reference is the interpreter run query by query on the keys
that the query sees.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from einsum_cascades.errors import InputError
from einsum_cascades.interpreter import run
from einsum_cascades.ir import Cascade, Const, Size
from einsum_cascades.load import library_names, load_cascade
from einsum_cascades.operations import complete_sizes
from einsum_cascades.rewrites.check import known_sizes
from einsum_cascades.rewrites.samples import random_inputs
from kernels.compiler.compiled import compile_cascade
from kernels.cpu.attention import CASCADES, attention

TOLERANCES = {"float32": 2e-6, "float64": 1e-12}
"""Largest relative error in the Euclidean norm, by type."""

_EXTENTS: tuple[tuple[int, ...], ...] = ((1,), (2, 5, 3), (131, 67, 140, 36))
"""Sizes of the ranks of a compiled cascade: single values, less than a block, more than a block."""
_MOST_POINTS = 2**22

_ATTENTION = (
    {"heads": 1, "P": 1, "M": 1, "E": 1, "F": 1},
    {"heads": 3, "P": 7, "M": 5, "E": 3, "F": 4},
    {"heads": 2, "P": 67, "M": 131, "E": 33, "F": 17},
    {"heads": 1, "P": 64, "M": 256, "E": 64, "F": 64},
    {"heads": 1, "P": 129, "M": 517, "E": 128, "F": 128},
)

Floats = NDArray[np.floating[Any]]
Arrays = Mapping[str, Floats]


@dataclass(frozen=True)
class Case:
    """One comparison to be made.

    Attributes:
        kernel: ``tuned`` or ``compiled``.
        cascade: what is computed.
        dtype: the type of the kernel's values.
        sizes: the rank sizes, and ``heads`` for a tuned kernel.
        causal: whether each query sees only the keys before it.
    """

    kernel: str
    cascade: Cascade
    dtype: str
    sizes: tuple[tuple[str, int], ...]
    causal: bool = False

    @property
    def shape(self) -> str:
        """The sizes as text."""
        return " ".join(f"{name}={size}" for name, size in self.sizes)


@dataclass(frozen=True)
class Check:
    """A comparison made.

    Attributes:
        case: what was compared.
        error: relative error in the Euclidean norm; infinite if the kernel broke down.
        tolerance: the largest error allowed.
        problem: what the kernel broke down with, if it did.
    """

    case: Case
    error: float
    tolerance: float
    problem: str = ""

    @property
    def ok(self) -> bool:
        """Whether the error is within the tolerance."""
        return self.error <= self.tolerance


def cases(cascades: Iterable[Cascade] | None = None) -> tuple[Case, ...]:
    """Return the comparisons for some cascades; for the whole library if None.

    Each cascade is compiled for two types; those of `kernels.attention` are compared with their tuned kernel too.
    """
    found: list[Case] = []
    chosen = [load_cascade(name) for name in library_names()] if cascades is None else list(cascades)
    tuned = [c for c in chosen if c.name in CASCADES and c == load_cascade(c.name)]
    for cascade, sizes, causal in product(tuned, _ATTENTION, (False, True)):
        found.append(Case("tuned", cascade, "float32", tuple(sizes.items()), causal))
    for cascade, dtype in product(chosen, TOLERANCES):
        found += [Case("compiled", cascade, dtype, sizes) for sizes in dict.fromkeys(_shapes(cascade))]
    return tuple(found)


def check(case: Case, seed: int = 0) -> Check:
    """Make one comparison.

    Args:
        case: what is compared.
        seed: of the random inputs, together with the case.

    Raises:
        InputError: the cascade cannot be run.
    """
    label = f"{seed} {case.kernel} {case.cascade.name} {case.dtype} {case.shape} {case.causal}"
    generator = np.random.default_rng(zlib.crc32(label.encode()))
    compare = _tuned_error if case.kernel == "tuned" else _compiled_error
    try:
        return Check(case, compare(case, generator), TOLERANCES[case.dtype])
    except InputError:
        raise
    except Exception as error:  # a kernel that breaks down has failed its check; the others still run
        return Check(case, math.inf, TOLERANCES[case.dtype], f"{type(error).__name__}: {error}")


def relative_error(found: Floats, reference: Floats) -> float:
    """Return the relative error in the Euclidean norm, over the finite values of the reference."""
    found, finite = np.asarray(found, np.float64), np.isfinite(reference)
    if found.shape != reference.shape or not np.array_equal(found[~finite], reference[~finite], equal_nan=True):
        return math.inf
    difference = float(np.linalg.norm((found - np.where(finite, reference, 0.0))[finite]))
    norm = float(np.linalg.norm(reference[finite]))
    if not math.isfinite(difference):
        return math.inf
    return difference / norm if norm else difference


# ---------------------------------------------------------------- compiled cascades


def _shapes(cascade: Cascade) -> Iterable[tuple[tuple[str, int], ...]]:
    """Yield the rank sizes that a cascade is compiled and run with."""
    for chosen in _EXTENTS:
        extents = chosen
        while True:
            sizes = _sizes(cascade, extents)
            if max(math.prod(sizes[r] for r in e.ranks) for e in cascade.einsums) <= _MOST_POINTS:
                break
            extents = tuple(-(-extent // 2) for extent in extents)
        yield tuple(sizes.items())


def _sizes(cascade: Cascade, extents: Sequence[int]) -> dict[str, int]:
    """Sizes for all ranks, those of a partition's parts and of stop conditions in agreement."""
    split = {p.rank for p in cascade.partitions}
    ranks = {r for d in cascade.declarations for r in d.ranks} | set(cascade.iterative_ranks)
    ranks |= {r for e in cascade.einsums for r in e.ranks} | {r for p in cascade.partitions for r in p.parts}
    sizes = {rank: extents[i % len(extents)] for i, rank in enumerate(sorted(ranks - split))}
    for stop in cascade.stop:
        if isinstance(stop.bound, Const):
            sizes[stop.rank] = max(sizes.get(stop.rank, 1), stop.bound.value)
        elif isinstance(stop.bound, Size) and stop.bound.rank in sizes:
            sizes[stop.rank] = sizes[stop.bound.rank]
    return dict(sorted(complete_sizes(cascade, sizes).items()))


def _compiled_error(case: Case, generator: np.random.Generator) -> float:
    """The largest error over the outputs."""
    cascade, sizes = case.cascade, dict(case.sizes)
    known = known_sizes(cascade, sizes)
    for drawn in random_inputs(cascade, sizes, int(generator.integers(2**32)), 1.0):
        inputs = {name: array.astype(case.dtype) for name, array in drawn.items()}
        exact = {name: array.astype(np.float64) for name, array in inputs.items()}
        reference = run(cascade, exact, sizes=known)
        if all(np.isfinite(reference[t]).all() for t in cascade.outputs):
            break
    found = compile_cascade(cascade).run(inputs, known)
    return max(relative_error(found[tensor], reference[tensor]) for tensor in cascade.outputs)


# ---------------------------------------------------------------- attention, tuned by hand


def _tuned_error(case: Case, generator: np.random.Generator) -> float:
    sizes = dict(case.sizes)
    q, k, v = (
        generator.normal(size=(sizes["heads"], sizes[length], sizes[width])).astype(np.float32)
        for length, width in (("P", "E"), ("M", "E"), ("M", "F"))
    )
    q *= np.float32(sizes["E"] ** -0.5)  # scores of about 1, as in a model
    found = attention(q, k, v, cascade=case.cascade.name, causal=case.causal, scale=1.0)
    heads = zip(*(x.astype(np.float64) for x in (q, k, v)), strict=True)
    reference = np.stack([_reference(case.cascade, *head, causal=case.causal) for head in heads])
    return relative_error(found, reference)


def _reference(cascade: Cascade, q: Floats, k: Floats, v: Floats, *, causal: bool) -> Floats:
    """The interpreter's result of one head, [P, F]; query p sees the keys m <= p + (M - P) if causal."""
    if not causal:
        inputs = {"Q": q.T, "K": k.T, "V": v.T}
        sizes = {"M0": len(k)} if cascade.partitions else {}
        return np.asarray(run(cascade, inputs, sizes=sizes)["AV"].T)
    rows = np.zeros((len(q), v.shape[1]))
    for p in range(len(q)):
        seen = p + len(k) - len(q) + 1
        if seen > 0:
            rows[p] = _reference(cascade, q[p : p + 1], k[:seen], v[:seen], causal=False)[0]
    return rows
