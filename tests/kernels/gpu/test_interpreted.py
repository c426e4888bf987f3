"""The portable kernels under Triton's interpreter, which runs without a GPU, against arithmetic in float64."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

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
"""Queries, keys, E, F, and whether causal; tiles are of 16."""

PROBE = """
import torch, triton, triton.language as tl
@triton.jit
def loop(x, n):
    for i in tl.range(0, n):
        tl.store(x + i, i)
loop[(1,)](torch.zeros(4), 3)
"""

PROGRAM = f"""
import torch
from kernels.gpu import attention
from kernels.gpu.configurations import Configuration

torch.manual_seed(0)
for kernel, cascade in {KERNELS}.items():
    for q_len, kv_len, head_dim, value_dim, causal in {SHAPES}:
        sizes = (q_len, head_dim), (kv_len, head_dim), (kv_len, value_dim)
        q, k, v = (torch.randn(2, 2, *size).to(torch.float16) for size in sizes)
        for scale in (0.3, -0.5, 0.0):
            chosen = Configuration(kernel, 16, 16, 4, 1, splits=3 if kernel == "split_keys" else 1)
            found = attention(q, k, v, cascade=cascade, causal=causal, scale=scale, configuration=chosen)
            scores = scale * (q.double() @ k.double().transpose(-1, -2))
            if causal:
                last = torch.arange(q_len)[:, None] + kv_len - q_len
                scores = scores.masked_fill(torch.arange(kv_len)[None] > last, -torch.inf)
            expected = torch.nan_to_num(torch.softmax(scores, -1)) @ v.double()
            error = (found.double() - expected).norm() / expected.norm()
            assert error < 2e-3, (kernel, q_len, kv_len, head_dim, causal, scale, float(error))
print("right")
"""


def interpreted(program: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    return subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)


@pytest.mark.skipif(not (find_spec("triton") and find_spec("torch")), reason="Triton or PyTorch is not installed")
def test_portable_kernels_are_right(tmp_path: object) -> None:
    # The interpreter reads its program's source from a file, and not every NumPy lets it convert loop bounds.
    probe = f"{tmp_path}/probe.py"
    with open(probe, "w", encoding="utf-8") as file:
        file.write(PROBE)
    runs = subprocess.run(
        [sys.executable, probe], env=os.environ | {"TRITON_INTERPRET": "1"}, capture_output=True, text=True
    )
    if runs.returncode:
        pytest.skip(f"Triton's interpreter does not run here: {runs.stderr.strip()[-200:]}")
    found = interpreted(PROGRAM)
    assert found.stdout.strip() == "right", found.stderr[-2000:]
