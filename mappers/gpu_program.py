"""A cascade as a fused GPU kernel runs it on one tile of queries: passes over the keys that keep no fiber of scores.

Each pass of ``cpu_program.py`` has pieces that every tile of keys goes through, and pieces without a key rank, which
follow the pass. A GPU has no room for a fiber of scores per query: where a pass reads a value per query and key that
an earlier one made, it makes it again, and all that this takes, tile by tile. Of exponentials that it would multiply,

    exp(x - y) · exp(y - z) = exp(x - z),

it takes one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import permutations

from einsum_cascades.ir import Access, Apply, Cascade, Einsum
from mappers.cpu_program import LoopPiece, Piece, ProductPiece, Program, program_of


@dataclass(frozen=True)
class GpuPass:
    """One pass over the keys.

    Attributes:
        trip: what each tile of keys goes through, in order, work of earlier passes that is done again included.
        after: what follows, once per query.
    """

    trip: tuple[Piece, ...]
    after: tuple[Piece, ...]


@dataclass(frozen=True)
class GpuProgram:
    """What runs for each tile of queries.

    Attributes:
        program: the roles of ranks, and the pieces.
        passes: in order.
    """

    program: Program
    passes: tuple[GpuPass, ...]

    @property
    def has_scores(self) -> bool:
        """Whether a product has a value per query and key, which a mask can drop."""
        pieces = (piece for one in self.passes for piece in one.trip)
        return any(isinstance(p, ProductPiece) and self.program.in_tile(p.einsum.output) for p in pieces)

    @property
    def splittable(self) -> bool:
        """Whether tiles of keys can be split among blocks whose results are then combined: one pass suffices."""
        return self.program.number_of_passes == 1


@lru_cache(maxsize=256)
def gpu_program_of(cascade: Cascade) -> GpuProgram:
    """Return how a fused kernel runs a cascade.

    Raises:
        InputError: the cascade reduces no rank, or has none to tile beside it.
    """
    program = program_of(cascade)
    family = program.family
    everything = program.pieces
    maker = {e.name: (index, e) for index, piece in enumerate(everything) for e in piece.parts}
    passes: list[GpuPass] = []
    start = 0
    for pieces in program.passes:
        own = range(start, start + len(pieces))
        start += len(pieces)
        trip = {n: everything[n] for n in own if _touches(everything[n], family)}
        if passes:
            trip = {n: _merged(piece, maker, own) for n, piece in trip.items()}
        after = tuple(everything[n] for n in own if n not in trip)
        passes.append(GpuPass(tuple(_with_makers(trip, everything, maker, family)), after))
    return GpuProgram(program, tuple(passes))


def _touches(piece: Piece, family: frozenset[str]) -> bool:
    return any(family & set(einsum.ranks) for einsum in piece.parts)


def _merged(piece: Piece, maker: dict[str, tuple[int, Einsum]], own: range) -> Piece:
    """A loop that multiplies exponentials of an earlier pass as one that takes a single exponential."""
    if isinstance(piece, ProductPiece):
        return piece
    leader, *others = piece.einsums
    expression = leader.expression
    if not (isinstance(expression, Apply) and expression.operator == "mul"):
        return piece
    made = [maker.get(operand.tensor) for operand in expression.operands if isinstance(operand, Access)]
    differences = [_exponent(found[1]) for found in made if found is not None and found[0] not in own]
    for (x, y), (other, z) in permutations([pair for pair in differences if pair is not None], 2):
        if y == other:
            return LoopPiece((replace(leader, expression=Apply("exp", (Apply("sub", (x, z)),))), *others))
    return piece


def _exponent(einsum: Einsum) -> tuple[Access, Access] | None:
    """x and y, if an Einsum is exp(x - y)."""
    match einsum.expression:
        case Apply("exp", (Apply("sub", (Access() as x, Access() as y)),)) if not einsum.reductions:
            return x, y
    return None


def _with_makers(
    trip: dict[int, Piece], pieces: tuple[Piece, ...], maker: dict[str, tuple[int, Einsum]], family: frozenset[str]
) -> list[Piece]:
    """The pieces of a trip and, in order, those parts of earlier ones that make what it reads per key."""
    again: dict[int, list[Einsum]] = {}
    waiting = [e for piece in trip.values() for e in piece.parts]
    while waiting:
        for access in waiting.pop().inputs:
            index, einsum = maker.get(access.tensor, (None, None))
            if index is None or einsum is None or index in trip or not family & set(access.ranks):
                continue
            if einsum not in again.setdefault(index, []):
                again[index].append(einsum)
                waiting.append(einsum)
    made = {index: _part(pieces[index], einsums) for index, einsums in again.items()}
    return [piece for _, piece in sorted({**trip, **made}.items())]


def _part(piece: Piece, einsums: list[Einsum]) -> Piece:
    if isinstance(piece, ProductPiece):
        return piece
    return LoopPiece(tuple(e for e in piece.parts if e in einsums))
