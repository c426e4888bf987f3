"""From the loops and the storage of a cascade to the text of a Python module that Numba compiles.

The module has one function per region, which works on a few rows, and one that a worker runs for its share of all
rows; they hold no lock of Python's. Both take arrays that the caller has allocated: inputs, results, and the
buffers of the workers. The text is built from the checked tree alone; see `names`.

The terms of a sum may be added in any order (``reassoc``), so that sums are vectorised, and a product may be added in
one rounding (``contract``): it overflows only if the sum does. Everything else is evaluated as written, and infinities
and NaN follow IEEE 754. Zeros keep their signs: without them (``nsz``) the compiler would take common factors out of
sums, and ``0 * 1e308 + 0 * 1e308`` would be NaN.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain

from einsum_cascades.interpreter import check_form
from einsum_cascades.ir import Cascade, Extent, leaves
from einsum_cascades.operators import OPERATORS, Operator
from einsum_cascades.value_types import is_wide
from kernels.compiler import names
from kernels.compiler.names import check_names
from kernels.compiler.nest import fill_lines, nest_lines
from kernels.compiler.normalise import normalise
from kernels.compiler.plan import Fill, Region, Step, Walk, members, regions_of
from kernels.compiler.storage import Storage, storage_of
from kernels.compiler.texts import Scope

_IMPORTS = "import numpy as np\nfrom numba import njit\n\n{exp}\n\n"
_PACKAGE = __name__.removesuffix(".compiler.source")
_EXPONENTIALS = {"float32": f"from {_PACKAGE}.cpu.exponential import exp32 as exp", "float64": "exp = np.exp"}
"""In single precision one that vectorises."""

_PRELUDE = """\
real = np.{dtype}


@njit(fastmath={{"reassoc", "contract"}}, error_model="numpy")
def add_product(total, a, b):
    return total + a * b


@njit(fastmath={{"reassoc"}}, error_model="numpy")
def add(total, a):
    return total + a


@njit(error_model="numpy")
def maximum(a, b):
    return a if a >= b or a != a else b


@njit(error_model="numpy")
def minimum(a, b):
    return a if a <= b or a != a else b


@njit(error_model="numpy")
def sigmoid(x):
    small = exp(-abs(x))
    return (real(1.0) if x >= real(0.0) else small) / (real(1.0) + small)


@njit(error_model="numpy")
def wide_sigmoid(x):
    small = np.exp(-abs(x))
    return (1.0 if x >= 0.0 else small) / (1.0 + small)
"""


@dataclass(frozen=True)
class Program:
    """Everything known about a compiled cascade before its sizes are.

    Attributes:
        cascade: the cascade as given.
        normal: the normalised cascade, of which the loops are made.
        outputs: the tensors returned.
        regions: the loops.
        storage: where each tensor of ``normal`` lives.
        wide: tensors of ``normal`` alone that are float64 whatever the others are: parts of an expression that is.
        ranks: every rank, in the order in which the sizes are passed.
    """

    cascade: Cascade
    normal: Cascade
    outputs: tuple[str, ...]
    regions: tuple[Region, ...]
    storage: dict[str, Storage]
    wide: frozenset[str]
    ranks: tuple[str, ...]

    def arrays(self, region: int) -> list[str]:
        """The tensors of a region that live in arrays, in the order in which these are passed."""
        einsums = [self.normal.einsums[i] for i in members(self.regions[region].steps)]
        touched = {a.tensor for e in einsums for a in (e.output, *e.inputs)}
        views = dict(self.normal.views)
        touched = {tensor if tensor in self.storage else views[tensor] for tensor in touched}
        return [t for t in self.normal.ranks_of if t in touched and not self.storage[t].scalar]

    def own(self, region: int) -> list[str]:
        """Those of its arrays that are buffers, one for each worker."""
        return [tensor for tensor in self.arrays(region) if self.storage[tensor].region == region]

    def folded(self, region: int) -> dict[str, Operator]:
        """The results of which each worker folds a part, and the operator that joins the parts."""
        rows = self.regions[region].rows
        einsums = (self.normal.einsums[i] for i in members(self.regions[region].steps))
        return {e.name: OPERATORS[e.reductions[0].operator] for e in einsums if rows in e.reduced_ranks}


def program_of(cascade: Cascade, outputs: tuple[str, ...]) -> Program:
    """Return the loops and the storage of a cascade.

    Raises:
        InputError: a name is none that the notation allows; an Einsum names what is not declared, or leaves a
            rank neither kept nor reduced; Einsums need each other in a circle.
    """
    check_names(cascade)
    for einsum in cascade.einsums:
        check_form(cascade, einsum)
    normal = normalise(needed_for(cascade, outputs))
    regions = regions_of(normal)
    ranks = {r for d in normal.declarations for r in d.ranks} | {r for e in normal.einsums for r in e.ranks}
    ranks |= {r for p in normal.partitions for r in (p.rank, *p.parts)} | {s.rank for s in normal.stop}
    ranks |= {leaf.rank for e in normal.einsums for leaf in leaves(e.expression) if isinstance(leaf, Extent)}
    storage = storage_of(normal, regions, outputs)
    return Program(cascade, normal, outputs, regions, storage, _wide(cascade, normal), tuple(sorted(ranks)))


def _wide(cascade: Cascade, normal: Cascade) -> frozenset[str]:
    """The tensors that normalising a cascade has added, and that hold parts of wide expressions."""
    found: set[str] = set()
    for einsum in normal.einsums:
        if einsum.name not in cascade.ranks_of and is_wide(einsum.expression, found):
            found.add(einsum.name)
    return frozenset(found)


def needed_for(cascade: Cascade, outputs: tuple[str, ...]) -> Cascade:
    """Return a cascade without the Einsums that its outputs do not depend on."""
    plain_of = dict(cascade.views)
    needed: set[str] = set()
    more = set(outputs)
    while more:
        needed |= more
        read = {a.tensor for e in cascade.einsums if e.name in more for a in e.inputs}
        more = (read | {plain_of[t] for t in read if t in plain_of}) - needed
    sections = (cascade.init, cascade.body, cascade.final)
    init, body, final = (tuple(e for e in section if e.name in needed) for section in sections)
    dropped = {e.name for e in cascade.einsums} - needed
    dropped |= {tiled for tiled, plain in cascade.views if plain in dropped}
    return replace(
        cascade,
        declarations=tuple(d for d in cascade.declarations if d.tensor not in dropped),
        views=tuple(view for view in cascade.views if not dropped & set(view)),
        init=init,
        body=body,
        final=final,
    )


def source_of(program: Program, dtype: str, *, integers: bool = True) -> str:
    """Return the module's text for values of a type, ``float32`` or ``float64``.

    Args:
        program: what is written.
        dtype: the type of the tensors' values.
        integers: whether indices are compared as integers, which needs sizes below `MOST_INTEGER`.
    """
    functions = chain.from_iterable(_region(program, number, integers) for number in range(len(program.regions)))
    return imports(dtype) + "\n\n".join([_PRELUDE.format(dtype=dtype), *functions])


def imports(dtype: str) -> str:
    """Return what a module's text begins with: all that is not defined in it."""
    return _IMPORTS.format(exp=_EXPONENTIALS[dtype])


