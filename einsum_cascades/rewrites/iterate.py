"""Make reductions iterative: keep a result so far, and mend it when what it was computed with changes.

Over the values (or tiles) m of a rank, for Y = sum of F(x_m, y) whose y is a reduction too:

    y[m+1] = max(y[m], x_m)
    Y[m+1] = Y[m] * T(y[m], y[m+1]) + F(x_m, y[m+1])

T is the correction of ``separability.py``; a maximum or minimum is mended by adding it. What no correction
exists for is computed after the last iteration, in a pass of its own. Sources: M. Milakov, N. Gimelshein,
"Online normalizer calculation for softmax", 2018, arXiv:1805.02867; T. Dao, "FlashAttention-2", ICLR 2024;
as iterative cascades, Nayak et al., "FuseMax", MICRO 2024, section 3.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from einsum_cascades.ir import Access, Apply, Cascade, Const, Einsum, Number, Size, Stop, Var
from einsum_cascades.rewrites.structure import Names, assemble, is_iterative
from einsum_cascades.rewrites.symbolic import replace_accesses
from einsum_cascades.rewrites.tiles import Draft, Movable, Tiles, at


@dataclass(frozen=True)
class Iterate:
    """Run every reduction over ``rank`` that can be mended as a recurrence over its outermost part."""

    rank: str
    name: ClassVar[str] = "iterate"

    @classmethod
    def candidates(cls, cascade: Cascade, rank: str) -> Iterator[Iterate]:
        """Yield the rewrite if some reduction needs mending."""
        if is_iterative(cascade):
            return
        movable = Tiles(cascade, rank).movable.values()
        if any(m.term is not None for m in movable):
            yield cls(rank)

    def describe(self) -> str:
        """Return the step in words."""
        return f"iterate over {self.rank}, mending what was computed with an older value"

    def apply(self, cascade: Cascade) -> Cascade:
        """Return the iterative cascade."""
        tiles = Tiles(cascade, self.rank)
        loop = _Loop(tiles, Names(cascade))
        for movable in tiles.movable.values():
            loop.run(movable)
        kept = tiles.untouched(tiles.movable)
        done = {e.name for e in kept} | set(tiles.movable)
        rest = [e for e in (*cascade.body, *cascade.final) if e.name not in done]
        rest += [
            Einsum(m.einsum.output, m.einsum.output) for m in tiles.movable.values() if m.einsum.name in cascade.outputs
        ]
        return assemble(
            cascade,
            [*kept, *loop.draft.einsums, *map(loop.after, rest)],
            loop.draft.ranks_of,
            suffix="-iterative",
            init=(*cascade.init, *loop.init),
            stop=dict.fromkeys((*cascade.stop, Stop(tiles.outer, Size(tiles.outer)))),
            partitions=cascade.partitions,
            views=cascade.views,
        )


class _Loop:
    """The running results while they are put together."""

    def __init__(self, tiles: Tiles, names: Names) -> None:
        self.tiles = tiles
        self.running = {name: names.fresh("R" + name) for name in tiles.movable}
        self.draft = Draft(tiles, tiles.movable, self.new, names)
        self.init: list[Einsum] = []

    def old(self, access: Access) -> Access:
        """A result before an iteration."""
        return at(self.running[access.tensor], Var(self.tiles.outer), access)

    def new(self, access: Access) -> Access:
        """A result after an iteration."""
        return at(self.running[access.tensor], Var(self.tiles.outer, 1), access)

    def run(self, movable: Movable) -> None:
        """Add the recurrence of one reduction."""
        output = movable.einsum.output
        part = self.draft.contribution(movable)
        before = self.old(output)
        if movable.term is not None:
            factor = self.draft.correction(
                movable.late, movable.term, movable.operator, self.old, self.draft.safe, self.new
            )
            assert factor is not None
            link = "mul" if movable.operator == "add" else "add"
            ranks = (self.tiles.outer, *output.ranks)
            before = self.draft.add("C" + output.tensor, ranks, Apply(link, (before, factor)))
        self.draft.einsums.append(Einsum(self.new(output), Apply(movable.operator, (before, part))))
        running = self.running[output.tensor]
        self.draft.ranks_of[running] = (self.tiles.outer, *output.ranks)
        start = Number(self.tiles.start(output.tensor))
        self.init.append(Einsum(Access(running, (Const(0), *output.subscripts)), start))

    def after(self, einsum: Einsum) -> Einsum:
        """An Einsum that reads the last values."""
        last = {
            a: at(self.running[a.tensor], Size(self.tiles.outer), a) for a in einsum.inputs if a.tensor in self.running
        }
        return Einsum(einsum.output, replace_accesses(einsum.expression, last), einsum.reductions)
