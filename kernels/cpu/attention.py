"""Attention on this CPU by one of the published cascades: checks, tiles, memory and threads around the kernels."""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from einsum_cascades.errors import InputError, check_name
from einsum_cascades.extras import require
from einsum_cascades.numbers import finite, whole
from kernels.cpu.caches import machine_caches
from kernels.cpu.threads import cpus, run_in_threads
from kernels.cpu.tiles import LANES, AttentionShape, Tiles, tiles_for

Floats = NDArray[np.float32]

_MODULES = {
    "attention-1-pass": "one_pass",
    "attention-2-pass": "two_pass",
    "attention-3-pass": "three_pass",
    "attention-3-pass-deferred": "three_pass_deferred",
}
CASCADES = tuple(_MODULES)
"""Names of the cascades that have a kernel."""
_THREAD_OPERATIONS = 20_000_000
"""Work that a further thread is woken for: to wake one takes about as long as half of this."""


@dataclass(frozen=True)
class Call:
    """One checked call of a kernel.

    Attributes:
        module: the file of the kernel.
        shape: sizes.
        tiles: tile sizes.
        threads: threads, each with a workspace of its own.
        workspace_words: float32 values that each thread works in, besides q, k, v and the result.
    """

    module: Any
    shape: AttentionShape
    tiles: Tiles
    threads: int
    workspace_words: int


def attention(
    q: Any,
    k: Any,
    v: Any,
    *,
    cascade: str = "attention-1-pass",
    causal: bool = False,
    scale: float = 1.0,
    threads: int | None = None,
    out: Floats | None = None,
) -> Floats:
    """Return ``softmax(scale * q @ k.T) @ v`` for every head, computed as a cascade says.

    Args:
        q: float32 array [..., P, E]; the leading axes (batch, heads) are the same in q, k and v.
        k: float32 array [..., M, E].
        v: float32 array [..., M, F].
        cascade: which of `CASCADES`.
        causal: whether query p sees only the keys m <= p + (M - P): the last query sees them all. A query that
            sees no key gives zeros.
        scale: factor of the scores; 1 is the cascade as written, models use E**-0.5.
        threads: threads to use at most, fewer for little work; by default one for each CPU of this process.
        out: C-contiguous float32 array [..., P, F] to write the result to.

    Arrays that are not C-contiguous are copied first.

    Raises:
        InputError: shapes disagree, a size is zero, a dtype is not float32, an unknown cascade, ``out`` cannot hold
            the result, or the extra ``kernels`` is not installed.
    """
    factor = np.float32(finite("scale", scale, most=float(np.finfo(np.float32).max)))
    call, arrays, result = prepare(q, k, v, cascade, threads, out)
    workspace = np.empty((call.threads, call.workspace_words), dtype=np.float32)
    tiles = call.tiles
    counter = np.zeros(1, dtype=np.int64)
    sizes = tiles.queries, tiles.keys, tiles.product_keys, tiles.keys_per_row
    settings = factor, bool(causal), *sizes, counter
    if tiles.parts == 1:
        run_in_threads(lambda words: call.module.kernel(*arrays, *settings, words), list(workspace))
    else:
        from kernels.cpu.split_keys import attend_in_parts

        attend_in_parts(*arrays, settings, tiles.parts, list(workspace))
    return result


def prepare(
    q: Any, k: Any, v: Any, cascade: str, threads: int | None, out: Floats | None
) -> tuple[Call, tuple[Floats, Floats, Floats, Floats], Floats]:
    """Check a call; return how it runs, q, k, v and out as [heads, length, size], and out in its own shape.

    Raises:
        InputError: as `attention`.
    """
    q, k, v = (_checked(name, value) for name, value in (("q", q), ("k", k), ("v", v)))
    shape = _shape(q, k, v)
    call = plan(shape, cascade, threads)
    result = _output(out, (*q.shape[:-1], shape.value_dim), (q, k, v))
    q, k, v = (np.ascontiguousarray(x).reshape(shape.heads, *x.shape[-2:]) for x in (q, k, v))
    return call, (q, k, v, result.reshape(shape.heads, shape.queries, shape.value_dim)), result


def plan(shape: AttentionShape, cascade: str, threads: int | None = None) -> Call:
    """Return how a kernel would run on this machine: tiles, threads and working memory.

    Raises:
        InputError: an unknown cascade, fewer than one thread, or the extra ``kernels`` is not installed.
    """
    require("kernels", "attention on this CPU")
    check_name("cascade with a kernel", cascade, _MODULES)
    threads = cpus() if threads is None else whole("threads", threads)
    threads = min(threads, max(1, _operations(shape) // _THREAD_OPERATIONS))
    tiles = tiles_for(cascade, shape, machine_caches(), threads=threads)
    module = importlib.import_module(f"{__package__}.{_MODULES[cascade]}")
    rows = module.workspace_rows(shape.head_dim, shape.value_dim, shape.keys, tiles.keys, tiles.keys_per_row)
    threads = min(threads, shape.heads * math.ceil(shape.queries / tiles.queries) * tiles.parts)
    return Call(module, shape, tiles, threads, rows * tiles.width)


def _operations(shape: AttentionShape) -> int:
    """Floating-point operations of the two products, all keys seen; few queries count as a vector."""
    return 2 * shape.heads * max(shape.queries, LANES) * shape.keys * (shape.head_dim + shape.value_dim)


def _checked(name: str, value: Any) -> Floats:
    array: NDArray[Any] = np.asarray(value)
    if array.dtype != np.float32:
        raise InputError(f"{name} holds values of type {array.dtype}", hint="float32 is needed: x.astype('float32')")
    if array.ndim < 2:
        raise InputError(f"{name} has shape {array.shape}", hint="expected [..., length, size]")
    if 0 in array.shape:
        raise InputError(f"{name} is empty: shape {array.shape}", hint="every size must be at least 1")
    return array


def _shape(q: Floats, k: Floats, v: Floats) -> AttentionShape:
    """The sizes that three arrays agree on."""
    shapes = f"q {q.shape}, k {k.shape}, v {v.shape}"
    if not q.shape[:-2] == k.shape[:-2] == v.shape[:-2]:
        raise InputError(
            f"leading axes disagree: {shapes}", hint="expected q [..., P, E], k [..., M, E], v [..., M, F]"
        )
    if q.shape[-1] != k.shape[-1]:
        raise InputError(f"q and k disagree on E: {shapes}", hint="expected q [..., P, E], k [..., M, E]")
    if k.shape[-2] != v.shape[-2]:
        raise InputError(f"k and v disagree on M: {shapes}", hint="expected k [..., M, E], v [..., M, F]")
    heads = int(np.prod(q.shape[:-2], dtype=np.int64))
    return AttentionShape(heads, q.shape[-2], k.shape[-2], q.shape[-1], v.shape[-1])


def _output(out: Floats | None, shape: tuple[int, ...], inputs: tuple[Floats, ...]) -> Floats:
    if out is None:
        return np.empty(shape, dtype=np.float32)
    usable = isinstance(out, np.ndarray) and out.dtype == np.float32 and out.flags.c_contiguous and out.flags.writeable
    if not usable or out.shape != shape:
        found = f"{getattr(out, 'dtype', type(out).__name__)} {getattr(out, 'shape', '')}"
        raise InputError(f"out is {found}", hint=f"expected a writeable C-contiguous float32 array of shape {shape}")
    if any(np.may_share_memory(out, x) for x in inputs):
        raise InputError("out shares memory with an input", hint="give an array of its own, or none")
    return out
