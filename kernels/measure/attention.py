"""Attention kernels timed beside each other: this package's, and PyTorch's where it can be imported."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from typing import Any, Final

import numpy as np

from kernels.cpu.attention import CASCADES, attention
from kernels.measure.environment import processor, software, today
from kernels.measure.machine import PACKAGES
from kernels.measure.shapes import Shape
from kernels.measure.table import Measurement
from kernels.measure.timing import Timing, in_turns

TORCH_KERNELS: Final = ("flash", "math")
"""Kernels of PyTorch's scaled_dot_product_attention."""
_MATH_BYTES: Final = 2**28
"""Scores that the kernel ``math``, which keeps them all, is given at most."""


def time_kernels(
    shapes: Sequence[Shape], threads: int, *, repeats: int, report: Callable[[str], None] = lambda text: None
) -> Iterator[Measurement]:
    """Time all kernels, shape by shape, those of a shape in turns.

    Args:
        shapes: what to time.
        threads: threads of every kernel.
        repeats: rounds.
        report: told what is being timed.
    """
    with torch_threads(threads):
        for number, shape in enumerate(shapes, start=1):
            report(f"shape {number} of {len(shapes)}: {shape}")
            timings = in_turns(kernels_for(shape, threads), repeats, round_s=0.05)
            for kernel, timing in timings.items():
                yield _measurement(kernel, shape, timing, threads)


def kernels_for(shape: Shape, threads: int, seed: int = 0) -> dict[str, Callable[[], Any]]:
    """Return calls of all kernels that can run a shape, by name, on one choice of random inputs."""
    generator = np.random.default_rng(seed)

    def normal(length: int) -> Any:
        size = (shape.batch, shape.heads, length, shape.head_dim)
        return generator.standard_normal(size, dtype=np.float32)

    arrays = normal(shape.q_len), normal(shape.kv_len), normal(shape.kv_len)
    scale = shape.head_dim**-0.5
    options: dict[str, Any] = {"causal": shape.causal, "scale": scale, "threads": threads}
    found: dict[str, Callable[[], Any]] = {c: partial(attention, *arrays, cascade=c, **options) for c in CASCADES}
    if find_spec("torch"):
        found |= _torch_kernels(shape, arrays, scale)
    return found


def _torch_kernels(shape: Shape, arrays: tuple[Any, ...], scale: float) -> dict[str, Callable[[], Any]]:
    """PyTorch's kernels; its causal mask is aligned to the first key, so it is compared where P = M."""
    if shape.causal and shape.q_len != shape.kv_len:
        return {}
    torch: Any = importlib.import_module("torch")
    backends = importlib.import_module("torch.nn.attention")
    tensors = [torch.from_numpy(array) for array in arrays]

    def run(backend: Any) -> Any:
        with torch.no_grad(), backends.sdpa_kernel(backend):
            return torch.nn.functional.scaled_dot_product_attention(*tensors, is_causal=shape.causal, scale=scale)

    found: dict[str, Callable[[], Any]] = {"flash": partial(run, backends.SDPBackend.FLASH_ATTENTION)}
    if 4 * shape.batch * shape.heads * shape.q_len * shape.kv_len <= _MATH_BYTES:
        found["math"] = partial(run, backends.SDPBackend.MATH)
    return found


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Let PyTorch, where it can be imported, run on some threads, and restore what was."""
    if not find_spec("torch"):
        yield
        return
    torch: Any = importlib.import_module("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _measurement(kernel: str, shape: Shape, timing: Timing, threads: int) -> Measurement:
    return Measurement(
        device=processor(),
        kernel=kernel,
        cascade=kernel if kernel in CASCADES else "",
        dtype="float32",
        batch=shape.batch,
        heads=shape.heads,
        q_len=shape.q_len,
        kv_len=shape.kv_len,
        head_dim=shape.head_dim,
        causal=shape.causal,
        median_s=timing.median_s,
        min_s=timing.min_s,
        repeats=len(timing.seconds),
        software=f"{software(*PACKAGES)}, {threads} threads",
        date=today(),
    )
