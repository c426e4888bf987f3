"""Generated functions in the portable kernels under Triton's interpreter, which runs without a GPU."""

from __future__ import annotations

import pytest
from interpreted import check_interpreted, needs_triton

PROGRAM = '''
import warnings
import numpy as np
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
every = (*CASES, CANCELLING, BENT)
assert set(names or ()) <= {case.name for case in every}
for case in every:
    if names and case.name not in names:
        continue
    kernel = compiled(case.cascade)
    for shape in shapes:
        inputs = with_values(case, np.random.default_rng(1), shape)
        types = {n: torch.float16 if n in kernel.form.tensors else torch.float32 for n in inputs}
        given = {n: x if np.isscalar(x) else torch.from_numpy(x).to(types[n]) for n, x in inputs.items()}
        wanted = expected(case, {n: x if np.isscalar(x) else x.double().numpy() for n, x in given.items()}, 0.4)
        for chosen in (Configuration("one_pass", 16, 16, 4, 1), Configuration("split_keys", 16, 16, 4, 1, 3)):
            if chosen.splits == 1 or len(kernel.form.streams) == 1:
                found = kernel(given, scale=0.4, configuration=chosen).double().numpy()
                error = np.linalg.norm(found - wanted) / max(np.linalg.norm(wanted), 1e-30)
                assert error < 2e-3, (case.name, shape, chosen, error)
'''

MASKED = ("padded", "ahead", "two-sigmoids")
"""Masks of inputs and of indices, which hide whole tiles; two streams of scores."""


@needs_triton
def test_masks_and_streams_are_right() -> None:
    check_interpreted(f"names, shapes = {MASKED}, [(1, 21, 56, 16, 12)]\n{PROGRAM}")


@needs_triton
@pytest.mark.slow
def test_generated_functions_are_right() -> None:
    check_interpreted(f"names, shapes = None, [(2, 37, 56, 16, 16), (1, 40, 21, 12, 24)]\n{PROGRAM}")
