"""Attention on a GPU by one of the published cascades: checks, the choice of a kernel, and its launch."""

from __future__ import annotations

import importlib
from typing import Any

from einsum_cascades.errors import unknown
from kernels.gpu.configurations import Configuration
from kernels.gpu.tensors import check_alike, check_scale, check_tensor, output_for, torch_module

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
    scale = check_scale(scale)
    torch = torch_module()
    named = {"q": q, "k": k, "v": v}
    for name, x in named.items():
        check_tensor(torch, name, x)
    check_alike(named, {"q": ("P", "E"), "k": ("M", "E"), "v": ("M", "F")})
    result = output_for(torch, out, q, v)
    fused = importlib.import_module(f"{__package__}.generator.fused")
    if cascade == "attention-1-pass":
        return fused.attend(fused.plain(bool(causal)), {"Q": q, "K": k, "V": v}, {}, scale, result, configuration)
    return fused.attend_in_passes(cascade, (q, k, v), bool(causal), scale, result, configuration)
