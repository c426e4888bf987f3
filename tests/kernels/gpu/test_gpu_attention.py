"""The kernels on a GPU against float64 arithmetic: random inputs, lengths that fit no tile, masks, odd sizes."""

from __future__ import annotations

import math
from typing import Any

import pytest

torch: Any = pytest.importorskip("torch")
if not torch.cuda.is_available():
    pytest.skip("there is no GPU", allow_module_level=True)

from kernels.gpu import CASCADES, attention  # noqa: E402
from kernels.gpu.configurations import Configuration  # noqa: E402
from kernels.gpu.tensors import gpu_of  # noqa: E402

TOLERANCE = 1e-2
SHAPES = (
    # batch, heads, queries, keys, E, F
    (2, 3, 256, 256, 128, 128),
    (1, 2, 200, 333, 128, 128),
    (2, 2, 777, 1111, 64, 64),
    (1, 2, 300, 200, 64, 64),
    (1, 2, 300, 200, 128, 128),
    (1, 1, 1, 1, 128, 128),
    (1, 2, 130, 1, 64, 64),
    (1, 1, 70, 1, 33, 17),
    (1, 2, 70, 90, 40, 24),
    (1, 3, 100, 140, 80, 96),
    (1, 2, 65, 129, 8, 24),
    (1, 2, 70, 90, 33, 17),
    (1, 1, 150, 170, 256, 200),
)
DECODE = ((2, 4, 1, 5000, 128, 128), (1, 3, 16, 3001, 64, 64), (1, 2, 40, 2500, 96, 64), (1, 1, 3, 777, 128, 128))
KERNELS = {
    "hopper": Configuration("one_pass_hopper", 128, 128, 4, 2),
    "portable": Configuration("one_pass", 128, 64, 8, 2),
    "split": Configuration("split_keys", 64, 64, 4, 2, splits=5),
}


def normal(*size: int, dtype: Any = torch.bfloat16) -> Any:
    return torch.randn(*size, device="cuda", dtype=torch.float32).to(dtype)


def tensors(shape: tuple[int, ...], dtype: Any = torch.bfloat16) -> tuple[Any, Any, Any]:
    batch, heads, q_len, kv_len, head_dim, value_dim = shape
    sizes = (q_len, head_dim), (kv_len, head_dim), (kv_len, value_dim)
    q, k, v = (normal(batch, heads, *size, dtype=dtype) for size in sizes)
    return q, k, v


def reference(q: Any, k: Any, v: Any, causal: bool, scale: float) -> Any:
    scores = scale * (q.double() @ k.double().transpose(-1, -2))
    q_len, kv_len = scores.shape[-2:]
    if causal:
        last = torch.arange(q_len, device=q.device)[:, None] + kv_len - q_len
        scores = scores.masked_fill(torch.arange(kv_len, device=q.device)[None, :] > last, -math.inf)
    return torch.nan_to_num(torch.softmax(scores, -1)) @ v.double()


def error(found: Any, expected: Any) -> float:
    return float((found.double() - expected).norm() / expected.norm().clamp_min(1e-30))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("shape", SHAPES + DECODE, ids=str)
@pytest.mark.parametrize("cascade", CASCADES)
def test_every_cascade_gives_the_attention(cascade: str, shape: tuple[int, ...], causal: bool) -> None:
    q, k, v = tensors(shape)
    scale = shape[4] ** -0.5
    out = torch.full((*q.shape[:-1], v.shape[-1]), math.nan, device="cuda", dtype=q.dtype)
    found = attention(q, k, v, cascade=cascade, causal=causal, scale=scale, out=out)
    assert found is out
    assert error(found, reference(q, k, v, causal, scale)) < TOLERANCE


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kernel", KERNELS)
def test_every_kernel_of_the_one_pass_cascade(kernel: str, dtype: Any, causal: bool) -> None:
    if kernel == "hopper" and gpu_of(torch.device("cuda", 0)).capability != 90:
        pytest.skip("not a Hopper GPU")
    for shape in ((2, 3, 520, 700, 128, 128), (1, 2, 700, 520, 128, 128), (3, 1, 129, 1025, 120, 112)):
        q, k, v = tensors(shape, dtype)
        found = attention(q, k, v, causal=causal, scale=0.1, configuration=KERNELS[kernel])
        assert error(found, reference(q, k, v, causal, 0.1)) < TOLERANCE


@pytest.mark.parametrize("cascade", CASCADES)
def test_queries_without_keys_give_zeros(cascade: str) -> None:
    for size in (64, 128):
        q, k, v = tensors((1, 2, 300, 150, size, size))
        found = attention(q, k, v, cascade=cascade, causal=True, scale=size**-0.5)
        assert not found[:, :, :150].any()
        assert found[:, :, 150:].any(-1).all()


@pytest.mark.parametrize("scale", [1.0, -0.2, 0.0, 1e-6, 30.0])
@pytest.mark.parametrize("cascade", CASCADES)
def test_scales(cascade: str, scale: float) -> None:
    q, k, v = tensors((1, 2, 200, 300, 128, 128))
    found = attention(q, k, v, cascade=cascade, causal=True, scale=scale)
    assert error(found, reference(q, k, v, True, scale)) < TOLERANCE


@pytest.mark.parametrize("cascade", CASCADES)
def test_scores_of_a_thousand_stay_finite(cascade: str) -> None:
    q, k, v = tensors((1, 2, 300, 500, 128, 128))
    found = attention(9 * q, 9 * k, v, cascade=cascade, scale=1.0)
    assert torch.isfinite(found).all()
    assert error(found, reference(9 * q, 9 * k, v, False, 1.0)) < TOLERANCE


def test_strided_tensors_are_read_where_they_are() -> None:
    shape = (2, 300, 3, 4, 128)
    packed = normal(*shape)
    q, k, v = (packed[:, :, i].transpose(1, 2) for i in range(3))
    found = attention(q, k, v, causal=True, scale=0.1)
    assert error(found, reference(q, k, v, True, 0.1)) < TOLERANCE
    shared = k[:, :1].expand(-1, 4, -1, -1)
    assert error(attention(q, shared, v, scale=0.1), reference(q, shared, v, False, 0.1)) < TOLERANCE


def test_any_number_of_leading_axes() -> None:
    for leading in ((), (3,), (2, 1, 3)):
        q, k, v = (normal(*leading, n, 64) for n in (150, 180, 180))
        assert error(attention(q, k, v, scale=0.1), reference(q, k, v, False, 0.1)) < TOLERANCE


def test_many_tiles_are_all_taken() -> None:
    q, k, v = tensors((9, 16, 500, 500, 64, 64))
    for cascade in ("attention-1-pass", "attention-2-pass"):
        for _ in range(3):
            found = attention(q, k, v, cascade=cascade, causal=True, scale=0.125)
            assert error(found, reference(q, k, v, True, 0.125)) < TOLERANCE


def test_tensors_that_start_anywhere() -> None:
    q, k, v = (normal(2 * n * 3 * 36 + 1)[1:].view(2, 3, n, 36) for n in (150, 170, 170))
    expected = reference(q, k, v, True, 0.1)
    for out in (None, torch.empty(2, 150, 3, 36, device="cuda", dtype=q.dtype).transpose(1, 2)):
        found = attention(q, k, v, causal=True, scale=0.1, out=out)
        assert out is None or found is out
        assert error(found, expected) < TOLERANCE
