"""A cascade compiled to loops, and its run on arrays.

`compile_cascade` works on the cascade alone; Numba compiles the text when it first runs, once per type of
values, and keeps the machine code on disk. Arrays are allocated here, so that what a run keeps live is known
before it runs: `CompiledCascade.live_values`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from einsum_cascades.errors import InputError, check_type, unknown
from einsum_cascades.extras import require
from einsum_cascades.inputs import Array, bind_inputs
from einsum_cascades.interpreter import MAX_VALUES, Interpretation
from einsum_cascades.ir import Cascade, check_cascade
from einsum_cascades.numbers import whole
from einsum_cascades.operations import complete_sizes, iterations
from einsum_cascades.sizes import as_sizes
from kernels.compiler.batch import batched, batched_inputs
from kernels.compiler.loading import load
from kernels.compiler.source import Program, program_of, source_of
from kernels.compiler.storage import Axis, Keep, Storage
from kernels.compiler.texts import MOST_INTEGER
from kernels.cpu.threads import cpus, run_in_threads

Shape = tuple[int, ...]

_THREAD_POINTS = 100_000
"""Points of Einsums that a further thread is woken for: to wake one takes about as long."""


@dataclass(frozen=True)
class Tiling:
    """How much a worker has in hand at once.

    Attributes:
        block: values of a rank that is walked by blocks.
        rows: most rows at a time.
        values: as many rows are taken as have buffers of this many values, but at least one.
        workers: threads that share the rows; if 0, one for each CPU of this process, fewer for little work.
    """

    block: int = 128
    rows: int = 64
    values: int = 2**18
    workers: int = 0


@dataclass(frozen=True)
class Allocation:
    """An array that a run allocates besides its inputs and results.

    Attributes:
        tensor: whose values it holds.
        shape: its shape; the first axis counts the workers where each has one of its own.
    """

    tensor: str
    shape: Shape

    @property
    def values(self) -> int:
        """How many values it holds."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class CompiledCascade:
    """A cascade as a kernel for this CPU.

    Attributes:
        program: its loops and storage.
        jit: whether Numba compiles it; if not, the same text runs as plain Python.
        tiling: how much a worker has in hand at once.
    """

    program: Program
    jit: bool = True
    tiling: Tiling = Tiling()

    def __repr__(self) -> str:
        made = "by Numba" if self.jit else "as plain Python"
        return f"<CompiledCascade {self.cascade.name} {made}, returns {', '.join(self.outputs)}>"

    @property
    def cascade(self) -> Cascade:
        """The cascade that was compiled."""
        return self.program.cascade

    @property
    def outputs(self) -> tuple[str, ...]:
        """The tensors that a run returns."""
        return self.program.outputs

    @cached_property
    def source(self) -> str:
        """The generated module for float32; the one for float64 differs in the type alone."""
        return source_of(self.program, "float32")

    def run(self, inputs: Mapping[str, Any], sizes: Mapping[str, int] | None = None) -> dict[str, Array]:
        """Run the kernel.

        Args:
            inputs: one array per input tensor, axes in declared order; a tiled view may be given as the plain
                tensor that it views, as for `fusemax.interpret`.
            sizes: sizes of ranks that no input array shows, such as M0.

        Returns:
            The outputs by name, as `fusemax.interpret` returns them: entries that no Einsum
            writes are NaN. The type is the one that NumPy promotes the inputs to; the arithmetic is done in
            float32 for types up to that size and in float64 for larger ones.

        Raises:
            InputError: as `fusemax.interpret`, or the extra ``kernels`` is not installed.
        """
        if self.jit:
            require("kernels", "a compiled cascade")
        arrays, found = bind_inputs(self.cascade, inputs, as_sizes("sizes", sizes))
        return self._run(arrays, found)

    def run_batched(self, inputs: Mapping[str, Any], sizes: Mapping[str, int] | None = None) -> dict[str, Array]:
        """Run the kernel on arrays with leading batch axes, all instances in parallel.

        Args:
            inputs: as for `run`, with the same batch axes (B, H, ...) before the declared ones, or without any
                where all instances share the array.
            sizes: as for `run`.

        Returns:
            The outputs by name, with the batch axes before their own where they depend on a batched input.

        Raises:
            InputError: as `run`; the batch axes of two inputs differ.
        """
        flat, leading, tensors = batched_inputs(self.cascade, inputs)
        if not tensors:
            return self.run(inputs, sizes)
        wide = batched(self.cascade, tensors)
        kernel = compile_cascade(wide, outputs=self.outputs, jit=self.jit, tiling=self.tiling)
        results = kernel.run(flat, sizes)
        ranks_of = self.cascade.ranks_of
        return {
            name: array if array.ndim == len(ranks_of[name]) else array.reshape(*leading, *array.shape[1:])
            for name, array in results.items()
        }

    def allocations(self, sizes: Mapping[str, int], *, workers: int | None = None) -> tuple[Allocation, ...]:
        """Return the arrays that a run with these rank sizes allocates for intermediates.

        Args:
            sizes: the size of every rank; one of each partitioned family may be left out.
            workers: how many threads share the rows; as in a run, if None.

        Raises:
            InputError: a rank has no size, or a family two.
        """
        hands = None if workers is None else whole("workers", workers)
        complete = complete_sizes(self.cascade, sizes)
        shown = {t: np.broadcast_to(np.float32(0), self._declared(t, complete)) for t in self.cascade.inputs}
        complete |= iterations(self.cascade, complete)
        plan = _Plan(self.program, complete, shown, self.tiling, hands or self._workers(complete))
        return plan.allocations()

    def live_values(self, sizes: Mapping[str, int], *, workers: int = 1) -> int:
        """Return how many values of intermediates a run keeps live, for one worker unless more are asked for.

        It is what the run allocates besides its inputs and results (see `allocations`).
        """
        return sum(allocation.values for allocation in self.allocations(sizes, workers=workers))

    def _declared(self, tensor: str, sizes: Mapping[str, int]) -> Shape:
        for rank in self.cascade.ranks_of[tensor]:
            if rank not in sizes:
                raise InputError(f"rank {rank} of {tensor} has no size", hint=f"give sizes={{'{rank}': ...}}")
        return tuple(sizes[rank] for rank in self.cascade.ranks_of[tensor])

    def _workers(self, sizes: Mapping[str, int]) -> int:
        if self.tiling.workers or not self.jit:
            return self.tiling.workers or 1
        points = sum(math.prod(sizes[rank] for rank in einsum.ranks) for einsum in self.program.normal.einsums)
        return min(cpus(), 1 + points // _THREAD_POINTS)

    def _run(self, arrays: dict[str, Array], sizes: dict[str, int]) -> dict[str, Array]:
        complete = sizes | iterations(self.cascade, sizes)
        Interpretation(self.cascade, complete, arrays)
        kind = np.result_type(*arrays.values()) if arrays else np.dtype(np.float64)
        real = np.dtype(np.float32 if kind.itemsize <= 4 else np.float64)
        plan = _Plan(self.program, complete, arrays, self.tiling, self._workers(complete))
        held = {t: np.ascontiguousarray(a, dtype=real) for t, a in arrays.items()}
        held |= plan.results(real)
        wide = self.program.wide
        held |= {a.tensor: np.empty(a.shape, np.float64 if a.tensor in wide else real) for a in plan.buffers()}
        integers = max(complete.values(), default=0) < MOST_INTEGER
        functions = load(source_of(self.program, real.name, integers=integers), real.name, jit=self.jit)
        with np.errstate(all="ignore"):
            plan.call(functions, held, real, _in_turn if not self.jit else run_in_threads)
        return {t: held[t].astype(kind, copy=False) for t in self.outputs}


class _Plan:
    """A run's shapes: known once the rank sizes are."""

    def __init__(
        self, program: Program, sizes: dict[str, int], arrays: Mapping[str, Array], tiling: Tiling, workers: int
    ) -> None:
        self.program, self.sizes, self.tiling = program, sizes, tiling
        self.machine = Interpretation(program.normal, sizes, dict(arrays))
        self.workers = workers
        self.rows = [self._rows(number) for number in range(len(program.regions))]

    def extent(self, tensor: str, position: int) -> int:
        """Entries of a tensor along one of its ranks."""
        return max(places[position].stop for places in self.machine.written[tensor])

    def kept(self, storage: Storage, axis: Axis) -> int:
        """Entries of one axis of an array, `ROW` aside."""
        if axis.keep is Keep.FULL:
            return self.extent(storage.tensor, axis.position)
        return axis.depth if axis.keep is Keep.RING else min(self.tiling.block, self.sizes[axis.rank])

    def shape(self, storage: Storage, rows: int) -> Shape:
        """The shape of a tensor's array for one worker; a scalar takes one entry."""
        shape = tuple(rows if axis.keep is Keep.ROW else self.kept(storage, axis) for axis in storage.axes)
        return shape or (1,)

    def _rows(self, number: int) -> int:
        """How many rows a worker of a region takes at a time."""
        region = self.program.regions[number]
        if region.rows is None:
            return 1
        own = [self.program.storage[tensor] for tensor in self.program.own(number)]
        row = sum(math.prod(self.shape(storage, 1)) for storage in own)
        share = -(-self.sizes[region.rows] // (1 if region.batch else self.workers))
        return max(1, min(self.tiling.rows, share, self.tiling.values // max(row, 1)))

    def in_use(self, number: int) -> int:
        """How many workers a region's rows are shared among."""
        region = self.program.regions[number]
        if region.rows is None:
            return 1
        groups = -(-self.sizes[region.rows] // self.rows[number])
        return max(1, min(self.workers, groups * math.prod(self.sizes[rank] for rank in region.batch)))

    def allocations(self) -> tuple[Allocation, ...]:
        """The arrays for intermediates."""
        parts = [_checked(part) for number in range(len(self.program.regions)) for part in self.parts(number)]
        return (*self.buffers(), *parts)

    def buffers(self) -> tuple[Allocation, ...]:
        """The arrays for intermediates, but for the parts of results."""
        found = []
        for tensor, storage in self.program.storage.items():
            if storage.scalar or tensor in self.program.outputs or tensor in self.machine.values:
                continue
            if storage.region is None:
                shape = self.shape(storage, 1)
            else:
                shape = (self.in_use(storage.region), *self.shape(storage, self.rows[storage.region]))
            found.append(_checked(Allocation(tensor, shape)))
        return tuple(found)

    def parts(self, number: int) -> list[Allocation]:
        """The parts that the workers of a region fold of results that reduce its rows."""
        storage = self.program.storage
        return [Allocation(t, (self.in_use(number), *self.shape(storage[t], 1))) for t in self.program.folded(number)]

    def results(self, real: np.dtype[Any]) -> dict[str, Array]:
        """The arrays of the results, full of NaN."""
        found: dict[str, Array] = {}
        for tensor in self.program.outputs:
            shape = tuple(self.extent(tensor, i) for i in range(len(self.program.normal.ranks_of[tensor])))
            found[tensor] = np.full(_checked(Allocation(tensor, shape)).shape, np.nan, dtype=real)
        return found

    def call(
        self,
        functions: Mapping[str, Any],
        held: Mapping[str, Array],
        real: np.dtype[Any],
        share: Callable[[Callable[[int], None], Sequence[int]], None],
    ) -> None:
        """Run the regions one after another; ``share`` lets the workers of one run."""
        n: NDArray[np.int64] = np.array([self.sizes.get(rank, 0) for rank in self.program.ranks], dtype=np.int64)
        for number in range(len(self.program.regions)):
            arrays = {t: held[t] if held[t].ndim else held[t].reshape(1) for t in self.program.arrays(number)}
            folded = self.program.folded(number)
            parts = {part.tensor: np.empty(part.shape, real) for part in self.parts(number)}
            for tensor, operator in folded.items():
                parts[tensor].fill(operator.identity)
            workers = self.in_use(number)
            passed = workers, self.rows[number], self.tiling.block, n, *(arrays | parts).values()
            share(partial(_work, functions[f"run_{number}"], passed), range(workers))
            for tensor, operator in folded.items():
                ufunc: Any = operator.numpy
                arrays[tensor][...] = ufunc.reduce(parts[tensor], axis=0)


def _work(run: Callable[..., None], passed: tuple[Any, ...], worker: int) -> None:
    run(worker, *passed)


def _in_turn(work: Callable[[int], None], workers: Sequence[int]) -> None:
    for worker in workers:
        work(worker)


def _checked(allocation: Allocation) -> Allocation:
    if allocation.values > MAX_VALUES:
        raise InputError(f"{allocation.tensor} has {allocation.values} values", hint="choose smaller rank sizes")
    return allocation


def compile_cascade(
    cascade: Cascade, *, outputs: tuple[str, ...] | None = None, jit: bool = True, tiling: Tiling | None = None
) -> CompiledCascade:
    """Compile a cascade to fused loops for this CPU.

    Args:
        cascade: what to compile: any cascade that `fusemax.interpret` runs.
        outputs: the tensors that a run returns; ``cascade.outputs`` if None, or all that are written where every
            tensor is read. A tensor that is asked for is kept whole, others only as long as they are read.
        jit: whether Numba compiles the kernel when it first runs; otherwise the same text runs as plain Python,
            to look into it or where compiling does not pay.
        tiling: how much a worker has in hand at once; sensible sizes if None.

    Returns:
        The compiled cascade; the same object for the same arguments.

    Raises:
        InputError: this is no cascade; no such output; a name that the notation does not allow; Einsums that need each
            other in a circle.
    """
    check_cascade(cascade)
    written = tuple(dict.fromkeys(einsum.name for einsum in cascade.einsums))
    if outputs is not None:
        check_type("outputs", outputs, (tuple, list), "a tuple of names of tensors is expected")
    wanted = cascade.outputs or written if outputs is None else tuple(dict.fromkeys(outputs))
    for tensor in wanted:
        if tensor not in written:
            raise unknown("output", tensor, written)
    return _compiled(cascade, wanted, jit, tiling or Tiling())


@lru_cache(maxsize=256)
def _compiled(cascade: Cascade, outputs: tuple[str, ...], jit: bool, tiling: Tiling) -> CompiledCascade:
    return CompiledCascade(program_of(cascade, outputs), jit, tiling)
