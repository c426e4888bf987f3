"""Tensors as the kernels take them: checked, of four axes, with rows that start where kernels need them."""

from __future__ import annotations

import importlib
import math
import numbers
import os
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from einsum_cascades.errors import InputError
from einsum_cascades.extras import installation
from kernels.gpu.configurations import MOST_HEAD_DIM, Gpu


@lru_cache
def gpu_of(device: Any) -> Gpu:
    """Return what a CUDA device has; of any other, which only Triton's interpreter runs on, a small GPU's figures."""
    if device.type != "cuda":
        return Gpu(0, 4, 2**17, 2**22)
    facts = torch_module().cuda.get_device_properties(device)
    shared = getattr(facts, "shared_memory_per_block_optin", 0) or 48 * 1024
    return Gpu(10 * facts.major + facts.minor, facts.multi_processor_count, shared, facts.L2_cache_size, _has_gluon())


def _has_gluon() -> bool:
    try:
        importlib.import_module(f"{__package__}.one_pass_hopper")
    except (ImportError, AttributeError):
        return False
    return True


def torch_module() -> Any:
    """Return PyTorch.

    Raises:
        InputError: it is not installed.
    """
    try:
        return importlib.import_module("torch")
    except ImportError:
        raise InputError(
            "PyTorch is not installed", hint=f"a CUDA build of it runs the GPU kernels: {installation('gpu')}"
        ) from None


def as_float(name: str, value: Any) -> float:
    """Return a number as a float.

    Raises:
        InputError: it is no real number, or too large for one.
    """
    if not isinstance(value, numbers.Real):
        raise InputError(f"{name} is {type(value).__name__}", hint="expected a number")
    try:
        return float(value)
    except OverflowError:
        raise InputError(f"{name} is too large", hint="expected a number that a float holds") from None


def check_scale(scale: Any) -> float:
    """Return a factor of scores as a float.

    Raises:
        InputError: it is no finite number.
    """
    found = as_float("scale", scale)
    if not math.isfinite(found):
        raise InputError(f"scale is {found}", hint="expected a finite number")
    return found


def check_tensor(torch: Any, name: str, x: Any) -> None:
    """Check that something is a tensor that kernels can read.

    Raises:
        InputError: it is not.
    """
    if not isinstance(x, torch.Tensor):
        raise InputError(f"{name} is {type(x).__name__}", hint="expected a CUDA tensor")
    if x.dtype not in (torch.float16, torch.bfloat16):
        raise InputError(f"{name} holds values of type {x.dtype}", hint="float16 or bfloat16 is needed")
    if x.ndim < 2:
        raise InputError(f"{name} has shape {tuple(x.shape)}", hint="expected [..., length, size]")
    if 0 in x.shape:
        raise InputError(f"{name} is empty: shape {tuple(x.shape)}", hint="every size must be at least 1")
    if x.shape[-1] > MOST_HEAD_DIM:
        raise InputError(f"{name} has head size {x.shape[-1]}", hint=f"the kernels take up to {MOST_HEAD_DIM}")
    if x.requires_grad and torch.is_grad_enabled():
        raise InputError(f"{name} needs gradients", hint="call under torch.no_grad(), or give x.detach()")


def check_alike(tensors: Mapping[str, Any], ranks: Mapping[str, tuple[str, str]]) -> None:
    """Check that tensors are of one kind, in one place, and fit each other.

    Args:
        tensors: by name, checked each.
        ranks: names of the last two axes of each.

    Raises:
        InputError: they do not.
    """
    shapes = ", ".join(f"{name} {tuple(x.shape)}" for name, x in tensors.items())
    expected = "expected " + ", ".join(f"{name} [..., {', '.join(ranks[name])}]" for name in tensors)
    names, listed = list(tensors), list(tensors.values())
    if len({x.shape[:-2] for x in listed}) > 1:
        raise InputError(f"leading axes disagree: {shapes}", hint=expected)
    seen: dict[str, str] = {}
    for name, x in tensors.items():
        for rank, size in zip(ranks[name], x.shape[-2:], strict=True):
            other = seen.setdefault(rank, name)
            place = -2 + ranks[other].index(rank)
            if tensors[other].shape[place] != size:
                raise InputError(f"{other} and {name} disagree on {rank}: {shapes}", hint=expected)
    if len({x.dtype for x in listed}) > 1:
        raise InputError(f"types disagree: {', '.join(str(x.dtype) for x in listed)}", hint="expected one type")
    if len({x.device for x in listed}) > 1:
        raise InputError(f"devices disagree: {', '.join(str(x.device) for x in listed)}", hint="expected one device")
    device = listed[0].device
    if device.type != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        raise InputError(
            f"{', '.join(names[:-1])} and {names[-1]} are on '{device}'",
            hint="put them on a CUDA device; fusemax.attention runs on CPUs",
        )


def output_for(torch: Any, out: Any, q: Any, v: Any) -> Any:
    """Return the tensor for a result: a new one, or the one given.

    Raises:
        InputError: that cannot hold it.
    """
    shape = (*q.shape[:-1], v.shape[-1])
    if out is None:
        return torch.empty(shape, dtype=q.dtype, device=q.device)
    usable = isinstance(out, torch.Tensor) and out.dtype == q.dtype and out.device == q.device
    if not usable or tuple(out.shape) != shape:
        found = f"{getattr(out, 'dtype', type(out).__name__)} {tuple(getattr(out, 'shape', ()))}"
        raise InputError(f"out is {found}", hint=f"expected {q.dtype} {shape} on {q.device}")
    return out


def four_axes(x: Any) -> Any:
    """Return a tensor as [batch, heads, length, size], a view of it where its strides allow that."""
    if x.stride(-1) != 1:
        x = x.contiguous()
    if x.ndim < 4:
        return x[(None,) * (4 - x.ndim)]
    return x if x.ndim == 4 else x.reshape(-1, *x.shape[-3:])


def padded(torch: Any, x: Any) -> Any:
    """Return a tensor whose rows start where kernels need them: itself, or a copy, padded with zeros if need be."""
    if importlib.import_module(f"{__package__}.launch").is_aligned(x):
        return x
    copy = torch.zeros((*x.shape[:-1], padded_size(x)), dtype=x.dtype, device=x.device)
    copy[..., : x.shape[-1]] = x
    return copy


def padded_size(x: Any) -> int:
    """The length of a tensor's rows, rounded up so that each starts where kernels need it."""
    values: int = importlib.import_module(f"{__package__}.launch").ROW_VALUES
    return -(-int(x.shape[-1]) // values) * values
