"""Whether two cascades are equal up to names: isomorphism of their graphs.

The graph has a node for every rank, tensor, Einsum, operator, access and subscript. Colors say what a node
is and edges how it is used; names, the order of Einsums, the storage order of ranks and the order of the
operands of commutative, associative operators are left out. Colors are refined by those of the neighbours
(Weisfeiler and Leman, 1968); where that leaves nodes alike, one of them is singled out and paired with each
candidate in turn (McKay, "Practical graph isomorphism", Congressus Numerantium 30, 1981).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import cached_property

from einsum_cascades.ir import (
    Access,
    Apply,
    Cascade,
    Const,
    Einsum,
    Expression,
    Extent,
    Index,
    Number,
    Size,
    check_cascade,
)
from einsum_cascades.operators import OPERATORS

Label = tuple[object, ...]


class _Graph:
    """A colored graph with labelled edges; nodes are numbers."""

    def __init__(self, cascade: Cascade) -> None:
        self.colors: list[Label] = []
        self.edges: list[tuple[int, int, Label]] = []
        self.cascade = cascade
        self.ranks: dict[str, int] = {}
        self.tensors: dict[str, int] = {}
        for declaration in cascade.declarations:
            kind = "input" if declaration.tensor in cascade.inputs else "computed"
            self.tensors[declaration.tensor] = self.node(kind)
            for rank in declaration.ranks:
                self.edge(self.tensors[declaration.tensor], self.rank(rank), "declared")
        for tiled, plain in cascade.views:
            self.edge(self.tensors[tiled], self.tensors.setdefault(plain, self.node("plain")), "view")
        for partition in cascade.partitions:
            for position, part in enumerate(partition.parts):
                self.edge(self.rank(partition.rank), self.rank(part), "part", position)
        for stop in cascade.stop:
            end = self.node("stop", stop.bound.value if isinstance(stop.bound, Const) else None)
            self.edge(end, self.rank(stop.rank), "iterates")
            if isinstance(stop.bound, Size):
                self.edge(end, self.rank(stop.bound.rank), "until")
        for section, einsums in (("init", cascade.init), ("body", cascade.body), ("final", cascade.final)):
            for einsum in einsums:
                self.einsum(section, einsum)

    def node(self, *color: object) -> int:
        self.colors.append(color)
        return len(self.colors) - 1

    def edge(self, source: int, target: int, *label: object) -> None:
        self.edges.append((source, target, label))

    def rank(self, name: str) -> int:
        if name not in self.ranks:
            self.ranks[name] = self.node("rank")
        return self.ranks[name]

    def einsum(self, section: str, einsum: Einsum) -> None:
        node = self.node("einsum", section)
        self.edge(node, self.access(einsum.output), "writes")
        self.edge(node, self.expression(einsum.expression), "computes")
        mixed = len({r.operator for r in einsum.reductions}) > 1
        for position, reduction in enumerate(einsum.reductions):
            order = position if mixed else None
            self.edge(node, self.rank(reduction.rank), "reduces", reduction.operator, order)

    def access(self, access: Access) -> int:
        node = self.node("access")
        self.edge(node, self.tensors[access.tensor], "of")
        declared = self.cascade.ranks_of[access.tensor]
        for rank, subscript in zip(declared, access.subscripts, strict=True):
            if isinstance(subscript, Const):
                self.edge(node, self.rank(rank), "at", subscript.value)
            elif isinstance(subscript, Size):
                place = self.node("size")
                self.edge(node, place, "at")
                self.edge(place, self.rank(rank), "on")
                self.edge(place, self.rank(subscript.rank), "of")
            else:
                self.edge(node, self.rank(rank), "walks", "shifted", subscript.shift)
        return node

    def expression(self, expression: Expression) -> int:
        if isinstance(expression, Access):
            return self.access(expression)
        if isinstance(expression, Number):
            return self.node("number", expression.value)
        if isinstance(expression, Index | Extent):
            node = self.node("index" if isinstance(expression, Index) else "extent")
            self.edge(node, self.rank(expression.rank), "of")
            return node
        node = self.node("apply", expression.operator)
        operator = OPERATORS[expression.operator]
        free = operator.commutative and operator.associative
        operands = _flat(expression) if free else iter(expression.operands)
        for position, operand in enumerate(operands):
            self.edge(node, self.expression(operand), "operand", None if free else position)
        return node

    @cached_property
    def neighbours(self) -> list[list[tuple[int, Label]]]:
        """For each node the nodes around it, and how they are joined."""
        found: list[list[tuple[int, Label]]] = [[] for _ in self.colors]
        for source, target, label in self.edges:
            found[source].append((target, ("out", *label)))
            found[target].append((source, ("in", *label)))
        return found

    def refined(self, colors: list[int] | None = None) -> list[int]:
        """Colors refined by those of the neighbours until they tell no more nodes apart."""
        colors = [hash(color) for color in self.colors] if colors is None else colors
        kinds = len(set(colors))
        while True:
            colors = [
                hash((colors[node], tuple(sorted(hash((colors[other], label)) for other, label in around))))
                for node, around in enumerate(self.neighbours)
            ]
            if len(set(colors)) == kinds:
                return colors
            kinds = len(set(colors))


def _flat(expression: Apply) -> Iterator[Expression]:
    for operand in expression.operands:
        if isinstance(operand, Apply) and operand.operator == expression.operator:
            yield from _flat(operand)
        else:
            yield operand


def is_isomorphic(first: Cascade, second: Cascade) -> bool:
    """Return whether two cascades are equal up to the names of their tensors and ranks.

    Raises:
        InputError: one of them is no cascade.
    """
    check_cascade(first)
    check_cascade(second)
    graphs = _Graph(first), _Graph(second)
    if len(graphs[0].edges) != len(graphs[1].edges):
        return False
    return _matched(*graphs, graphs[0].refined(), graphs[1].refined())


def _matched(first: _Graph, second: _Graph, colors: list[int], others: list[int]) -> bool:
    """Whether the nodes can be paired off by color so that all edges agree."""
    counts = Counter(colors)
    if counts != Counter(others):
        return False
    alike = [color for color, count in counts.items() if count > 1]
    if not alike:
        return _colored_edges(first, colors) == _colored_edges(second, others)
    color = min(alike, key=lambda c: (counts[c], c))
    chosen = first.refined(_singled_out(colors, colors.index(color)))
    return any(
        _matched(first, second, chosen, second.refined(_singled_out(others, node)))
        for node, other in enumerate(others)
        if other == color
    )


def _singled_out(colors: list[int], node: int) -> list[int]:
    return [hash(("chosen", color)) if index == node else color for index, color in enumerate(colors)]


def _colored_edges(graph: _Graph, colors: list[int]) -> Counter[tuple[int, int, Label]]:
    return Counter((colors[source], colors[target], label) for source, target, label in graph.edges)
