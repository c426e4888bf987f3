"""The text of one nest: the loops of Einsums that meet at every point, ordered so that the innermost one is fast.

The innermost loop runs over a rank along which the arrays touched lie contiguous, or do not move. A running
fold whose result does not move in the inner loops is held in a variable, a maximum in four of them. Where the
innermost loop runs along the result of a summed product, four terms are added in one go, so that the result is
loaded and stored once for four. Sums may be reordered by the compiler (``add_product``, ``add``), other
operations may not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from einsum_cascades.ir import Access, Apply, Einsum, Var
from kernels.compiler import names
from kernels.compiler.texts import FOLDS, Scope, Texts, identity, index

_UNROLL = 4


# ---------------------------------------------------------------- the order of the loops


def _last_rank(scope: Scope, access: Access) -> str | None:
    """The rank along which neighbouring values of an access lie side by side."""
    if access.tensor not in scope.storage:
        last = access.subscripts[-1]
    else:
        storage = scope.storage[access.tensor]
        if not storage.axes:
            return None
        last = access.subscripts[storage.axes[-1].position]
    return last.rank if isinstance(last, Var) else None


def _in_storage(scope: Scope, access: Access) -> list[str]:
    """The ranks that a nest loops over to visit what an access writes, in the order of its array's axes."""
    axes = [axis.position for axis in scope.storage[access.tensor].axes]
    ranks = [s.rank for i in axes if isinstance(s := access.subscripts[i], Var)]
    return [rank for rank in dict.fromkeys([*ranks, *access.ranks]) if rank not in scope.values]


def _moves(scope: Scope, access: Access) -> set[str]:
    """The ranks along which an access moves in memory."""
    storage = scope.storage.get(access.tensor)
    kept = range(len(access.subscripts)) if storage is None else [axis.position for axis in storage.axes]
    return {s.rank for i in kept if isinstance(s := access.subscripts[i], Var)}


def loop_order(scope: Scope, einsums: Sequence[Einsum]) -> tuple[str, ...]:
    """Return the loops of a nest, outermost first."""
    ranks = tuple(dict.fromkeys(r for e in einsums for r in scope.loops(e)))
    touched = {a for e in einsums for a in (e.output, *e.inputs) if a.tensor not in _variables(scope)}
    output = einsums[-1].output.ranks

    def cost(rank: str) -> tuple[int, int, bool, bool]:
        strided = sum(rank in _moves(scope, a) and _last_rank(scope, a) != rank for a in touched)
        side_by_side = sum(_last_rank(scope, a) == rank for a in touched)
        return strided, -side_by_side, rank == scope.rows, rank in output

    if not ranks:
        return ()
    inner = min(ranks, key=cost)
    outer = sorted((r for r in ranks if r != inner), key=lambda r: (r != scope.rows, r not in output))
    return (*outer, inner)


def _variables(scope: Scope) -> set[str]:
    return {tensor for tensor, storage in scope.storage.items() if storage.scalar}


# ---------------------------------------------------------------- the loops


def fill_lines(scope: Scope, einsum: Einsum) -> Iterator[str]:
    """Yield the lines that set a result to the identity of its reduction."""
    depth = 0
    for rank in _in_storage(scope, einsum.output):
        yield f"{'    ' * depth}for {names.place(rank)} in range({scope.extent(rank)}):"
        depth += 1
    yield f"{'    ' * depth}{index(scope, einsum.output)} = {identity(einsum)}"


def nest_lines(scope: Scope, einsums: Sequence[Einsum]) -> Iterator[str]:
    """Yield the lines of a nest."""
    order = loop_order(scope, einsums)
    for einsum in einsums:
        if einsum.reductions and scope.fresh(einsum) and not _held_whole(order, einsum):
            yield from fill_lines(scope, einsum)
    yield from _Nest(scope, tuple(einsums), order).lines()


def _depth(order: tuple[str, ...], einsum: Einsum) -> int:
    """How many loops, from the outermost on, cover the ranks of an Einsum's result."""
    return max((order.index(rank) + 1 for rank in einsum.output.ranks if rank in order), default=0)


def _held_whole(order: tuple[str, ...], einsum: Einsum) -> bool:
    """Whether a variable can hold a fold from its first value to its last."""
    return all(rank not in order[: _depth(order, einsum)] for rank in einsum.reduced_ranks)


