"""Compute reductions per tile with the tile's own values, then correct once per tile.

With tiles m1 of values m0 and a reduction Y = sum over m of F(x_m, y), y = max over m of x_m:

    LY[m1] = sum over m0 of F(x, Ly[m1])     y = max over m1 of Ly[m1]
    Y      = sum over m1 of LY[m1] * T(Ly[m1], y)

The correction needs partial results only, so it is no pass of its own. Sources: S. Zheng et al.,
"TileFlow", MICRO 2023; Y. Choi et al., "Accelerating transformer networks through recomposing softmax
layers", IISWC 2022; as a cascade, Nayak et al., "FuseMax", MICRO 2024, section 3.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from einsum_cascades.ir import Access, Apply, Cascade, Einsum, Expression
from einsum_cascades.rewrites.structure import Names, assemble, is_iterative, make
from einsum_cascades.rewrites.tiles import Draft, Tiles


@dataclass(frozen=True)
class CorrectLocally:
    """Compute the reductions ``targets`` over ``rank`` per tile, and correct them once."""

    rank: str
    targets: tuple[str, ...]
    name: ClassVar[str] = "correct-locally"

    @classmethod
    def candidates(cls, cascade: Cascade, rank: str) -> Iterator[CorrectLocally]:
        """Yield one choice for each number of reductions, in the order of their dependencies."""
        if len(cascade.family(rank)) < 2 or is_iterative(cascade):
            return
        tiles = Tiles(cascade, rank)
        depth = tiles.structure.depth
        mended = {depth(name) for name, movable in tiles.movable.items() if movable.late}
        for level in sorted(mended):
            chosen = [name for name in tiles.movable if depth(name) <= level]
            needed = {a.tensor for name in chosen for a in tiles.movable[name].late}
            yield cls(rank, tuple(n for n in chosen if n in needed or tiles.movable[n].late))

    def describe(self) -> str:
        """Return the step in words."""
        return f"compute {', '.join(self.targets)} per tile and correct once"

    def apply(self, cascade: Cascade) -> Cascade:
        """Return the cascade with local results and corrections."""
        tiles = Tiles(cascade, self.rank)
        results: dict[str, Access] = {}
        draft = Draft(tiles, self.targets, lambda a: results[a.tensor], Names(cascade))
        kept = tiles.untouched(self.targets)
        for target in self.targets:
            self._target(tiles, draft, target, results)
        done = {e.name for e in kept} | set(self.targets)
        rest = [self._global(tiles, draft, e) for e in (*cascade.body, *cascade.final) if e.name not in done]
        return assemble(
            cascade,
            [*kept, *draft.einsums, *rest],
            draft.ranks_of,
            suffix="-local",
            init=cascade.init,
            stop=cascade.stop,
            partitions=cascade.partitions,
            views=cascade.views,
        )

    def _target(self, tiles: Tiles, draft: Draft, target: str, results: dict[str, Access]) -> None:
        movable = tiles.movable[target]
        part: Expression = draft.contribution(movable)
        assert isinstance(part, Access)
        results[target] = part
        output = movable.einsum.output
        if movable.term is not None:
            factor = draft.correction(
                movable.late, movable.term, movable.operator, draft.stand_in, lambda a: a, lambda a: a
            )
            assert factor is not None
            link = "mul" if movable.operator == "add" else "add"
            part = draft.add("C" + target, (tiles.outer, *output.ranks), Apply(link, (part, factor)))
        draft.einsums.append(make(output, part, movable.operator))

    def _global(self, tiles: Tiles, draft: Draft, einsum: Einsum) -> Einsum:
        """An Einsum that is not computed per tile: the corrected local tensor where there is one."""
        local = draft.localised(einsum.name)
        if local is None or einsum.reductions or not tiles.structure.walks(einsum.output):
            return einsum
        found = tiles.separated(einsum.expression, "add")
        late, term = found or ((), None)
        if term is None or any(a.tensor not in self.targets for a in late):
            return einsum
        factor = draft.correction(late, term, "add", draft.stand_in, lambda a: a, lambda a: a)
        return Einsum(einsum.output, Apply("mul", (local, factor))) if factor else einsum
