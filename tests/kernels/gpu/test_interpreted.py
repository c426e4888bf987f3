"""The portable kernels under Triton's interpreter, which runs without a GPU, against arithmetic in float64.

The interpreter holds bfloat16 as bits and multiplies those, so values are float16. The kernel in Gluon for Hopper
cannot be interpreted; it is compared on a GPU (``test_gpu_attention.py``).
"""

from __future__ import annotations

import pytest
from interpreted import check_interpreted, needs_triton

KERNELS = {
    "one_pass": "attention-1-pass",
    "split_keys": "attention-1-pass",
    "two_pass": "attention-2-pass",
    "three_pass": "attention-3-pass",
    "three_pass_deferred": "attention-3-pass-deferred",
}
SHAPES = (
    (5, 37, 8, 12, False),
    (3, 1, 33, 17, False),
    (1, 5, 33, 17, True),
    (37, 21, 16, 16, True),
    (1, 70, 16, 16, True),
    (33, 64, 20, 33, True),
)
"""Queries, keys, E, F, and whether causal; tiles are of 16. Some queries see no key, some tiles hold only such."""
FEW = (SHAPES[0], SHAPES[3])
"""Of these, odd sizes, and queries that see no key."""

PROGRAM = f"""
import torch
from kernels.gpu import attention
from kernels.gpu.configurations import Configuration

torch.manual_seed(0)
for kernel, cascade in {KERNELS}.items():
    for q_len, kv_len, head_dim, value_dim, causal in shapes:
        sizes = (q_len, head_dim), (kv_len, head_dim), (kv_len, value_dim)
        q, k, v = (torch.randn(*heads, *size).to(torch.float16) for size in sizes)
        for scale in scales:
            chosen = Configuration(kernel, 16, 16, 4, 1, splits=3 if kernel == "split_keys" else 1)
            found = attention(q, k, v, cascade=cascade, causal=causal, scale=scale, configuration=chosen)
            scores = scale * (q.double() @ k.double().transpose(-1, -2))
            if causal:
                last = torch.arange(q_len)[:, None] + kv_len - q_len
                scores = scores.masked_fill(torch.arange(kv_len)[None] > last, -torch.inf)
            expected = torch.nan_to_num(torch.softmax(scores, -1)) @ v.double()
            error = (found.double() - expected).norm() / expected.norm()
            assert torch.isfinite(found).all()
            assert error < 2e-3, (kernel, q_len, kv_len, head_dim, causal, scale, float(error))
"""


@needs_triton
def test_portable_kernels_are_right() -> None:
    check_interpreted(f"heads, scales, shapes = (1, 2), (0.3,), {FEW}\n{PROGRAM}")


@needs_triton
@pytest.mark.slow
def test_portable_kernels_are_right_for_any_scale() -> None:
    check_interpreted(f"heads, scales, shapes = (2, 2), (0.3, -0.5, 0.0), {SHAPES}\n{PROGRAM}")