def _region(program: Program, number: int, integers: bool) -> Iterator[str]:
    """Yield the function that works on some rows, and the one that takes a worker's share of them."""
    region, arrays = program.regions[number], program.arrays(number)
    batch = frozenset(region.batch)
    scope = Scope(program.normal, program.storage, region.rows, values=batch, wide=program.wide, integers=integers)
    taken = [] if region.rows is None else [f"first_{number}", names.length(region.rows)]
    taken += [names.place(rank) for rank in region.batch]
    passed = ", ".join([*taken, "block", "n", *map(names.array, arrays)])
    body = list(_steps(scope, region.steps))
    if region.rows is not None:
        body.insert(0, f"{names.start(region.rows)} = max(first_{number}, 0)")
    body = [*_sizes(program, "\n".join(body)), *body]
    yield _function(f"rows_{number}({passed})", body)
    yield from _shared(program, number, arrays)


def _sizes(program: Program, body: str) -> Iterator[str]:
    """Yield the lines that unpack the sizes used."""
    used = set(re.findall(r"\w+", body))
    for i, rank in enumerate(program.ranks):
        if names.size(rank) in used:
            yield f"{names.size(rank)} = n[{i}]"


def _shared(program: Program, number: int, arrays: list[str]) -> Iterator[str]:
    """Yield the function that one of the workers runs, on its share of the rows."""
    region, own = program.regions[number], {*program.own(number), *program.folded(number)}
    given = [f"{names.array(t)}[worker]" if t in own else names.array(t) for t in arrays]
    head = f"run_{number}(worker, workers, rows, block, n, {', '.join(map(names.array, arrays))})"
    if region.rows is None:
        yield _function(head, [f"rows_{number}({', '.join(['block', 'n', *given])})"])
        return
    count = f"n[{program.ranks.index(region.rows)}]"
    lines = [f"groups = ({count} + rows - 1) // rows"]
    lines.append("tasks = " + " * ".join(["groups", *(f"n[{program.ranks.index(r)}]" for r in region.batch)]))
    lines.append("for task in range(worker * tasks // workers, (worker + 1) * tasks // workers):")
    body = ["first = task % groups * rows", *(["rest = task // groups"] if region.batch else [])]
    for rank in reversed(region.batch):
        extent = f"n[{program.ranks.index(rank)}]"
        body += [f"{names.place(rank)} = rest % {extent}", f"rest = rest // {extent}"]
    batch = [names.place(rank) for rank in region.batch]
    passed = ["first", f"min(rows, {count} - first)", *batch, "block", "n", *given]
    body.append(f"rows_{number}({', '.join(passed)})")
    yield _function(head, [*lines, *_indented(body)])


def _function(head: str, body: Iterable[str]) -> str:
    return "\n".join(['@njit(error_model="numpy", nogil=True)', f"def {head}:", *_indented(body)]) + "\n"


def _indented(lines: Iterable[str]) -> list[str]:
    return ["    " + line for line in lines]


def _steps(scope: Scope, steps: Iterable[Step]) -> Iterator[str]:
    """Yield the lines of some steps."""
    for step in steps:
        if isinstance(step, Walk):
            yield from _walk(scope, step)
        elif isinstance(step, Fill):
            yield from fill_lines(scope, scope.cascade.einsums[step.einsum])
        else:
            yield from nest_lines(scope, [scope.cascade.einsums[i] for i in step.einsums])


def _walk(scope: Scope, walk: Walk) -> Iterator[str]:
    """Yield the lines of a walk."""
    rank, size = walk.rank, names.size(walk.rank)
    if walk.by_value:
        yield f"for {names.place(rank)} in range({size}):"
        yield from _indented(_steps(replace(scope, values=scope.values | {rank}), walk.steps))
        return
    start, length = names.start(rank), names.length(rank)
    yield f"for b_{rank.lower()} in range(({size} + block - 1) // block):"
    yield f"    {start} = max(b_{rank.lower()} * block, 0)"
    yield f"    {length} = min(block, {size} - {start})"
    yield from _indented(_steps(replace(scope, blocks=scope.blocks | {rank}), walk.steps))
