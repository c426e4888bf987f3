"""Attention kernels on a GPU, checked against float64 and then timed beside PyTorch's backends, in one run.

Inputs are bfloat16 and normally distributed; a kernel goes through several sets of them, so that no input is in the
cache when it is read. The error is ``|ours - reference| / |reference|`` in the Euclidean norm.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from math import ceil
from typing import Any, Final

from kernels.gpu.attention import CASCADES, attention
from kernels.measure.environment import today
from kernels.measure.gpu_timing import ROTATED_BYTES, gpu_name, gpu_software, timed_in_turns
from kernels.measure.shapes import Shape
from kernels.measure.table import Measurement
from kernels.measure.timing import Timing

TOLERANCE: Final = 1e-2
"""Largest error of a kernel whose inputs are bfloat16."""
BACKENDS: Final = {
    "flash": "FLASH_ATTENTION",
    "cudnn": "CUDNN_ATTENTION",
    "efficient": "EFFICIENT_ATTENTION",
    "math": "MATH",
}
"""PyTorch's, by the names that the table has."""
_MATH_SCORES: Final = 2**31
"""Scores that the backend ``math``, which keeps them all, is given at most."""
_CHECKED: Final = 128
"""Queries of a head that a result is checked for."""
_TOKENS: Final = 2**14


