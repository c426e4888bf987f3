"""Random inputs that try a cascade: many samples at once, along a rank that is added to every tensor.

Values are normal numbers, but positive where they are divided by or stand under a root or logarithm; in some samples
all are positive, for roots of differences, and in some they are small whole numbers, so that values are equal. What a
cascade compares or masks with gets what such inputs hold (``roles.py``): flags and document numbers are small whole
numbers, the same over whole tiles or mixed; places are whole numbers around the ends of tiles; additive masks are
infinite over whole tiles and here and there, and what they are logarithms of is 0 there. Which tiles, is drawn anew
for every fiber. Of several masks each also hides alone, so that what the others do not hide is there to see.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from einsum_cascades.ir import Access, Cascade, Declaration, Einsum, Expression, Var
from einsum_cascades.rewrites.roles import roles
from einsum_cascades.rewrites.symbolic import distinct_accesses, replace_accesses

TILE = 3
"""How many neighbouring values are hidden together: the innermost part of a split rank has this size."""

_PLAIN, _MASKED, _ALONE = 16, 16, 4

Arrays = dict[str, NDArray[np.floating[Any]]]


@dataclass(frozen=True)
class _Sample:
    """How one sample is drawn.

    Attributes:
        number: of the sample.
        positive: whether all values are above 0.
        whole: whether all values are small whole numbers.
        masked: whether masks hide anything.
        alone: the only carrier that hides anything; all do if empty.
    """

    number: int
    positive: bool = False
    whole: bool = False
    masked: bool = False
    alone: str = ""


def samples(cascade: Cascade, sizes: Mapping[str, int], seed: int, magnitude: float) -> tuple[Arrays, int]:
    """Return inputs with an axis of samples before the others, under the names of the plain tensors, and its length."""
    generator = np.random.default_rng(seed)
    chosen = [_Sample(n, positive=n % 2 == 1, whole=n % 8 in (2, 5)) for n in range(_PLAIN)]
    if roles(cascade).masks:
        chosen += [_Sample(n, whole=n % 3 == 2, masked=True) for n in range(_MASKED)]
    carriers = [tensor for tensor, _ in roles(cascade).carriers]
    if len(carriers) > 1:
        chosen += [_Sample(2 * n + 1, masked=True, alone=tensor) for tensor in carriers for n in range(_ALONE)]
    drawn = [_draw(cascade, sizes, sample, magnitude, generator) for sample in chosen]
    return {tensor: np.stack([one[tensor] for one in drawn]) for tensor in drawn[0]}, len(drawn)


def random_inputs(cascade: Cascade, sizes: Mapping[str, int], seed: int, magnitude: float) -> Iterator[Arrays]:
    """Yield inputs of both signs, then positive ones, under the names of the plain tensors."""
    generator = np.random.default_rng(seed)
    for positive in (False, True):
        yield _draw(cascade, sizes, _Sample(int(generator.integers(100)), positive), magnitude, generator)


def sampled(cascade: Cascade, rank: str) -> Cascade:
    """Return a cascade that does for every point of a new rank what a cascade does once."""

    def access(old: Access) -> Access:
        return Access(old.tensor, (Var(rank), *old.subscripts))

    def expression(old: Expression) -> Expression:
        return replace_accesses(old, {a: access(a) for a in distinct_accesses(old)})

    def einsums(old: tuple[Einsum, ...]) -> tuple[Einsum, ...]:
        return tuple(Einsum(access(e.output), expression(e.expression), e.reductions, e.location) for e in old)

    return Cascade(
        name=cascade.name,
        declarations=tuple(Declaration(d.tensor, (rank, *d.ranks)) for d in cascade.declarations),
        body=einsums(cascade.body),
        init=einsums(cascade.init),
        final=einsums(cascade.final),
        stop=cascade.stop,
        partitions=cascade.partitions,
        views=cascade.views,
    )


def shapes(cascade: Cascade) -> dict[str, tuple[str, ...]]:
    """Return the ranks of the arrays that a run needs, under the names of the plain tensors."""
    views = dict(cascade.views)
    whole = {part: p.rank for p in cascade.partitions for part in p.parts}
    found: dict[str, tuple[str, ...]] = {}
    for tensor in cascade.inputs:
        ranks = cascade.ranks_of[tensor]
        if tensor in views:
            ranks = tuple(dict.fromkeys(whole.get(r, r) for r in ranks))
        if views.get(tensor) not in cascade.ranks_of:
            found[views.get(tensor, tensor)] = ranks
    return found


def _draw(
    cascade: Cascade, sizes: Mapping[str, int], sample: _Sample, magnitude: float, generator: np.random.Generator
) -> Arrays:
    known = roles(cascade)
    carriers = dict(known.carriers)
    found: Arrays = {}
    for tensor, ranks in shapes(cascade).items():
        shape = [sizes[rank] for rank in ranks]
        axis = next((a for a, rank in enumerate(ranks) if cascade.whole_rank(rank) in known.folded), None)
        if tensor in known.places:
            longest = max((sizes[r] for r in known.indices if r in sizes), default=TILE)
            found[tensor] = _places(shape, longest, sample, generator)
        elif tensor in known.flags:
            found[tensor] = _flags(shape, axis, sample, generator)
        else:
            positive = sample.positive or tensor in known.positive
            values = magnitude * _values(shape, positive, sample.whole, generator)
            hides = tensor in carriers and sample.alone in ("", tensor)
            if sample.masked and sample.number % 2 and hides and axis is not None:
                values[_hidden(shape, axis, generator)] = carriers[tensor]
            found[tensor] = values
    return found


def _values(shape: list[int], positive: bool, whole: bool, generator: np.random.Generator) -> NDArray[np.float64]:
    if whole:
        return generator.integers(1 if positive else -2, 3, shape).astype(np.float64)
    return generator.uniform(0.5, 1.5, shape) if positive else generator.normal(size=shape)


def _places(shape: list[int], longest: int, sample: _Sample, generator: np.random.Generator) -> NDArray[np.float64]:
    """Whole numbers from 0 to past the end; a single one goes through the ends of tiles."""
    if shape:
        return generator.integers(0, longest + 2, shape).astype(np.float64)
    ends = [*range(TILE, longest, TILE), 1, TILE + 1, longest, longest + 2, 2, longest - 1, 0]
    return np.asarray(float(ends[sample.number % len(ends)]))


def _flags(shape: list[int], axis: int | None, sample: _Sample, generator: np.random.Generator) -> NDArray[np.float64]:
    """Numbers from 0 to 3: 1 everywhere, or 0 where hidden, or 0 where not, or a number for each tile, or mixed."""
    if axis is None or not sample.masked:
        return generator.integers(0, 4, shape).astype(np.float64) if sample.masked else np.ones(shape)
    hidden = _hidden(shape, axis, generator)
    kind = sample.number % 4
    if kind == 2:
        tiles = np.arange(shape[axis]) // TILE % 4
        return np.broadcast_to(np.expand_dims(tiles, [a for a in range(len(shape)) if a != axis]), shape).astype(float)
    if kind == 3:
        return generator.integers(0, 4, shape).astype(np.float64)
    return np.where(hidden == (kind == 0), 0.0, 1.0)


def _hidden(shape: list[int], axis: int, generator: np.random.Generator) -> NDArray[np.bool_]:
    """Places that are hidden: of each fiber along an axis about half of the tiles, of some fibers single values too."""
    size = shape[axis]
    fibers = [n for a, n in enumerate(shape) if a != axis]
    tiles = np.repeat(generator.random([*fibers, -(-size // TILE)]) < 0.5, TILE, axis=-1)[..., :size]
    single = generator.random([*fibers, size]) < generator.choice([0.0, 0.3], [*fibers, 1])
    return np.asarray(np.moveaxis(tiles | single, -1, axis))
