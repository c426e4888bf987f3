"""What a rewrite needs to know of a cascade, and how it puts a new one together.

Seen from one rank family, an Einsum is a *reduction* (it folds ranks of the family away) or not; a value is
*late* if it keeps nothing of the family and needs a reduction over the family to be complete. An Einsum that
walks over the family and needs a late value is what makes another pass.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property, lru_cache

from einsum_cascades.ir import (
    Access,
    Apply,
    Cascade,
    Declaration,
    Einsum,
    Expression,
    Leaf,
    Partition,
    Reduction,
    Size,
    Stop,
    Var,
    accesses,
    leaves,
)
from einsum_cascades.not_a_rank import not_a_rank
from einsum_cascades.order import earlier_ranks
from einsum_cascades.parser import RESERVED
from einsum_cascades.rewrites.signs import Signs
from einsum_cascades.rewrites.symbolic import distinct_accesses, replace_accesses

_HEAVIEST = 200
"""Accesses and operators of a term written out, beyond which it is left alone."""

_LONGEST_NAME = 50


class Structure:
    """A cascade seen from one rank family, or from some ``parts`` of it with the others fixed.

    Raises:
        InputError: the cascade has no such rank.
    """

    def __init__(self, cascade: Cascade, rank: str, parts: tuple[str, ...] = ()) -> None:
        self.cascade = cascade
        self.parts = parts or cascade.family(rank)
        known = {r for d in cascade.declarations for r in d.ranks}
        known |= {p.rank for p in cascade.partitions}
        if rank not in known:
            raise not_a_rank(cascade, rank, known)

    @cached_property
    def recurrent(self) -> frozenset[str]:
        """Tensors that carry a value from one iteration to the next."""
        return frozenset(
            e.name for e in self.cascade.einsums if any(not isinstance(s, Var) or s.shift for s in e.output.subscripts)
        )

    @cached_property
    def writers(self) -> dict[str, Einsum]:
        """The Einsum of each tensor that one Einsum writes, for all of its ranks at once."""
        return {e.name: e for e in self.cascade.einsums if e.name not in self.recurrent}

    def walks(self, leaf: Leaf) -> bool:
        """Whether an access or index changes along some part of the family."""
        return any(rank in self.parts for rank in leaf.ranks)

    def reduces(self, einsum: Einsum) -> bool:
        """Whether an Einsum folds a part of the family away."""
        return any(rank in self.parts for rank in einsum.reduced_ranks)

    def whole_reduction(self, einsum: Einsum) -> str | None:
        """The operator with which an Einsum folds the whole family, and all else that it folds, away."""
        operators = {reduction.operator for reduction in einsum.reductions}
        whole = set(self.parts) <= set(einsum.reduced_ranks) and einsum.name in self.writers
        return operators.pop() if whole and len(operators) == 1 else None

    @cached_property
    def late(self) -> frozenset[str]:
        """Tensors that keep nothing of the family and are complete only after a pass over it."""
        found: set[str] = set()
        for einsum in self.cascade.einsums:
            if einsum.name in self.recurrent:
                if self.walks(einsum.output):
                    found.add(einsum.name)
            elif not self.walks(einsum.output) and (
                self.reduces(einsum) or any(a.tensor in found and not self.walks(a) for a in einsum.inputs)
            ):
                found.add(einsum.name)
        return frozenset(found)

    def is_late(self, access: Access) -> bool:
        """Whether an access reads a late value."""
        return access.tensor in self.late and not self.walks(access)

    def needs(self, leaf: Leaf) -> frozenset[str]:
        """The late tensors that a value that walks over the family is computed with, before any reduction."""
        if not isinstance(leaf, Access) or not self.walks(leaf):
            return frozenset()
        return self._needs.get(leaf.tensor, frozenset())

    @cached_property
    def _needs(self) -> dict[str, frozenset[str]]:
        """Filled in the order of a run, in which each Einsum reads what stands before it."""
        found: dict[str, frozenset[str]] = {}
        for tensor, einsum in self.writers.items():
            reads = (
                {a.tensor} if self.is_late(a) else found.get(a.tensor, frozenset()) if self.walks(a) else ()
                for a in einsum.inputs
            )
            found[tensor] = frozenset().union(*reads)
        return found

    def late_values(self, access: Access) -> frozenset[str]:
        """The late tensors that an access reads or needs."""
        return frozenset({access.tensor}) if self.is_late(access) else self.needs(access)

    def depth(self, tensor: str) -> int:
        """How many late values one after another lead to a late value; 0 for any other tensor."""
        return self._depths.get(tensor, 0)

    @cached_property
    def _depths(self) -> dict[str, int]:
        found = dict.fromkeys(self.late, 1)
        for tensor, einsum in self.writers.items():
            if tensor in found:
                needed = (t for a in einsum.inputs for t in self.late_values(a))
                found[tensor] = 1 + max((found[t] for t in needed), default=0)
        return found

    def written_out(self, late: Iterable[str]) -> frozenset[str]:
        """Return the late values that some late values are computed from, all that are elementwise written out."""
        found: set[str] = set()
        waiting = list(late)
        seen = set(waiting)
        while waiting:
            tensor = waiting.pop()
            if not self.is_elementwise(tensor):
                found.add(tensor)
                continue
            more = {a.tensor for a in self.writers[tensor].inputs if self.is_late(a)} - seen
            waiting += more
            seen |= more
        return frozenset(found)

    def is_elementwise(self, tensor: str) -> bool:
        """Whether a late value is computed from other values without a fold."""
        return tensor in self.late and tensor in self.writers and not self.writers[tensor].reductions

    def inlined(self, expression: Expression, late: Collection[str]) -> Expression:
        """Return an expression with every value that needs one of some late values written out."""
        table: dict[Access, Expression] = {}
        wanted = frozenset(late)
        for access in distinct_accesses(expression):
            if not self.plain(access) or access.tensor in wanted:
                continue
            elementwise = self.is_elementwise(access.tensor) and not self.walks(access)
            needed = self.written_out([access.tensor]) if elementwise else self.needs(access)
            needed |= self.written_out(needed)
            if needed & wanted and self.light(access):
                writer = self.writers[access.tensor]
                if not writer.reductions:
                    table[access] = self.inlined(writer.expression, late)
        return replace_accesses(expression, table)

    def unlogged(self, expression: Expression) -> Expression:
        """Return an expression with the products and exponentials under logarithms written out."""
        if not isinstance(expression, Apply):
            return expression
        if expression.operator == "log":
            return Apply("log", (self._factored(expression.operands[0]),))
        return Apply(expression.operator, tuple(map(self.unlogged, expression.operands)))

    def _factored(self, expression: Expression) -> Expression:
        if isinstance(expression, Apply) and expression.operator in ("mul", "div"):
            return Apply(expression.operator, tuple(map(self._factored, expression.operands)))
        if isinstance(expression, Access) and self.late_values(expression) and self.light(expression):
            written = self.writers.get(expression.tensor)
            product = written and not written.reductions and isinstance(written.expression, Apply)
            if written and product and written.expression.operator in ("mul", "div", "exp"):
                return self._factored(written.expression)
        return expression

    def light(self, access: Access) -> bool:
        """Whether a value, with all that needs late values written out, stays small."""
        return self._weights.get(access.tensor, 1) <= _HEAVIEST

    @cached_property
    def _weights(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for tensor, einsum in self.writers.items():
            if not einsum.reductions and self.late_values(einsum.output):
                parts = (found.get(a.tensor, 1) for a in accesses(einsum.expression))
                found[tensor] = min(_nodes(einsum.expression) + sum(parts), _HEAVIEST + 1)
        return found

    @staticmethod
    def plain(access: Access) -> bool:
        """Whether every subscript is an unshifted variable."""
        return all(isinstance(s, Var) and not s.shift for s in access.subscripts)


def _nodes(expression: Expression) -> int:
    return 1 + sum(map(_nodes, expression.operands)) if isinstance(expression, Apply) else 1


@lru_cache(maxsize=64)
def signs(cascade: Cascade) -> Signs:
    """Return the signs of a cascade's tensors, exponentials never 0."""
    return Signs(cascade)


