"""What a parser has read of an Einsum: its parts with their places, and what names without brackets stand for.

Outside brackets a declared tensor is a scalar access, ``m`` the index along rank ``M``, and ``M`` that rank's size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from einsum_cascades.errors import Location
from einsum_cascades.ir import Access, Apply, Einsum, Expression, Extent, Index

Span = tuple[int, int]
Place = Callable[[int, int], Location]
"""Gives the location of some characters of a text, from an offset and a width."""


@dataclass(frozen=True)
class Written:
    """An access as it stands in a text.

    Attributes:
        access: what is read or written.
        span: offset and width of the tensor's name.
        subscripts: offset and width of each subscript.
    """

    access: Access
    span: Span
    subscripts: tuple[Span, ...] = ()


@dataclass(frozen=True)
class ParsedEinsum:
    """An Einsum and where its parts stand in its text.

    Attributes:
        einsum: the Einsum, with its unwritten sums stated.
        output: the access on the left.
        inputs: the accesses on the right, in the order written.
        place: gives the location of a span of the text.
    """

    einsum: Einsum
    output: Written
    inputs: tuple[Written, ...]
    place: Place


@dataclass(frozen=True)
class Scope:
    """What names may stand for outside brackets.

    Attributes:
        tensors: declared tensors; these names are accesses.
        ranks: the ranks whose variables and sizes may be values.
    """

    tensors: frozenset[str]
    ranks: frozenset[str]


@dataclass(frozen=True)
class Bare(Access):
    """A name without brackets, before it is known what it stands for."""


class SpanError(Exception):
    """A mistake at a span of the text, before its location is known."""

    def __init__(self, message: str, span: Span, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.span, self.hint = message, span, hint


@dataclass(frozen=True)
class Part:
    """A piece of an expression and the accesses in it."""

    expression: Expression
    written: tuple[Written, ...] = ()


def resolved(output: Written, part: Part, scope: Scope | None) -> tuple[Written, Part]:
    """Decide what each name without brackets stands for."""
    walked = {r for w in (output, *part.written) for r in w.access.ranks}
    scope = scope or Scope(frozenset(), frozenset(walked))

    def meant(name: str) -> Access | Index | Extent:
        if name not in scope.tensors:
            if name in scope.ranks:
                return Extent(name)
            if name.islower() and name.upper() in scope.ranks:
                return Index(name.upper())
        return Access(name)

    def replaced(expression: Expression) -> Expression:
        if isinstance(expression, Apply):
            return Apply(expression.operator, tuple(map(replaced, expression.operands)))
        return meant(expression.tensor) if isinstance(expression, Bare) else expression

    written: list[Written] = []
    for read in part.written:
        found = meant(read.access.tensor) if isinstance(read.access, Bare) else read.access
        if isinstance(found, Index) and found.rank not in walked:
            known = ", ".join(sorted(r.lower() for r in walked)) or "none"
            message = f"'{read.access.tensor}' is an index here, but no subscript walks over it"
            raise SpanError(message, read.span, f"variables of this Einsum: {known}")
        if isinstance(found, Access):
            written.append(replace(read, access=found))
    if isinstance(output.access, Bare):
        output = replace(output, access=Access(output.access.tensor))
    return output, Part(replaced(part.expression), tuple(written))
