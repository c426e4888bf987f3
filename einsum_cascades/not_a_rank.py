"""What to say of a name that is given as a rank of a cascade and is none: it may be a tensor, or a scalar such as W."""

from __future__ import annotations

from collections.abc import Iterable

from einsum_cascades.errors import InputError, unknown
from einsum_cascades.nodes import CascadeParts


def scalar_inputs(cascade: CascadeParts) -> tuple[str, ...]:
    """Return the inputs that are single numbers, such as the width of a window; a rank of the same name wins."""
    ranks = {rank for declared in cascade.declarations for rank in declared.ranks}
    ranks |= {rank for p in cascade.partitions for rank in (p.rank, *p.parts)}
    return tuple(name for name in cascade.inputs if not cascade.ranks_of.get(name) and name not in ranks)


def not_a_rank(cascade: CascadeParts, name: str, known: Iterable[str], *, sized: bool = False) -> InputError:
    """Return the error for a name that is none of some ranks.

    Args:
        name: what was given.
        known: the ranks that may be.
        sized: whether a size was given for it, not just its name.
    """
    ranks = list(dict.fromkeys(known))
    said = "ranks: " + ", ".join(sorted(ranks))
    if name in scalar_inputs(cascade):
        leave = f"leave {name} out: no size or count here depends on it, only what evaluate says of a GPU; "
        return InputError(
            f"'{name}' is a scalar input of {cascade.name}, not a rank", hint=(leave if sized else "") + said
        )
    if name in cascade.ranks_of:
        shape = ", ".join(cascade.ranks_of[name])
        what = f"a tensor [{shape}]" if shape else "a scalar"
        return InputError(f"'{name}' is {what} of {cascade.name}, not a rank", hint=said)
    if (whole := cascade.whole_rank(name)) in ranks and whole != name:
        return InputError(
            f"'{name}' is a part of {whole}, whose tiles follow from the mapping", hint=f"give {whole} instead; {said}"
        )
    return unknown(f"rank of {cascade.name}" if sized else "rank", name, ranks)