def is_iterative(cascade: Cascade) -> bool:
    """Whether a value is carried from one iteration to the next, so that these rules leave a cascade alone."""
    shifted = (s for e in cascade.body for s in e.output.subscripts if isinstance(s, Var) and s.shift)
    return bool(cascade.init) or any(shifted)


# ---------------------------------------------------------------- building


def walked(expression: Expression) -> tuple[str, ...]:
    """Return the ranks along which an expression changes, by its accesses and indices, in the order read."""
    return tuple(dict.fromkeys(r for leaf in leaves(expression) for r in leaf.ranks))


def carried(expression: Expression) -> tuple[str, ...]:
    """Return the ranks that the accesses of an expression walk over; only these can be folded away."""
    return tuple(dict.fromkeys(r for access in accesses(expression) for r in access.ranks))


def make(output: Access, expression: Expression, operator: str = "add") -> Einsum:
    """Return an Einsum that folds all ranks that are absent on its left with one operator."""
    left = output.ranks
    reductions = tuple(Reduction(r, operator) for r in walked(expression) if r not in left)
    return Einsum(output, expression, reductions)


def plain_access(tensor: str, ranks: Iterable[str]) -> Access:
    """Return the access of a tensor at the variables of its ranks."""
    return Access(tensor, tuple(Var(rank) for rank in ranks))


