"""Generated functions in the portable kernels under Triton's interpreter, which runs without a GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

PROBE = """
import torch, triton, triton.language as tl
@triton.jit
def loop(x, n):
    for i in tl.range(0, n):
        tl.store(x + i, i)
loop[(1,)](torch.zeros(4), 3)
"""

PROGRAM = '''
import warnings
import numpy as np, torch
from custom_attention import CASES, Case, expected, weights, with_values
from einsum_cascades import parse_cascade
from kernels.gpu import compiled
from kernels.gpu.configurations import Configuration

warnings.simplefilter("ignore")
CANCELLING = Case(
    parse_cascade(
        """
name: cancelling
declaration: {Q: [E, P], K: [E, M], V: [F, M], QK: [M, P], A: [M, P], D: [P], AV: [F, P]}
expressions:
  - QK[m, p] = Q[e, p] * K[e, m]
  - A[m, p] = where(QK[m, p] > -1000, where(m < M / 2, 1, -1), 0)
  - D[p] = A[m, p]
  - AV[f, p] = A[m, p] * V[f, m] / max(D[p], 0.5)
"""
    )
)
BENT = Case(weights("bent", "where(tanh(0.1 * m) < 0.5 + 0.01 * p, QK[m, p], 0)"))
for case in (*CASES, CANCELLING, BENT):
    kernel = compiled(case.cascade)
    for shape in ((2, 37, 56, 16, 16), (2, 40, 21, 12, 24)):
        inputs = with_values(case, np.random.default_rng(1), shape)
        types = {n: torch.float16 if n in kernel.form.tensors else torch.float32 for n in inputs}
        given = {n: x if np.isscalar(x) else torch.from_numpy(x).to(types[n]) for n, x in inputs.items()}
        wanted = expected(case, {n: x if np.isscalar(x) else x.double().numpy() for n, x in given.items()}, 0.4)
        for chosen in (Configuration("one_pass", 16, 16, 4, 1), Configuration("split_keys", 16, 16, 4, 1, 3)):
            if chosen.splits == 1 or len(kernel.form.streams) == 1:
                found = kernel(given, scale=0.4, configuration=chosen).double().numpy()
                error = np.linalg.norm(found - wanted) / max(np.linalg.norm(wanted), 1e-30)
                assert error < 2e-3, (case.name, shape, chosen, error)
print("right")
'''


@pytest.mark.slow
@pytest.mark.skipif(not (find_spec("triton") and find_spec("torch")), reason="Triton or PyTorch is not installed")
def test_generated_functions_are_right(tmp_path: Path) -> None:
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    probe = tmp_path / "probe.py"
    probe.write_text(PROBE)
    runs = subprocess.run([sys.executable, probe], env=environment, capture_output=True, text=True)
    if runs.returncode:
        pytest.skip(f"Triton's interpreter does not run here: {runs.stderr.strip()[-200:]}")
    support = str(Path(__file__).parents[3] / "support")
    environment["PYTHONPATH"] = os.pathsep.join([support, *sys.path])
    found = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True)
    assert found.stdout.strip() == "right", found.stderr[-2000:]
