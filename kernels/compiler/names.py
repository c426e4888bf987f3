"""The identifiers of generated code: a prefix of ours before a name that the grammar allows.

Prefixes: ``t_`` the array of a tensor, ``v_`` its value at a point, ``n_`` the size of a rank, ``i_`` the
place in a loop over it, ``lo_`` and ``c_`` the start and the length of the rows or block in hand. None of them
begins a keyword or a builtin, and no other text of the user gets into generated code.
"""

from __future__ import annotations

import re

from einsum_cascades.errors import InputError
from einsum_cascades.ir import Cascade

_TENSOR = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_RANK = re.compile(r"[A-Z][A-Z0-9_]*", re.ASCII)


def check_names(cascade: Cascade) -> None:
    """Refuse a cascade, made by hand, whose tensors or ranks have names that the notation does not allow.

    Raises:
        InputError: one has.
    """
    ranks = {r for d in cascade.declarations for r in d.ranks} | {r for e in cascade.einsums for r in e.ranks}
    ranks |= {r for p in cascade.partitions for r in (p.rank, *p.parts)} | set(cascade.iterative_ranks)
    for names, pattern, rule in (
        (cascade.ranks_of, _TENSOR, "a tensor's name has letters, digits and '_'"),
        (sorted(ranks), _RANK, "a rank's name has upper-case letters, digits and '_'"),
    ):
        for name in names:
            if not pattern.fullmatch(name):
                raise InputError(f"the name {name!r} cannot be compiled", hint=rule)


def array(tensor: str) -> str:
    """The array of a tensor."""
    return f"t_{tensor}"


def value(tensor: str) -> str:
    """The value of a tensor at a point."""
    return f"v_{tensor}"


def size(rank: str) -> str:
    """The size of a rank."""
    return f"n_{rank.lower()}"


def place(rank: str) -> str:
    """The variable of a loop over a rank."""
    return f"i_{rank.lower()}"


def start(rank: str) -> str:
    """The first value of the rows or block in hand."""
    return f"lo_{rank.lower()}"


def length(rank: str) -> str:
    """How many values the rows or block in hand have."""
    return f"c_{rank.lower()}"