class Names:
    """Tensor and rank names that are still free."""

    def __init__(self, cascade: Cascade) -> None:
        ranks = {r for d in cascade.declarations for r in d.ranks}
        ranks |= {r for p in cascade.partitions for r in (p.rank, *p.parts)}
        views = {name for view in cascade.views for name in view}
        variables = {tensor.upper() for tensor in cascade.ranks_of if tensor.islower()}
        self._taken = set(cascade.ranks_of) | ranks | variables | views | set(RESERVED)

    def fresh(self, name: str) -> str:
        """Return a name, with an underscore and a number where it is taken, and take it."""
        name = name[:_LONGEST_NAME]
        number, found = 1, name
        while found in self._taken:
            number += 1
            found = f"{name}_{number}"
        self._taken.add(found)
        return found


def assemble(
    source: Cascade,
    einsums: Iterable[Einsum],
    ranks_of: Mapping[str, tuple[str, ...]],
    *,
    suffix: str,
    init: Iterable[Einsum] = (),
    stop: Iterable[Stop] = (),
    partitions: Iterable[Partition] = (),
    views: Iterable[tuple[str, str]] = (),
) -> Cascade:
    """Put a cascade together from Einsums in any order.

    What no result of the source needs is left out; Einsums that read a last value of an iteration, directly
    or through others, become ``final`` ones.

    Args:
        source: the cascade that is rewritten; its results and inputs keep their names.
        einsums: body and final Einsums.
        ranks_of: declared ranks of tensors that are new or have changed.
        suffix: what to add to the name.
        init, stop, partitions, views: of the new cascade.
    """
    table = dict(views)
    live = _live([*einsums, *init], source.outputs, table)
    kept = [e for e in einsums if e.name in live]
    first = tuple(e for e in init if e.name in live)
    late = _after_iteration(kept)
    body = _ordered([e for e in kept if e.name not in late])
    final = _ordered([e for e in kept if e.name in late])
    declared = {**source.ranks_of, **ranks_of}
    written = dict.fromkeys(e.name for e in (*body, *final))
    read = dict.fromkeys(a.tensor for e in (*body, *final) for a in e.inputs)
    order = [t for t in dict.fromkeys([*declared, *read]) if t in read and t not in written]
    iterated = {r for e in body for r in _iterated(e)}
    return Cascade(
        name=source.name + suffix,
        declarations=tuple(Declaration(t, declared[t]) for t in (*order, *written)),
        body=tuple(body),
        init=first,
        final=tuple(final),
        stop=tuple(s for s in stop if s.rank in iterated),
        partitions=tuple(p for p in partitions if any(set(p.parts) & set(declared[t]) for t in (*order, *written))),
        views=tuple((t, plain) for t, plain in table.items() if t in read),
        title=source.title,
        citation=source.citation,
    )


def _iterated(einsum: Einsum) -> Iterator[str]:
    return (s.rank for s in einsum.output.subscripts if isinstance(s, Var) and s.shift)


def _live(einsums: list[Einsum], roots: Iterable[str], views: Mapping[str, str]) -> set[str]:
    """Tensors that some results need."""
    reads: dict[str, set[str]] = {}
    for einsum in einsums:
        reads.setdefault(einsum.name, set()).update(a.tensor for a in einsum.inputs)
    live: set[str] = set()
    waiting = list(roots)
    while waiting:
        tensor = waiting.pop()
        if tensor not in live:
            live.add(tensor)
            waiting += [*reads.get(tensor, ()), *([views[tensor]] if tensor in views else [])]
    return live


def _after_iteration(einsums: list[Einsum]) -> set[str]:
    """Tensors that are there only after the last iteration."""
    late = {e.name for e in einsums if any(isinstance(s, Size) for a in e.inputs for s in a.subscripts)}
    while True:
        more = {e.name for e in einsums if any(a.tensor in late for a in e.inputs)} - late
        if not more:
            return late
        late |= more


def _ordered(einsums: list[Einsum]) -> list[Einsum]:
    """The Einsums in an order in which each reads what stands before it, as near to the given one as can be."""
    outputs = {e.name: e.output for e in einsums}
    done: set[str] = set()
    left = list(einsums)
    result: list[Einsum] = []
    while left:
        ready = next((e for e in left if not _waits(e, outputs, done)), left[0])
        left.remove(ready)
        done.add(ready.name)
        result.append(ready)
    return result


def _waits(einsum: Einsum, outputs: Mapping[str, Access], done: set[str]) -> bool:
    return any(
        a.tensor in outputs and a.tensor not in done and not earlier_ranks(a, outputs[a.tensor]) for a in einsum.inputs
    )
