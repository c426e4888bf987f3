"""Who writes and who reads each tensor: dependencies between the Einsums of a cascade.

A read depends on every Einsum that may have written the value read. The two accesses are compared subscript
by subscript: ``RM[m1]`` of a tensor written at ``RM[m1+1]`` is the value of one iteration earlier (distance
1, *carried*) and, in the first iteration, the one written by ``RM[0]``; ``RM[M1]`` is the value after the
last iteration.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from einsum_cascades.components import components
from einsum_cascades.errors import InputError
from einsum_cascades.ir import Access, Cascade, Const, Einsum, Size, Var

if TYPE_CHECKING:
    import networkx as nx


@dataclass(frozen=True, slots=True)
class Dependency:
    """One Einsum reads what another one wrote.

    Attributes:
        producer: index into ``cascade.einsums``.
        consumer: index into ``cascade.einsums``.
        write: the access through which the producer writes.
        read: the access through which the consumer reads.
        distances: per iterative rank that both walk, how many iterations earlier the value was written.
    """

    producer: int
    consumer: int
    write: Access
    read: Access
    distances: tuple[tuple[str, int], ...] = ()

    @property
    def carried(self) -> bool:
        """Whether the value comes from an earlier iteration of an iterative rank."""
        return any(distance > 0 for _, distance in self.distances)


def producers(cascade: Cascade) -> dict[str, tuple[Einsum, ...]]:
    """Return the Einsums that write each tensor, in the order of a run; inputs have none."""
    table: dict[str, list[Einsum]] = {tensor: [] for tensor in cascade.ranks_of}
    for einsum in cascade.einsums:
        table.setdefault(einsum.name, []).append(einsum)
    return {tensor: tuple(einsums) for tensor, einsums in table.items()}


def consumers(cascade: Cascade) -> dict[str, tuple[Einsum, ...]]:
    """Return the Einsums that read each tensor, in the order of a run; results have none."""
    table: dict[str, list[Einsum]] = {tensor: [] for tensor in cascade.ranks_of}
    for einsum in cascade.einsums:
        for tensor in dict.fromkeys(access.tensor for access in einsum.inputs):
            table.setdefault(tensor, []).append(einsum)
    return {tensor: tuple(einsums) for tensor, einsums in table.items()}


def _distances(write: Access, read: Access, iterative: tuple[str, ...]) -> tuple[tuple[str, int], ...] | None:
    """Iterations between a write and a read of the same tensor; None where they never meet."""
    found = []
    for w, r in zip(write.subscripts, read.subscripts, strict=False):
        if isinstance(w, Const) and (isinstance(r, Size) or (isinstance(r, Const) and r != w)):
            return None
        if isinstance(w, Const) and isinstance(r, Var) and r.shift > w.value:
            return None
        if isinstance(w, Var) and isinstance(r, Const) and r.value < w.shift:
            return None
        if isinstance(w, Var) and isinstance(r, Var) and r.rank == w.rank and w.rank in iterative:
            found.append((w.rank, w.shift - r.shift))
    return tuple(found)


def dependencies(cascade: Cascade) -> tuple[Dependency, ...]:
    """Return every dependency between two Einsums, by consumer in the order of a run.

    Reading a tiled view of a computed tensor depends on that tensor.
    """
    writers: dict[str, list[tuple[int, Access]]] = {}
    for index, einsum in enumerate(cascade.einsums):
        writers.setdefault(einsum.name, []).append((index, einsum.output))
    iterative = cascade.iterative_ranks
    found = []
    views = dict(cascade.views)
    for consumer, einsum in enumerate(cascade.einsums):
        for read in einsum.inputs:
            source = views.get(read.tensor, read.tensor)
            for producer, write in writers.get(source, ()):
                distances = _distances(write, read, iterative) if source == read.tensor else ()
                if distances is not None:
                    found.append(Dependency(producer, consumer, write, read, distances))
    return tuple(found)


def node_names(cascade: Cascade) -> tuple[str, ...]:
    """Return a distinct name per Einsum of ``cascade.einsums``: its tensor's, such as RM, or RM@init."""
    sections = ["init"] * len(cascade.init) + [""] * len(cascade.body) + ["final"] * len(cascade.final)
    names: list[str] = []
    counts: dict[str, int] = {}
    bodies = {einsum.name for einsum in cascade.body}
    for einsum, section in zip(cascade.einsums, sections, strict=True):
        name = f"{einsum.name}@{section}" if section and einsum.name in bodies else einsum.name
        counts[name] = counts.get(name, 0) + 1
        names.append(name if counts[name] == 1 else f"{name}#{counts[name]}")
    return tuple(names)


@dataclass(frozen=True, slots=True)
class Loop:
    """A recurrence: its steps run once per value of an iterative rank, in order."""

    rank: str
    steps: tuple[int | Loop, ...]


