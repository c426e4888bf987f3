"""Attention on a GPU by one of the published cascades: checks, the choice of a kernel, and its launch."""

from __future__ import annotations

import importlib
import math
import os
from functools import lru_cache
from typing import Any

from einsum_cascades.errors import InputError, unknown
from kernels.gpu.configurations import Configuration, Gpu, Shape, choose

CASCADES = ("attention-1-pass", "attention-2-pass", "attention-3-pass", "attention-3-pass-deferred")
"""Names of the cascades that have a kernel."""


def attention(
    q: Any,
    k: Any,
    v: Any,
    *,
    cascade: str = "attention-1-pass",
    causal: bool = False,
    scale: float = 1.0,
    out: Any = None,
    configuration: Configuration | None = None,
) -> Any:
    """Return ``softmax(scale * q @ k.T) @ v`` for every head, computed as a cascade says, in float32 inside.

    Args:
        q: float16 or bfloat16 CUDA tensor [..., P, E]; the leading axes (batch, heads) are the same in q, k and v.
        k: such a tensor [..., M, E].
        v: such a tensor [..., M, F].
        cascade: which of `CASCADES`.
        causal: whether query p sees only the keys m <= p + (M - P): the last query sees them all. A query that
            sees no key gives zeros.
        scale: factor of the scores; 1 is the cascade as written, models use E**-0.5.
        out: tensor [..., P, F] to write the result to, of the same type.
        configuration: kernel and tiles to use instead of those that `choose` finds best.

    Tensors may have any strides; one whose last axis is not contiguous, or whose rows do not start at multiples of
    16 values, is copied first. Gradients are not computed.

    Raises:
        InputError: shapes or types disagree, a size is zero, a head size is over 256, tensors are not on one GPU or
            need gradients, an unknown cascade, a scale that is not finite, ``out`` cannot hold the result.
    """
    if cascade not in CASCADES:
        raise unknown("cascade with a kernel", cascade, CASCADES)
    if not math.isfinite(scale):
        raise InputError(f"scale is {scale}", hint="expected a finite number")
    torch = _torch()
    _check(torch, {"q": q, "k": k, "v": v})
    result = _output(torch, out, q, v)
    if scale <= 0:
        q, scale = q * float((scale > 0) - (scale < 0)), abs(scale) or 1.0
    launch = importlib.import_module("kernels.gpu.launch")
    inputs = [_padded(torch, _four_axes(x)) for x in (q, k, v)]
    target = _four_axes(result)
    if target.data_ptr() != result.data_ptr() or not launch.is_aligned(target):
        target = torch.empty((*target.shape[:3], _padded_size(v)), dtype=q.dtype, device=q.device)
    batch, heads, q_len, _ = inputs[0].shape
    head_dim = min(inputs[0].shape[3], inputs[1].shape[3])
    value_dim = min(inputs[2].shape[3], target.shape[3])
    shape = Shape(batch, heads, q_len, inputs[1].shape[2], head_dim, value_dim, bool(causal))
    gpu = gpu_of(q.device)
    if configuration is None:
        configuration = choose(cascade, shape, gpu, aligned=all(map(launch.is_dense, inputs)))
    launch.run(configuration, shape, gpu, (*inputs, target), scale)
    if target.data_ptr() != result.data_ptr():
        result.copy_(target[..., : result.shape[-1]].reshape(result.shape))
    return result


@lru_cache
def gpu_of(device: Any) -> Gpu:
    """Return what a CUDA device has; of any other, which only Triton's interpreter runs on, a small GPU's figures."""
    if device.type != "cuda":
        return Gpu(0, 4, 2**17, 2**22)
    facts = _torch().cuda.get_device_properties(device)
    shared = getattr(facts, "shared_memory_per_block_optin", 0) or 48 * 1024
    return Gpu(10 * facts.major + facts.minor, facts.multi_processor_count, shared, facts.L2_cache_size, _has_gluon())


def _has_gluon() -> bool:
    try:
        importlib.import_module("kernels.gpu.one_pass_hopper")
    except (ImportError, AttributeError):
        return False
    return True


