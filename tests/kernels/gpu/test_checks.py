"""What a call of the GPU kernels says of inputs that it cannot use; no GPU is needed to say so."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from einsum_cascades.errors import InputError

torch: Any = pytest.importorskip("torch")

from kernels.gpu import CASCADES, attention  # noqa: E402


def ones(*size: int, dtype: Any = torch.float16) -> Any:
    return torch.ones(size, dtype=dtype)


GOOD = {"q": ones(2, 3, 5, 8), "k": ones(2, 3, 7, 8), "v": ones(2, 3, 7, 6)}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"q": [[1.0]]}, "q is list"),
        ({"q": ones(2, 3, 5, 8, dtype=torch.float32)}, r"q holds values of type torch\.float32"),
        ({"k": ones(8)}, r"k has shape \(8,\)"),
        ({"v": ones(2, 3, 0, 6)}, "v is empty"),
        ({"v": ones(2, 3, 7, 257)}, "v has head size 257"),
        ({"k": ones(2, 3, 7, 9)}, "q and k disagree on E"),
        ({"v": ones(2, 3, 8, 6)}, "k and v disagree on M"),
        ({"k": ones(3, 7, 8)}, "leading axes disagree"),
        ({"v": ones(2, 3, 7, 6, dtype=torch.bfloat16)}, "types disagree"),
        ({"q": ones(2, 3, 5, 8).requires_grad_()}, "q needs gradients"),
        ({"cascade": "attention-4-pass"}, "unknown cascade with a kernel 'attention-4-pass'"),
        ({"scale": float("nan")}, "scale is nan"),
        ({}, "q, k and v are on 'cpu'"),
    ],
)
def test_inputs_that_cannot_be_used(changed: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(InputError, match=message):
        attention(**(GOOD | changed))


def test_outputs_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    for out in (ones(2, 3, 5, 8), ones(2, 3, 5, 6, dtype=torch.bfloat16), "out"):
        with pytest.raises(InputError, match="out is"):
            attention(**GOOD, out=out)


def test_importing_compiles_nothing() -> None:
    code = "import sys, kernels.gpu; print([m for m in ('torch', 'triton') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_cascades_are_those_of_the_cpu() -> None:
    from kernels.cpu.attention import CASCADES as ON_CPU

    assert set(CASCADES) == set(ON_CPU)