class _Nest:
    """Writes the loops of a nest."""

    def __init__(self, scope: Scope, einsums: tuple[Einsum, ...], order: tuple[str, ...]) -> None:
        self.scope, self.einsums, self.order = scope, einsums, order
        read = {a for e in einsums for a in e.inputs}
        self.variables = {e.output: names.value(e.name) for e in einsums if not e.reductions and e.output in read}
        written = {e.name for e in einsums}
        self.still = [a for e in einsums for a in e.inputs if a.tensor not in written and self.stays(a)]
        self.depth = {e: _depth(order, e) for e in einsums}
        self.held = {e for e in einsums if e.reductions and self.depth[e] < len(order)}
        self.in_lanes = self.folds_in_lanes()
        self.unrolled = self.unrolls()

    def folds_in_lanes(self) -> bool:
        """Whether a maximum or minimum is folded in four variables, so that no value waits for the one before.

        Sums need no such help: the compiler may reorder them.
        """
        if len(self.einsums) > 1 or not self.held:
            return False
        (einsum,) = self.einsums
        return einsum.reductions[0].operator in ("max", "min") and self.depth[einsum] == len(self.order) - 1

    def lanes(self, einsum: Einsum, ahead: int = _UNROLL) -> list[str]:
        """The variables that a held fold takes."""
        name = names.value(einsum.name)
        return [name, *(f"{name}_{step}" for step in range(1, ahead if self.in_lanes else 1))]

    def unrolls(self) -> str | None:
        """The loop of which four values are taken at once."""
        if len(self.einsums) > 1 or len(self.order) < 2:
            return None
        (einsum,) = self.einsums
        if self.in_lanes:
            return self.order[-1]
        product = isinstance(einsum.expression, Apply) and einsum.expression.operator == "mul"
        summed = product and einsum.reductions[:1] and einsum.reductions[0].operator == "add"
        rank = self.order[-2]
        return rank if summed and rank in einsum.reduced_ranks and einsum not in self.held else None

    def stays(self, access: Access) -> bool:
        """Whether an access does not move in the innermost loop."""
        return bool(self.order) and self.order[-1] not in _moves(self.scope, access)

    def texts(self, step: int = 0) -> Texts:
        """What an expression is written with, some values of the unrolled loop ahead."""
        loaded = {a: f"x{i}_{step}" for i, a in enumerate(dict.fromkeys(self.still))}
        return Texts(self.scope, self.variables | loaded, {self.unrolled or "": step})

    def loads(self, ahead: int) -> Iterator[str]:
        """Yield the loads of what does not move in the innermost loop."""
        for step in range(ahead):
            texts = self.texts(step)
            for access in dict.fromkeys(self.still):
                yield f"{texts.variables[access]} = {index(self.scope, access, texts.steps)}"

    def lines(self, depth: int = 0, ahead: int = 1) -> Iterator[str]:
        """Yield the lines from the loop at a depth on; ``ahead`` values of the unrolled loop at once."""
        pad = "    " * depth
        for einsum in self.held:
            if self.depth[einsum] == depth:
                whole = self.scope.fresh(einsum) and _held_whole(self.order, einsum)
                start = identity(einsum) if whole else index(self.scope, einsum.output)
                first, *others = self.lanes(einsum)
                yield f"{pad}{first} = {start}"
                yield from (f"{pad}{lane} = {identity(einsum)}" for lane in others)
        if depth == len(self.order):
            yield from (pad + line for line in self.point(ahead))
        elif self.order[depth] == self.unrolled:
            if self.in_lanes:
                yield from (pad + line for line in self.loads(_UNROLL))
            yield from self.unrolled_lines(depth)
        else:
            rank = self.order[depth]
            if depth == len(self.order) - 1:
                yield from (pad + line for line in self.loads(ahead))
            yield f"{pad}for {names.place(rank)} in range({self.scope.extent(rank)}):"
            yield from self.lines(depth + 1, ahead)
        for einsum in self.held:
            if self.depth[einsum] == depth:
                first, *others = self.lanes(einsum)
                for lane in others:
                    yield f"{pad}{first} = {FOLDS[einsum.reductions[0].operator].format(first, lane)}"
                yield f"{pad}{index(self.scope, einsum.output)} = {first}"

    def unrolled_lines(self, depth: int) -> Iterator[str]:
        """Yield a loop that takes four values at once, then one for the values left."""
        pad, rank = "    " * depth, self.order[depth]
        extent, at = self.scope.extent(rank), names.place(rank)
        yield f"{pad}for {at} in range(0, {extent} - {_UNROLL - 1}, {_UNROLL}):"
        yield from self.lines(depth + 1, _UNROLL)
        yield f"{pad}for {at} in range({extent} // {_UNROLL} * {_UNROLL}, {extent}):"
        yield from self.lines(depth + 1)

    def point(self, ahead: int) -> Iterator[str]:
        """Yield what is done at one point."""
        texts = self.texts()
        for einsum in self.einsums:
            target = index(self.scope, einsum.output) if not self.scope.storage[einsum.name].scalar else ""
            if einsum in self.held:
                for step, total in enumerate(self.lanes(einsum, ahead)):
                    yield f"{total} = {self.texts(step).fold(total, einsum)}"
            elif einsum.reductions:
                total = target
                for step in range(ahead):
                    total = self.texts(step).fold(total, einsum)
                yield f"{target} = {total}"
            elif einsum.output in self.variables:
                yield f"{names.value(einsum.name)} = {texts.of(einsum.expression)}"
                if target:
                    yield f"{target} = {names.value(einsum.name)}"
            else:
                yield f"{target} = {texts.of(einsum.expression)}"
