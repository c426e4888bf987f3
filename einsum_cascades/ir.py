"""The intermediate representation: what a cascade is made of (``nodes.py``), and the cascade that prints itself."""

from __future__ import annotations

from dataclasses import dataclass

from einsum_cascades.errors import check_type
from einsum_cascades.latex import to_latex
from einsum_cascades.nodes import (
    Access,
    Apply,
    CascadeParts,
    Const,
    Declaration,
    Einsum,
    Expression,
    Extent,
    Index,
    Leaf,
    Number,
    Partition,
    Reduction,
    Size,
    Stop,
    Subscript,
    Var,
    accesses,
    factors,
    leaves,
)
from einsum_cascades.printer import to_text

__all__ = [
    "Access",
    "Apply",
    "Cascade",
    "CascadeParts",
    "Const",
    "Declaration",
    "Einsum",
    "Expression",
    "Extent",
    "Index",
    "Leaf",
    "Number",
    "Partition",
    "Reduction",
    "Size",
    "Stop",
    "Subscript",
    "Var",
    "accesses",
    "check_cascade",
    "factors",
    "leaves",
]


@dataclass(frozen=True)
class Cascade(CascadeParts):
    """A cascade of extended Einsums: ``str`` gives the notation that it parses from, a notebook its mathematics."""

    def __hash__(self) -> int:
        return self._hash

    def __str__(self) -> str:
        return to_text(self)

    def __repr__(self) -> str:
        return (
            f"<Cascade {self.name}: {len(self.einsums)} Einsums, {', '.join(self.inputs)} to {', '.join(self.outputs)}>"
        )

    def _repr_latex_(self) -> str:
        return f"$${to_latex(self)}$$"


def check_cascade(value: object) -> None:
    """Check that what a program gives is a cascade.

    Raises:
        InputError: it is not; a name, a path or a text is none.
    """
    check_type("the cascade", value, Cascade, "a Cascade is expected, as load_cascade and parse_cascade return")