Plan = tuple[int | Loop, ...]
"""Indices into ``cascade.einsums``, and loops, in an order that respects every dependency."""


def execution_plan(cascade: Cascade) -> Plan:
    """Return an order in which a cascade can run.

    Einsums that need their own earlier results (a strongly connected component of the dependencies) form a
    loop over an iterative rank; all others stand alone, to be run for their whole iteration space at once.

    Raises:
        InputError: Einsums need each other in a circle that no iterative rank resolves.
    """
    return _steps(cascade, range(len(cascade.einsums)), dependencies(cascade), ())


def _steps(cascade: Cascade, members: Sequence[int], edges: tuple[Dependency, ...], looped: tuple[str, ...]) -> Plan:
    needs: dict[int, list[int]] = {member: [] for member in sorted(members)}
    for edge in edges:
        needs[edge.consumer].append(edge.producer)
    steps: list[int | Loop] = []
    for group in components(needs):
        inside = tuple(d for d in edges if d.producer in group and d.consumer in group)
        steps.append(_loop(cascade, group, inside, looped) if inside else group[0])
    return tuple(steps)


def _loop(cascade: Cascade, group: list[int], edges: tuple[Dependency, ...], looped: tuple[str, ...]) -> Loop:
    """The loop over the outermost iterative rank that orders the recurrence."""
    for rank in cascade.iterative_ranks:
        distance = {d: dict(d.distances).get(rank) for d in edges}
        orders = all(n is not None and n >= 0 for n in distance.values()) and any(distance.values())
        if rank in looped or not orders:
            continue
        kept = tuple(d for d in edges if not distance[d])
        return Loop(rank, _steps(cascade, group, kept, (*looped, rank)))
    names = [node_names(cascade)[index] for index in group]
    shown = " -> ".join([*names[:6], *(["..."] if len(names) > 6 else []), names[0]])
    raise InputError(
        f"a circle of dependencies that no iterative rank resolves: {shown}",
        location=cascade.einsums[group[0]].location,
        hint="an Einsum may read only values written before it; a rank that carries values from one "
        "iteration to the next needs a stop condition",
    )


def _external(cascade: Cascade) -> tuple[str, ...]:
    """Input tensors that no Einsum computes, not even as the plain tensor of a view."""
    written = {einsum.name for einsum in cascade.einsums}
    views = dict(cascade.views)
    return tuple(tensor for tensor in cascade.inputs if views.get(tensor) not in written)


def _edges(cascade: Cascade, names: tuple[str, ...]) -> Iterator[tuple[str, str, str, bool]]:
    """Edges (source node, consumer node, tensor, carried) without repeats, those from inputs first."""
    inputs = set(_external(cascade))
    seen: dict[tuple[str, str, str, bool], None] = {}
    for index, einsum in enumerate(cascade.einsums):
        for access in einsum.inputs:
            if access.tensor in inputs:
                seen[access.tensor, names[index], access.tensor, False] = None
    for d in dependencies(cascade):
        seen[names[d.producer], names[d.consumer], d.read.tensor, d.carried] = None
    yield from seen


def dependency_graph(cascade: Cascade) -> nx.MultiDiGraph[str]:
    """Return the dependency graph.

    Nodes are the input tensors (attribute ``kind="tensor"``) and the Einsums, named as `node_names` says
    (``kind="einsum"``, ``einsum=`` the `Einsum`). Edges lead from what is read to who reads it, with
    attributes ``tensor`` and ``carried`` (a value of an earlier iteration).
    """
    import networkx as nx

    names = node_names(cascade)
    graph: nx.MultiDiGraph[str] = nx.MultiDiGraph(name=cascade.name)
    for tensor in _external(cascade):
        graph.add_node(tensor, kind="tensor")
    for name, einsum in zip(names, cascade.einsums, strict=True):
        graph.add_node(name, kind="einsum", einsum=einsum)
    for source, target, tensor, carried in _edges(cascade, names):
        graph.add_edge(source, target, tensor=tensor, carried=carried)
    return graph


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def to_dot(cascade: Cascade) -> str:
    """Return the dependency graph as DOT: inputs as ellipses, Einsums as boxes, carried edges dashed."""
    names = node_names(cascade)
    lines = [f"digraph {_quoted(cascade.name)} {{", "  rankdir=LR;"]
    lines += [f"  {_quoted(tensor)} [shape=ellipse];" for tensor in _external(cascade)]
    lines += [f"  {_quoted(name)} [shape=box];" for name in names]
    for source, target, tensor, carried in _edges(cascade, names):
        style = ", style=dashed" if carried else ""
        lines.append(f"  {_quoted(source)} -> {_quoted(target)} [label={_quoted(tensor)}{style}];")
    return "\n".join([*lines, "}", ""])
