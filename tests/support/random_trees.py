"""Random loop trees, most of them legal: a cascade of a few Einsums, sizes, a machine's memories, and a mapping of it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache

from einsum_cascades.ir import Cascade
from einsum_cascades.load import parse_cascade
from einsum_cascades.loops.levels import Level, Levels
from einsum_cascades.loops.space import Space, Step
from einsum_cascades.loops.tree import (
    INSTANCES,
    Compute,
    Hold,
    Last,
    Late,
    Loop,
    LoopTree,
    Node,
    Parallel,
    Pipeline,
    Sequential,
    children,
    nodes,
)

CASCADES = {
    "product": "A: [M, K], B: [K, N], Z: [M, N]; Z[m, n] = A[m, k] * B[k, n]",
    "elementwise": "A: [M, N], B: [M, N], Z: [M, N]; Z[m, n] = A[m, n] * B[m, n]",
    "total": "A: [M, K], Z: []; Z = A[m, k]",
    "three": "A: [M, K], B: [K, L], C: [L, N], Z: [M, N]; Z[m, n] = A[m, k] * B[k, l] * C[l, n]",
    "batched": "A: [H, M, K], B: [H, K], Z: [H, M]; Z[h, m] = A[h, m, k] * B[h, k]",
    "chain": "A: [M, J], B: [J, K], C: [K, N], T: [M, K], Z: [M, N];"
    "T[m, k] = A[m, j] * B[j, k]; Z[m, n] = T[m, k] * C[k, n]",
    "scaled": "A: [M, J], B: [J, K], T: [M, K], Z: [M, K]; T[m, k] = A[m, j] * B[j, k]; Z[m, k] = exp(T[m, k])",
    "norm": "A: [M, K], S: [M], Z: [M, K]; S[m] = A[m, k] * A[m, k]; Z[m, k] = A[m, k] / S[m]",
    "kept": "A: [M, J], B: [J, K], S: [M], T: [M, K]; T[m, k] = A[m, j] * B[j, k]; S[m] = T[m, k]",
    "chain3": "A: [M, J], B: [J, K], C: [K, N], T: [M, K], S: [M, K], Z: [M, N];"
    "T[m, k] = A[m, j] * B[j, k]; S[m, k] = exp(T[m, k]); Z[m, n] = S[m, k] * C[k, n]",
    "softmax": "Q: [E, P], K: [E, M], QK: [M, P], GM: [P], SN: [M, P], SD: [P];"
    "QK[m, p] = Q[e, p] * K[e, m]; GM[p] = QK[m, p] :: reduce(m) max; SN[m, p] = exp(QK[m, p] - GM[p]);"
    "SD[p] = SN[m, p]",
    "fork": "A: [M, J], B: [J, K], T: [M, K], Y: [M], Z: [K];"
    "T[m, k] = A[m, j] * B[j, k]; Y[m] = T[m, k]; Z[k] = T[m, k]",
    "split": "X: [M1, M0, P], LM: [M1, P], S: [M1, M0, P], D: [M1, P], Z: [P];"
    "LM[m1, p] = X[m1, m0, p] :: reduce(m0) max; S[m1, m0, p] = exp(X[m1, m0, p] - LM[m1, p]);"
    "D[m1, p] = S[m1, m0, p]; Z[p] = D[m1, p] * LM[m1, p]",
    "parts": "Q: [E, P], K: [E, M1, M0], BQK: [M1, M0, P], LM: [M1, P];"
    "BQK[m1, m0, p] = Q[e, p] * K[e, m1, m0]; LM[m1, p] = BQK[m1, m0, p] :: reduce(m0) max",
    "running": "X: [M1, M0, P], LM: [M1, P], RM: [M1, P], S: [M1, M0, P], SD: [M1, P], PRM: [M1, P], RD: [M1, P], Z: [P];"
    "LM[m1, p] = X[m1, m0, p] :: reduce(m0) max; RM[m1+1, p] = max(RM[m1, p], LM[m1, p]);"
    "S[m1, m0, p] = exp(X[m1, m0, p] - RM[m1+1, p]); SD[m1, p] = S[m1, m0, p];"
    "PRM[m1, p] = exp(RM[m1, p] - RM[m1+1, p]); RD[m1+1, p] = RD[m1, p] * PRM[m1, p] + SD[m1, p];"
    "Z[p] = RD[M1, p]; RM[0, p] = -inf; RD[0, p] = 0",
    "prefix": "X: [I, P], R: [I, P], Y: [I, P]; R[i+1, p] = R[i, p] + X[i, p]; Y[i, p] = R[i+1, p] * X[i, p]; R[0, p] = 0",
    "largest": "X: [I, P], R: [I, P], Y: [P]; R[i+1, p] = max(R[i, p], X[i, p]); Y[p] = exp(R[I, p]); R[0, p] = -inf",
}
"""Declarations, then Einsums: those with a size as a subscript are the final ones, those with a 0 give first values."""


@cache
def cascade_of(name: str) -> Cascade:
    """Return one of the cascades."""
    declared, *einsums = (part.strip() for part in CASCADES[name].split(";"))
    init = [e for e in einsums if "[0" in e]
    final = [e for e in einsums if "[M1," in e or "[I," in e]
    body = [e for e in einsums if e not in init and e not in final]
    lines = [f"name: {name}", f"declaration: {{{declared}}}"]
    lines += ["partition: {M: [M1, M0]}"] if "M1" in declared else []
    for section, texts in (("init", init), ("expressions", body), ("final", final)):
        lines += [f"{section}:", *(f"  - '{text}'" for text in texts)] if texts else []
    if init:
        lines.append("stop: m1 >= M1" if "M1" in declared else "stop: i >= I")
    return parse_cascade("\n".join(lines))


@dataclass(frozen=True)
class Drawn:
    """A mapping and what it is for."""

    tree: LoopTree
    space: Space
    levels: Levels


@dataclass(frozen=True)
class _Around:
    """What is around a place in a tree that is made.

    Attributes:
        tiles: points of each rank that are left, at most.
        used: positions of each dimension that are taken.
        below: the memory whose dimensions spatial loops around run over, or the home.
        kept: the memory of the innermost hold of each tensor.
        last: by Einsum, the ranks in whose last iteration it is to run.
        timed: whether a loop in time is around.
        joined: by rank, the one that loops around cut it and others as.
        left: how many more nodes may be put around what is inside.
    """

    tiles: dict[str, int]
    used: dict[str, int]
    below: str
    kept: dict[str, str]
    last: dict[str, frozenset[str]]
    left: int
    timed: bool = False
    joined: dict[str, str] = field(default_factory=dict)


def random_tree(seed: int, names: tuple[str, ...] = tuple(CASCADES), most: int = 400) -> Drawn:
    """Return a tree that depends on nothing but the arguments.

    Args:
        names: of the cascades to choose from.
        most: points of an Einsum.
    """
    generator = random.Random(f"tree {seed} {most}")
    cascade = cascade_of(generator.choice(names))
    space = _space(generator, cascade, most)
    levels = _levels(generator)
    maker = _Maker(generator, space, levels)
    split = tuple(space.split.items())
    return Drawn(LoopTree(maker.tree(), split), space, levels)


def _space(generator: random.Random, cascade: Cascade, most: int) -> Space:
    parts = [(p.parts[1], generator.choice((1, 2, 2, 3, 3, 4))) for p in cascade.partitions]
    ranks = {r for e in cascade.einsums for r in e.ranks} | {p.rank for p in cascade.partitions}
    while True:
        given = {rank: generator.choice((1, 2, 3, 3, 4, 5, 5, 6, 7, 7, 8, 9)) for rank in sorted(ranks)}
        given[INSTANCES] = generator.choice((1, 1, 1, 1, 2, 3))
        space = Space.of(cascade, given, parts)
        points = []
        for step in space.steps.values():
            number = space.sizes[INSTANCES]
            for rank in space.grains(step.ranks):
                number *= space.sizes[rank]
            points.append(number)
        if max(points) <= most:
            return space


def _levels(generator: random.Random) -> Levels:
    found = [Level("dram")]
    for name in ("large", "small")[: generator.choice((0, 1, 1, 2))]:
        found.append(_level(generator, name, found[-1].name, generator.choice(((), (), (), ("cores",)))))
    parent, two = found[-1].name, generator.random() < 0.4
    for name in ("array", "vector")[: 1 + two]:
        dimensions = generator.choice((("rows", "columns"), ("rows", "columns"), ("lanes",), ()))
        above = parent if generator.random() < 0.8 else generator.choice(found).name
        if above in ("array", "vector"):
            above = parent
        if generator.random() < 0.25:
            found.append(_level(generator, f"{name}_local", above, generator.choice(((), ("clusters",)))))
            above = found[-1].name
        found.append(replace(_level(generator, name, above, dimensions), computes=True))
    return Levels(tuple(found))


def _level(generator: random.Random, name: str, parent: str, dimensions: tuple[str, ...]) -> Level:
    sized = tuple((d, generator.choice((1, 2, 2, 3, 4))) for d in dimensions)
    double = generator.random() < 0.1
    computes = generator.random() < 0.05
    multicast, reduction = generator.random() < 0.7, generator.random() < 0.7
    return Level(name, parent, sized, multicast, reduction, None, computes, double)


@dataclass
class _Maker:
    generator: random.Random
    space: Space
    levels: Levels
    units: dict[str, str] = field(default_factory=dict)

    def tree(self) -> Node:
        computing = [level.name for level in self.levels.levels if level.computes]
        arrays = [name for name in computing if name in ("array", "vector")]
        favourite = self.generator.choice(computing)
        for name in self.space.steps:
            pool = [favourite, favourite, *arrays] if self.generator.random() < 0.95 else computing
            self.units[name] = self.generator.choice(pool)
        tiles = {rank: int(size) for rank, size in self.space.sizes.items()}
        around = _Around(tiles, {}, self.levels.home, {}, {}, self.generator.randint(2, 9))
        return self.make(list(self.space.steps), around)

    # Facts about Einsums.

    def step(self, name: str) -> Step:
        return self.space.steps[name]

    def ranks(self, name: str) -> dict[str, int]:
        grains = self.space.grains(self.step(name).ranks)
        return {INSTANCES: 1, **{rank: int(self.space.length(grain)) for rank, grain in grains.items()}}

    def grains(self, names: list[str], rank: str) -> set[int]:
        """At how many points per value the tensors of some Einsums see a rank."""
        found = set()
        for name in names:
            step = self.step(name)
            for operand in (*step.inputs, step.output):
                grains = self.space.grains(operand.ranks)
                if rank in grains:
                    found.add(int(self.space.length(grains[rank])))
        return found

    def sums(self, name: str, rank: str, tile: int) -> bool:
        """Whether an Einsum sums over what a loop cuts."""
        step = self.step(name)
        own, out = self.space.grains(step.ranks), self.space.grains(step.output.ranks)
        if rank not in own:
            return False
        return rank not in out or tile < self.space.length(out[rank])

    def waits(self, names: list[str], rank: str, tile: int) -> set[str]:
        """Einsums that need sums over a rank which others of a group make."""
        late: set[str] = set()
        tensors = {self.step(n).output.tensor for n in names if self.sums(n, rank, tile)}
        if rank in self.space.iterative:
            tensors |= {self.step(n).output.tensor for n in names if self.carries(n)}
        for name in names:
            for operand in self.step(name).inputs:
                final = not any(self.space.whole(r) == rank for r in operand.ranks)
                if operand.carried or operand.tensor not in tensors:
                    continue
                if final or rank not in self.space.iterative or not self.carries_tensor(operand.tensor):
                    late.add(name)
                    tensors.add(self.step(name).output.tensor)
        return late

    def carries_tensor(self, tensor: str) -> bool:
        return any(o.carried and o.tensor == tensor for s in self.space.steps.values() for o in s.inputs)

    def carries(self, name: str) -> bool:
        return self.carries_tensor(self.step(name).output.tensor) or any(o.carried for o in self.step(name).inputs)

    # Making.

    def make(self, names: list[str], around: _Around) -> Node:
        common = frozenset.intersection(*(around.last.get(name, frozenset()) for name in names))
        if common and (len(names) == 1 or self.generator.random() < 0.5):
            last = {n: around.last[n] - common for n in names}
            body = self.make(names, replace(around, last={**around.last, **last}))
            for rank in sorted(common):
                body = Last(rank, body)
            return body
        if around.left > 0:
            draw = self.generator.random()
            found = None
            if draw < 0.45:
                found = self.loop(names, around)
            elif draw < 0.85 or len(names) == 1:
                found = self.hold(names, around)
            if found is not None:
                return found
        if len(names) == 1:
            return self.compute(names[0], around)
        return self.several(names, around)

    def compute(self, name: str, around: _Around) -> Node:
        body: Node = Compute(name, self.units[name])
        own = self.ranks(name)
        for rank in self.space.iterative & own.keys():
            if self.carries(name) and around.tiles[rank] > own[rank]:
                body = Loop(rank, own[rank], body)
        return body

    def several(self, names: list[str], around: _Around) -> Node:
        parts = min(len(names), self.generator.choice((2, 2, 2, 3)))
        cuts = [0, *sorted(self.generator.sample(range(1, len(names)), parts - 1)), len(names)]
        groups = [names[a:b] for a, b in zip(cuts, cuts[1:], strict=False)]
        for group in groups[1:]:
            again = [
                n
                for n in names[: names.index(group[0])]
                if any(o.name == self.step(n).output.tensor for m in group for o in self.step(m).inputs)
                and all(o.tensor in self.space.cascade.inputs for o in self.step(n).inputs)
            ]
            if again and self.generator.random() < 0.15:
                group.insert(0, self.generator.choice(again))
        kind = self.generator.choice((Sequential, Sequential, Parallel, Pipeline, Pipeline))
        if kind is Pipeline and not around.timed:
            kind = Sequential
        left = around.left if kind is not Pipeline else around.left - 1
        made = [self.make(group, replace(around, left=max(0, left - self.generator.randint(0, 2)))) for group in groups]
        if kind is Pipeline:
            late, stages = 0, []
            for number, body in enumerate(made):
                late += 0 if number == 0 else self.generator.choice((0, 1, 1, 1, 2))
                stages.append(Late(late, body) if late else body)
            made = stages
        return kind(tuple(made))

    def loop(self, names: list[str], around: _Around) -> Node | None:
        generator = self.generator
        shared = set.intersection(*(set(self.ranks(name)) for name in names))
        every = set().union(*(set(self.ranks(name)) for name in names))
        ranks = sorted(shared if generator.random() < 0.65 else every)
        if generator.random() < 0.15 or (around.joined and generator.random() < 0.6):
            return self.joined_loop(names, around)
        if generator.random() < 0.97:
            ranks = [rank for rank in ranks if rank not in around.joined]
        if not ranks:
            return None
        weights = [0.3 if around.tiles[r] == 1 or r == INSTANCES else 1 for r in ranks]
        rank = generator.choices(ranks, weights)[0]
        left = around.tiles[rank]
        over = None
        if rank in shared and generator.random() < 0.4:
            over = self.dimension(names, around)
        least = 1
        if over is not None:
            positions = int(self.levels.dimensions[over]) // around.used.get(over, 1)
            least = -(-left // positions)
        tile = generator.randint(least, max(least, left)) if generator.random() < 0.85 else left + 1
        tile = self.whole(names, rank, tile, least)
        if rank in self.space.iterative and any(self.carries(n) for n in names):
            if over is not None and generator.random() < 0.9:
                return None
            names_state = self.states(names, around)
            if names_state and generator.random() < 0.9:
                return self.state(names, generator.choice(names_state), around)
        late = self.waits(names, rank, tile) if tile < left else set()
        foreign = [n for n in late if rank in self.ranks(n)]
        if (foreign or (late and over is not None)) and generator.random() < 0.97:
            return None
        if any(self.sums(n, r, 1) for n in names if rank not in self.ranks(n) for r in self.cut(n, around)):
            return None
        last = {**around.last, **{n: around.last.get(n, frozenset()) | {rank} for n in late}}
        used = around.used if over is None else {**around.used, over: around.used.get(over, 1) * -(-left // tile)}
        inside = replace(
            around,
            tiles={**around.tiles, rank: min(left, tile)},
            used=used,
            below=self.lower(over.split(".")[0], around.below) if over else around.below,
            last=last,
            left=around.left - 1,
            timed=around.timed or over is None,
        )
        return Loop(rank, tile, self.make(names, inside), over)

    def joined_loop(self, names: list[str], around: _Around) -> Node | None:
        """A loop over two ranks that all tensors of a group have both or neither of."""
        joined = sorted(set(around.joined.values()))
        if not joined:
            ranks = sorted(set.intersection(*(set(self.ranks(name)) for name in names)))
            pairs = [(a, b) for a in ranks for b in ranks if a != b and self.one(names, a, b, around)]
            if not pairs:
                return None
            joined = ["*".join(self.generator.choice(pairs))]
        rank = joined[0]
        size = 1
        for part in rank.split("*"):
            size *= self.space.sizes[part]
        left, least = around.tiles.get(rank, size), 1
        over = self.dimension(names, around) if self.generator.random() < 0.4 else None
        if over is not None:
            least = -(-left // (int(self.levels.dimensions[over]) // around.used.get(over, 1)))
        tile = self.generator.randint(least, max(least, left))
        inside = replace(
            around,
            tiles={**around.tiles, rank: min(left, tile)},
            used=around.used if over is None else {**around.used, over: around.used.get(over, 1) * -(-left // tile)},
            below=self.lower(over.split(".")[0], around.below) if over else around.below,
            left=around.left - 1,
            timed=around.timed or over is None,
            joined={**around.joined, **dict.fromkeys(rank.split("*"), rank)},
        )
        return Loop(rank, tile, self.make(names, inside), over)

    def one(self, names: list[str], a: str, b: str, around: _Around) -> bool:
        """Whether two ranks are as one to some Einsums."""
        if any(around.tiles[r] < self.space.sizes[r] or r in self.space.iterative for r in (a, b)):
            return False
        if any(self.waits(names, r, 1) for r in (a, b)) or any(self.grains(names, r) - {1} for r in (a, b)):
            return False
        for name in names:
            for operand in (*self.step(name).inputs, self.step(name).output):
                own = {INSTANCES, *(self.space.whole(r) for r in operand.ranks)}
                if (a in own) != (b in own):
                    return False
        return True

    def cut(self, name: str, around: _Around) -> list[str]:
        """Ranks of an Einsum that loops around it cut."""
        if self.generator.random() < 0.05:
            return []
        return [r for r in self.ranks(name) if around.tiles[r] < self.space.sizes[r]]

    def whole(self, names: list[str], rank: str, tile: int, least: int) -> int:
        """A tile that cuts no part asunder, most often."""
        grain = max(self.grains(names, rank) | {1})
        if grain == 1 or self.generator.random() < 0.05:
            return tile
        if min(self.ranks(n).get(rank, grain) for n in names) < grain and self.generator.random() < 0.3:
            return tile
        tile = -(-tile // grain) * grain
        return tile if tile >= least else -(-least // grain) * grain

    def dimension(self, names: list[str], around: _Around) -> str | None:
        found = []
        used = {o.tensor for n in names for o in (*self.step(n).inputs, self.step(n).output)}
        for level in self.levels.levels:
            inside = all(self.levels.inside(self.units[name], level.name) for name in names)
            kept = self.generator.random() < 0.25 or not any(
                self.levels.inside(memory, level.name)
                for tensor, memory in around.kept.items()
                if tensor.removesuffix("'") in used
            )
            path = self.levels.path(level.name)
            if inside and kept and (around.below in path or level.name in self.levels.path(around.below)):
                found += [f"{level.name}.{name}" for name, _ in level.dimensions]
        free = [d for d in found if around.used.get(d, 1) < self.levels.dimensions[d]]
        pool = free if free and self.generator.random() < 0.95 else found
        return self.generator.choice(pool) if pool else None

    def lower(self, a: str, b: str) -> str:
        return a if self.levels.inside(a, b) else b

    def states(self, names: list[str], around: _Around) -> list[str]:
        """Tensors that are carried within a group and that nothing keeps yet."""
        outputs = {self.step(n).output.tensor for n in names}
        return [t for t in sorted(outputs) if self.carries_tensor(t) and t not in around.kept]

    def state(self, names: list[str], tensor: str, around: _Around) -> Node | None:
        return self.keep(names, tensor, around, state=True)

    def hold(self, names: list[str], around: _Around) -> Node | None:
        pool: list[str] = []
        for name in names:
            step = self.step(name)
            for operand in step.inputs:
                made = any(self.step(n).output.tensor == operand.tensor for n in names)
                cut = [around.tiles[r] < self.space.sizes[r] for r in self.space.iterative]
                if operand.carried and not any(cut):
                    continue
                pool += [operand.name] * (6 if operand.carried else 3 if made else 1)
            pool.append(step.output.tensor)
        if not pool:
            return None
        tensor = self.generator.choice(sorted(pool))
        state = (
            self.carries_tensor(tensor)
            and any(self.step(n).output.tensor == tensor for n in names)
            and any(o.name == tensor + "'" for n in names for o in self.step(n).inputs)
            and (all(around.tiles[r] == self.space.sizes[r] for r in self.space.iterative) or tensor in around.kept)
            and self.generator.random() < 0.9
        )
        if self.carries_tensor(tensor) and not state and tensor not in around.kept and self.generator.random() < 0.5:
            return None
        return self.keep(names, tensor, around, state=state)

    def keep(self, names: list[str], tensor: str, around: _Around, *, state: bool) -> Node | None:
        plain = tensor.removesuffix("'")
        users = [n for n in names if any(o.tensor == plain for o in (*self.step(n).inputs, self.step(n).output))]
        path = self.levels.path(self.units[users[0]])
        some = self.generator.random() < 0.07
        memories = [m for m in path if some or all(self.levels.inside(self.units[n], m) for n in users)]
        memories = [m for m in memories if self.levels.inside(m, around.below) and m != self.levels.home]
        outer = around.kept.get(tensor, around.kept.get(plain))
        if outer is not None:
            same = self.generator.random() < 0.05
            memories = [m for m in memories if self.levels.inside(m, outer) and (m != outer or same)]
        if not memories:
            return None
        memory = self.generator.choice(memories)
        inside = replace(around, kept={**around.kept, tensor: memory}, left=around.left - 1)
        double = self.generator.random() < 0.05
        return Hold(tensor, memory, self.make(names, inside), state, double)


def mutated(drawn: Drawn, seed: int) -> Drawn:
    """Return a tree with one thing or two changed, which makes some illegal."""
    generator = random.Random(f"mutation {seed}")
    body = drawn.tree.body
    for _ in range(generator.choice((1, 1, 2))):
        paths = list(_paths(body))
        for _ in range(20):
            path = generator.choice(paths)
            changed = _change(generator, _at(body, path), drawn)
            if changed is not None:
                body = _replaced(body, path, changed)
                break
    return replace(drawn, tree=replace(drawn.tree, body=body))


def _paths(node: Node) -> Iterator[tuple[int, ...]]:
    yield ()
    for place, child in enumerate(children(node)):
        yield from ((place, *path) for path in _paths(child))


def _at(node: Node, path: tuple[int, ...]) -> Node:
    for place in path:
        node = children(node)[place]
    return node


def _with(node: Node, below: tuple[Node, ...]) -> Node:
    if isinstance(node, Sequential | Parallel | Pipeline):
        return replace(node, children=below)
    return replace(node, body=below[0])


def _replaced(node: Node, path: tuple[int, ...], new: Node) -> Node:
    if not path:
        return new
    below = list(children(node))
    below[path[0]] = _replaced(below[path[0]], path[1:], new)
    return _with(node, tuple(below))


def _change(generator: random.Random, node: Node, drawn: Drawn) -> Node | None:
    """A node as it might be too, if it can be changed."""
    choice = generator.random()
    if isinstance(node, Sequential | Parallel | Pipeline):
        below = list(node.children)
        if choice < 0.4:
            generator.shuffle(below)
        elif choice < 0.6:
            return generator.choice((Sequential, Parallel, Pipeline))(node.children)
        elif choice < 0.8 and len(below) > 1:
            below.append(below.pop(generator.randrange(len(below) - 1)))
        else:
            inside = [x for child in below for x in nodes(child) if isinstance(x, Compute)]
            below.insert(generator.randrange(len(below) + 1), generator.choice(inside))
        return replace(node, children=tuple(below))
    if isinstance(node, Compute):
        computing = [level.name for level in drawn.levels.levels if level.computes]
        if choice < 0.5:
            return replace(node, unit=generator.choice(computing))
        name = generator.choice(list(drawn.space.steps))
        return generator.choice((Sequential, Parallel))((node, Compute(name, node.unit)))
    inner = node.body
    if choice < 0.3:
        return inner
    if choice < 0.6 and not isinstance(inner, Compute):
        if isinstance(inner, Sequential | Parallel | Pipeline):
            if generator.random() < 0.5:
                return _with(inner, tuple(replace(node, body=child) for child in inner.children))
            place = generator.randrange(len(inner.children))
            below = tuple(replace(node, body=x) if i == place else x for i, x in enumerate(inner.children))
            return replace(inner, children=below)
        return replace(inner, body=replace(node, body=inner.body))
    if isinstance(node, Loop):
        if choice < 0.8:
            return replace(node, tile=generator.randint(1, 1 + int(drawn.space.extent(node.rank))))
        return replace(node, over=generator.choice((None, *drawn.levels.dimensions)))
    if isinstance(node, Hold):
        if choice < 0.75:
            return replace(node, memory=generator.choice([level.name for level in drawn.levels.levels]))
        if choice < 0.85:
            return replace(node, state=not node.state)
        return replace(node, tensor=generator.choice(list(drawn.space.cascade.ranks_of)))
    if isinstance(node, Late):
        return replace(node, by=generator.randint(1, 3))
    return None
