"""Generated kernels on a GPU against the reference interpreter in float64: random inputs, ragged lengths, all cases."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

torch: Any = pytest.importorskip("torch")
if not torch.cuda.is_available():
    pytest.skip("there is no GPU", allow_module_level=True)

from custom_attention import CASES, Case, expected, with_values  # noqa: E402

from einsum_cascades import load_cascade  # noqa: E402
from kernels.gpu import compiled  # noqa: E402
from kernels.gpu.configurations import Configuration  # noqa: E402

TOLERANCE = 1e-2
SHAPES = (
    # heads, queries, keys, E, F
    (2, 200, 333, 64, 64),
    (3, 300, 150, 128, 128),
    (2, 256, 512, 128, 128),
    (1, 70, 90, 40, 24),
)
CONFIGURATIONS = (
    Configuration("one_pass", 64, 64, 4, 2),
    Configuration("split_keys", 16, 64, 4, 2, splits=3),
)


def given(case: Case, shape: tuple[int, int, int, int, int], seed: int) -> dict[str, Any]:
    """Random inputs, rounded to what the kernel reads."""
    inputs = with_values(case, np.random.default_rng(seed), shape)
    found: dict[str, Any] = {}
    for name, value in inputs.items():
        if np.isscalar(value):
            found[name] = value
        else:
            matrix = name not in case.tensors
            found[name] = torch.from_numpy(value).to("cuda", torch.bfloat16 if matrix else torch.float32)
    return found


def numpy_of(inputs: dict[str, Any]) -> dict[str, Any]:
    return {name: x.double().cpu().numpy() if isinstance(x, torch.Tensor) else x for name, x in inputs.items()}


def error(found: Any, wanted: Any) -> float:
    difference = found.double().cpu().numpy() - wanted
    return float(np.linalg.norm(difference) / max(np.linalg.norm(wanted), 1e-30))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_generated_kernels_give_what_the_cascade_says(case: Case, shape: tuple[int, int, int, int, int]) -> None:
    kernel = compiled(case.cascade)
    inputs = given(case, shape, seed=len(case.name))
    scale = shape[3] ** -0.5
    wanted = expected(case, numpy_of(inputs), scale)
    out = torch.full((shape[0], shape[1], shape[4]), math.nan, device="cuda", dtype=torch.bfloat16)
    assert kernel(inputs, scale=scale, out=out) is out
    assert error(out, wanted) < TOLERANCE


@pytest.mark.parametrize("configuration", CONFIGURATIONS, ids=lambda c: c.kernel)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_portable_kernels(case: Case, configuration: Configuration) -> None:
    kernel = compiled(case.cascade)
    if configuration.splits > 1 and len(kernel.form.streams) > 1:
        pytest.skip("keys are split for one stream only")
    shape = (2, 100, 333, 64, 64)
    inputs = given(case, shape, seed=3)
    wanted = expected(case, numpy_of(inputs), 0.125)
    assert error(kernel(inputs, scale=0.125, configuration=configuration), wanted) < TOLERANCE


@pytest.mark.parametrize("name", ["attention-alibi", "attention-soft-cap", "attention-sliding-window"])
def test_scalars_of_every_head(name: str) -> None:
    case = next(case for case in CASES if case.name == name)
    shape = (4, 150, 260, 64, 64)
    inputs = given(case, shape, seed=5)
    (scalar,) = case.scalars
    each = torch.tensor([1.0, 0.5, 2.0, 0.25], device="cuda") * case.scalars[scalar]
    heads = []
    for head, value in enumerate(each.tolist()):
        one = {n: x[head : head + 1] if isinstance(x, torch.Tensor) else x for n, x in inputs.items()}
        heads.append(expected(case, numpy_of(one | {scalar: value}), 0.125)[0])
    found = compiled(case.cascade)(inputs | {scalar: each}, scale=0.125)
    assert error(found, np.stack(heads)) < TOLERANCE
    batched = {n: x[None].expand(2, *x.shape) if isinstance(x, torch.Tensor) else x for n, x in inputs.items()}
    found = compiled(case.cascade)(batched | {scalar: each}, scale=0.125)
    assert error(found[1], np.stack(heads)) < TOLERANCE


@pytest.mark.parametrize("size", [64, 128])
def test_queries_without_keys_give_zeros(size: int) -> None:
    shape = (2, 300, 150, size, size)
    for name in ("attention-causal", "attention-alibi", "attention-sliding-window"):
        case = next(case for case in CASES if case.name == name)
        found = compiled(load_cascade(name))(given(case, shape, seed=7), scale=size**-0.5)
        assert not found[:, :150].any()
        assert found[:, 150:].any(-1).all()


@pytest.mark.parametrize("scale", [1.0, -0.3, 0.0])
def test_scales(scale: float) -> None:
    for name in ("attention-1-pass", "attention-alibi", "attention-sigmoid", "attention-differential"):
        case = next(case for case in CASES if case.name == name)
        inputs = given(case, (2, 200, 300, 128, 128), seed=9)
        assert error(compiled(case.cascade)(inputs, scale=scale), expected(case, numpy_of(inputs), scale)) < TOLERANCE


@pytest.mark.parametrize("cap", [5.0, 20.0, 50.0])
def test_capped_scores_that_are_large(cap: float) -> None:
    case = next(case for case in CASES if case.name == "attention-soft-cap")
    for scale in (1.0, 4.0):
        inputs = given(case, (2, 300, 500, 128, 128), seed=11) | {"CAP": cap}
        assert error(compiled(case.cascade)(inputs, scale=scale), expected(case, numpy_of(inputs), scale)) < TOLERANCE


def test_long_windows_and_many_tiles() -> None:
    case = next(case for case in CASES if case.name == "attention-sliding-window")
    for window in (1, 100, 128, 1000.5, 5000, math.inf):
        inputs = given(case, (9, 2000, 2000, 64, 64), seed=13) | {"W": window}
        wanted = expected(case, numpy_of(inputs), 0.125)
        assert error(compiled(case.cascade)(inputs, scale=0.125), wanted) < TOLERANCE


@pytest.mark.parametrize("more", [0, 1, 16])
def test_bounds_that_triton_compiles_in(more: int) -> None:
    for name in ("attention-causal", "attention-sliding-window"):
        case = next(case for case in CASES if case.name == name)
        inputs = given(case, (1, 256, 256 + more, 64, 64), seed=15)
        assert error(compiled(case.cascade)(inputs, scale=0.125), expected(case, numpy_of(inputs), 0.125)) < TOLERANCE


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.bool, torch.int64], ids=str)
def test_inputs_of_any_type_and_alignment(dtype: Any) -> None:
    for name in ("biased", "padded", "documents"):
        case = next(case for case in CASES if case.name == name)
        inputs = given(case, (2, 131, 203, 64, 64), seed=17)
        for tensor in case.tensors:
            inputs[tensor] = (3 * inputs[tensor]).to(dtype)[:1]
        everywhere = {n: x.expand(2, *x.shape[1:]) if isinstance(x, torch.Tensor) else x for n, x in inputs.items()}
        wanted = expected(case, numpy_of(everywhere), 0.125)
        assert error(compiled(case.cascade)(inputs, scale=0.125), wanted) < TOLERANCE
        stacked = {n: x[None].expand(3, *x.shape) if n not in case.tensors else x for n, x in inputs.items()}
        assert error(compiled(case.cascade)(stacked, scale=0.125)[2], wanted) < TOLERANCE