def _grid() -> Iterator[Shape]:
    """Prefill of 16 Ki tokens, causal or not; other batches and heads; lengths that fit no tile; few queries."""
    for head_dim in (128, 64):
        for length in (1024, 2048, 4096, 8192, 16384, 32768):
            for causal in (False, True):
                yield Shape(max(1, _TOKENS // length), 16, length, length, head_dim, causal)
    for head_dim in (128, 64):
        yield Shape(1, 8, 4096, 4096, head_dim)
        yield Shape(2, 32, 3000, 3000, head_dim, True)
        yield Shape(4, 16, 1000, 5000, head_dim)
        yield Shape(1, 16, 512, 16384, head_dim, True)
        for batch, kv_len in ((1, 16384), (1, 131072), (8, 8192), (64, 4096)):
            yield Shape(batch, 16, 1, kv_len, head_dim)
        yield Shape(4, 16, 16, 32768, head_dim, True)


GPU_SHAPES: Final = tuple(_grid())
"""Shapes that the GPU model is compared on."""
QUICK_GPU_SHAPES: Final = tuple(shape for shape in GPU_SHAPES if shape.flops < 2 * 10**11)


def measure_attention(
    shapes: Sequence[Shape] = GPU_SHAPES, *, repeats: int = 20, report: Callable[[str], None] = lambda text: None
) -> Iterator[Measurement]:
    """Check all kernels on a shape, then time them; shape after shape.

    Args:
        shapes: what to time.
        repeats: rounds, in which the kernels of a shape have their turns.
        report: told what is being measured, and the errors.

    Raises:
        ArithmeticError: a kernel of this package is wrong.
    """
    device, versions = gpu_name(), gpu_software()
    for number, shape in enumerate(shapes, start=1):
        inputs = _inputs(shape)
        kernels = kernels_for(shape)
        found = errors(kernels, inputs[0], shape.causal)
        listed = ", ".join(f"{name} {value:.1e}" for name, value in found.items())
        report(f"shape {number} of {len(shapes)}: {shape}: errors {listed}")
        wrong = [name for name in found if name in CASCADES and not found[name] < TOLERANCE]
        if wrong:
            raise ArithmeticError(f"{wrong[0]} is wrong on {shape}: error {found[wrong[0]]:.3g}, not under {TOLERANCE}")
        works = {name: [partial(kernel, *tensors) for tensors in inputs] for name, kernel in kernels.items()}
        for name, timing in timed_in_turns(works, repeats).items():
            yield _measurement(device, versions, name, shape, timing)


def kernels_for(shape: Shape) -> dict[str, Callable[..., Any]]:
    """Return all kernels that can run a shape as functions of q, k and v, by name.

    PyTorch's causal mask is aligned to the first key, so its backends are left out where that differs (P and M do).
    """
    scale = shape.head_dim**-0.5
    found: dict[str, Callable[..., Any]] = {
        cascade: partial(attention, cascade=cascade, causal=shape.causal, scale=scale) for cascade in CASCADES
    }
    if shape.causal and shape.q_len != shape.kv_len:
        return found
    for name, backend in BACKENDS.items():
        few = shape.batch * shape.heads * shape.q_len * shape.kv_len <= _MATH_SCORES
        if name != "math" or few:
            found[name] = partial(_torch_attention, backend, shape.causal, scale)
    return found


def errors(kernels: Mapping[str, Callable[..., Any]], tensors: tuple[Any, Any, Any], causal: bool) -> dict[str, float]:
    """Return the errors of kernels on some of the queries of every head, the first and the last among them."""
    torch: Any = importlib.import_module("torch")
    q, k, v = tensors
    length = q.shape[2]
    rows = torch.randperm(length, device=q.device)[:_CHECKED]
    rows[0], rows[-1] = 0, length - 1
    expected = reference(q[:, :, rows], k, v, rows + k.shape[2] - length if causal else None)
    norm = expected.norm()
    return {name: float((kernel(q, k, v)[:, :, rows] - expected).norm() / norm) for name, kernel in kernels.items()}


def reference(q: Any, k: Any, v: Any, last: Any = None) -> Any:
    """Return attention in float64, head by head, scaled by E**-0.5.

    Args:
        q: tensor [B, H, P, E].
        k: tensor [B, H, M, E].
        v: tensor [B, H, M, F].
        last: the last key that each query sees, [P]; all see all if None. A query that sees none gives zeros.
    """
    torch: Any = importlib.import_module("torch")
    found = torch.empty(*q.shape[:3], v.shape[3], dtype=torch.float64, device=q.device)
    for b in range(q.shape[0]):
        for h in range(q.shape[1]):
            scores = q[b, h].double() @ k[b, h].double().T * q.shape[3] ** -0.5
            if last is not None:
                hidden = torch.arange(k.shape[2], device=q.device)[None, :] > last[:, None]
                scores = scores.masked_fill(hidden, -torch.inf)
            found[b, h] = torch.nan_to_num(torch.softmax(scores, -1)) @ v[b, h].double()
    return found


def _torch_attention(backend: str, causal: bool, scale: float, q: Any, k: Any, v: Any) -> Any:
    torch: Any = importlib.import_module("torch")
    module: Any = importlib.import_module("torch.nn.attention")
    with torch.no_grad(), module.sdpa_kernel(getattr(module.SDPBackend, backend)):
        return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal, scale=scale)


def _inputs(shape: Shape) -> list[tuple[Any, Any, Any]]:
    """Sets of random q, k and v that together are much larger than a cache."""
    torch: Any = importlib.import_module("torch")
    lengths = shape.q_len, shape.kv_len, shape.kv_len
    held = 2 * shape.batch * shape.heads * shape.head_dim * sum(lengths)

    def normal(length: int) -> Any:
        size = (shape.batch, shape.heads, length, shape.head_dim)
        return torch.randn(size, dtype=torch.bfloat16, device="cuda")

    return [tuple(map(normal, lengths)) for _ in range(max(2, min(32, ceil(ROTATED_BYTES / held))))]


def _measurement(device: str, versions: str, kernel: str, shape: Shape, timing: Timing) -> Measurement:
    return Measurement(
        device=device,
        kernel=kernel,
        cascade=kernel if kernel in CASCADES else "",
        dtype="bfloat16",
        batch=shape.batch,
        heads=shape.heads,
        q_len=shape.q_len,
        kv_len=shape.kv_len,
        head_dim=shape.head_dim,
        causal=shape.causal,
        median_s=timing.median_s,
        min_s=timing.min_s,
        repeats=len(timing.seconds),
        software=versions,
        date=today(),
    )