def _torch() -> Any:
    try:
        return importlib.import_module("torch")
    except ImportError:
        raise InputError(
            "PyTorch is not installed", hint="a CUDA build of it, which brings Triton, runs the GPU kernels"
        ) from None


def _check(torch: Any, tensors: dict[str, Any]) -> None:
    """Check that three tensors are of one kind, in one place, and fit each other."""
    for name, x in tensors.items():
        if not isinstance(x, torch.Tensor):
            raise InputError(f"{name} is {type(x).__name__}", hint="expected a CUDA tensor")
        if x.dtype not in (torch.float16, torch.bfloat16):
            raise InputError(f"{name} holds values of type {x.dtype}", hint="float16 or bfloat16 is needed")
        if x.ndim < 2:
            raise InputError(f"{name} has shape {tuple(x.shape)}", hint="expected [..., length, size]")
        if 0 in x.shape:
            raise InputError(f"{name} is empty: shape {tuple(x.shape)}", hint="every size must be at least 1")
        if x.requires_grad and torch.is_grad_enabled():
            raise InputError(f"{name} needs gradients", hint="call under torch.no_grad(), or give x.detach()")
    q, k, v = tensors.values()
    shapes = ", ".join(f"{name} {tuple(x.shape)}" for name, x in tensors.items())
    expected = "expected q [..., P, E], k [..., M, E], v [..., M, F]"
    if not q.shape[:-2] == k.shape[:-2] == v.shape[:-2]:
        raise InputError(f"leading axes disagree: {shapes}", hint=expected)
    if q.shape[-1] != k.shape[-1]:
        raise InputError(f"q and k disagree on E: {shapes}", hint=expected)
    if k.shape[-2] != v.shape[-2]:
        raise InputError(f"k and v disagree on M: {shapes}", hint=expected)
    if not q.dtype == k.dtype == v.dtype:
        raise InputError(f"types disagree: {q.dtype}, {k.dtype}, {v.dtype}", hint="expected one type")
    if not q.device == k.device == v.device:
        raise InputError(f"devices disagree: {q.device}, {k.device}, {v.device}", hint="expected one device")
    if q.device.type != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        raise InputError(
            f"q, k and v are on '{q.device}'", hint="put them on a CUDA device; kernels.attention runs on CPUs"
        )


def _output(torch: Any, out: Any, q: Any, v: Any) -> Any:
    shape = (*q.shape[:-1], v.shape[-1])
    if out is None:
        return torch.empty(shape, dtype=q.dtype, device=q.device)
    usable = isinstance(out, torch.Tensor) and out.dtype == q.dtype and out.device == q.device
    if not usable or tuple(out.shape) != shape:
        found = f"{getattr(out, 'dtype', type(out).__name__)} {tuple(getattr(out, 'shape', ()))}"
        raise InputError(f"out is {found}", hint=f"expected {q.dtype} {shape} on {q.device}")
    return out


def _four_axes(x: Any) -> Any:
    """Return a tensor as [batch, heads, length, size], a view of it where its strides allow that."""
    if x.stride(-1) != 1:
        x = x.contiguous()
    if x.ndim < 4:
        return x[(None,) * (4 - x.ndim)]
    return x if x.ndim == 4 else x.reshape(-1, *x.shape[-3:])


def _padded(torch: Any, x: Any) -> Any:
    """Return a tensor whose rows start where kernels need them: itself, or a copy, padded with zeros if need be."""
    if importlib.import_module("kernels.gpu.launch").is_aligned(x):
        return x
    copy = torch.zeros((*x.shape[:-1], _padded_size(x)), dtype=x.dtype, device=x.device)
    copy[..., : x.shape[-1]] = x
    return copy


def _padded_size(x: Any) -> int:
    """The length of a tensor's rows, rounded up so that each starts where kernels need it."""
    values: int = importlib.import_module("kernels.gpu.launch").ROW_VALUES
    return -(-int(x.shape[-1]) // values) * values
