"""How often nested loops turn, ragged last tiles included: the one formula that all counts are products of.

Cutting a range of N points into tiles of T gives ⌊N/T⌋ tiles of T and one of N mod T. So the turns of nested loops over
one rank are

    turns(N; T, …) = ⌊N/T⌋ · turns(T; …) + turns(N mod T; …),        turns(N;) = 1 for N > 0, else 0

evaluated level by level: no level has more distinct tile sizes than loops are above it, plus one. Two things are cuts
without being loops. A tensor that sees the rank at a grain of g points has a value per tile of g, so the cut (g) counts
its values, and for g = 1 the tiles add up to N exactly. And where all positions of a spatial loop are served by one
access, the steps of the first position count, which has the largest tile: its cut goes from N to min(N, T).

Executed step by step by the tests, on random ragged nests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from einsum_cascades.loops.arith import Number, chosen, least, perhaps, steps


@dataclass(frozen=True)
class Cut:
    """One loop over a rank.

    Attributes:
        tile: points of a full tile.
        shared: whether its positions count once together: those of a spatial loop that one access serves.
    """

    tile: Number
    shared: bool = False


def turns(size: Number, cuts: Sequence[Cut]) -> Number:
    """Return how often the innermost of nested cuts of a range turns, in all iterations of the others together."""
    pieces: list[tuple[Number, Number]] = [(size, 1)]
    for cut in cuts:
        if cut.shared:
            pieces = [(least(piece, cut.tile), times) for piece, times in pieces]
            continue
        whole: Number = 0
        if isinstance(cut.tile, int) and cut.tile == 1:
            for piece, times in pieces:
                whole = whole + (piece if isinstance(times, int) and times == 1 else times * piece)
            pieces = [(1, whole)]
            continue
        rests: list[tuple[Number, Number]] = []
        for piece, times in pieces:
            fit = piece // cut.tile
            whole = whole + (fit if isinstance(times, int) and times == 1 else times * fit)
            rest = piece - fit * cut.tile
            if perhaps(rest != 0):
                rests.append((rest, times))
        pieces = [(cut.tile, whole), *rests] if perhaps(whole != 0) else rests
    total: Number = 0
    for piece, times in pieces:
        total = total + (times if isinstance(piece, int) and piece else times * (piece > 0))
    return total


def first(size: Number, tiles: Sequence[Number]) -> Number:
    """Return the points of the first tile, which is the largest, of nested cuts."""
    for tile in tiles:
        size = tile if isinstance(tile, int) and tile == 1 else least(size, tile)
    return size


def fewest(size: Number, cuts: Sequence[Cut]) -> Number:
    """Return the fewest turns that the innermost of nested cuts of a range has in an iteration of the others."""
    *outer, own = cuts
    pieces = [size]
    for cut in outer:
        whole = [least(piece, cut.tile) for piece in pieces]
        rests = [] if cut.shared else [(piece % cut.tile, full) for piece, full in zip(pieces, whole, strict=True)]
        pieces = [*whole, *(chosen(rest > 0, rest, full) for rest, full in rests)]
    found = steps(pieces[0], own.tile)
    for piece in pieces[1:]:
        found = least(found, steps(piece, own.tile))
    return found
