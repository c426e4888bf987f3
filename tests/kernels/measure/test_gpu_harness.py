"""What the GPU harness does without a GPU: its shapes, its reference, the table of figures."""

from __future__ import annotations

import csv
import io
from typing import Any

import numpy as np
import pytest

from kernels.measure.gpu import GPU_SHAPES, QUICK_GPU_SHAPES, errors, kernels_for, reference
from kernels.measure.gpu_micro import Figure, format_figures
from kernels.measure.shapes import Shape

torch: Any = pytest.importorskip("torch")


def test_shapes_cover_what_the_model_is_compared_on() -> None:
    assert len(set(GPU_SHAPES)) == len(GPU_SHAPES)
    square = {s for s in GPU_SHAPES if s.q_len == s.kv_len}
    for length in (1024, 2048, 4096, 8192, 16384, 32768):
        assert {(s.head_dim, s.causal) for s in square if s.q_len == length} >= {
            (head_dim, causal) for head_dim in (64, 128) for causal in (False, True)
        }
    assert any(s.q_len == 1 for s in GPU_SHAPES)
    assert any(s.q_len % 16 for s in square)
    assert set(QUICK_GPU_SHAPES) < set(GPU_SHAPES)


def test_backends_are_left_out_where_their_mask_differs() -> None:
    assert set(kernels_for(Shape(1, 1, 64, 64, 64, True))) > {"attention-1-pass", "flash", "cudnn", "efficient", "math"}
    assert "flash" not in kernels_for(Shape(1, 1, 64, 128, 64, True))
    assert "math" not in kernels_for(Shape(1, 16, 16384, 16384, 64))


def test_reference_and_errors() -> None:
    generator = np.random.default_rng(0)
    q, k, v = (torch.from_numpy(generator.standard_normal((2, 3, n, 8))) for n in (150, 170, 170))
    scores = q.numpy() @ k.numpy().swapaxes(-1, -2) / np.sqrt(8)
    scores[..., np.arange(170)[None, :] > np.arange(150)[:, None] + 20] = -np.inf
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    expected = weights / weights.sum(-1, keepdims=True) @ v.numpy()
    np.testing.assert_allclose(reference(q, k, v, torch.arange(150) + 20).numpy(), expected, rtol=1e-9)

    def right(q: Any, k: Any, v: Any) -> Any:
        return torch.from_numpy(expected)

    def wrong(q: Any, k: Any, v: Any) -> Any:
        return 1.1 * torch.from_numpy(expected)

    found = errors({"right": right, "wrong": wrong}, (q, k, v), causal=True)
    assert found["right"] < 1e-12
    assert found["wrong"] == pytest.approx(0.1)
    assert errors({"wrong": wrong}, (q, k, v), causal=False)["wrong"] > 0.1


def test_figures_are_written_as_they_are() -> None:
    row = Figure("GPU", "copy_bytes_per_s", 3.01e12, 1e-3, 9e-4, 15, "Python 3.12.3, torch 2.11", "2026-11-25")
    (found,) = csv.DictReader(io.StringIO(format_figures([row]).decode()))
    assert found["name"] == "copy_bytes_per_s"
    assert float(found["value"]) == 3.01e12
    assert found["software"] == "Python 3.12.3, torch 2.11"
