"""What a call of a generated kernel says of inputs that it cannot use; no GPU is needed to say so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from custom_attention import softmax

from einsum_cascades import load_cascade
from einsum_cascades.errors import InputError

torch: Any = pytest.importorskip("torch")

from kernels.gpu import attention, compiled  # noqa: E402
from kernels.gpu.configurations import Configuration  # noqa: E402


def ones(*size: int, dtype: Any = torch.float16) -> Any:
    return torch.ones(size, dtype=dtype)


GOOD = {"Q": ones(2, 3, 5, 8), "K": ones(2, 3, 7, 8), "V": ones(2, 3, 7, 6), "SLOPE": 0.5}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"Q": None}, "Q is NoneType"),
        ({"Q": ones(2, 3, 5, 9)}, "Q and K disagree on E"),
        ({"V": ones(2, 3, 9, 6)}, "K and V disagree on M"),
        ({"V": ones(2, 7, 6)}, "leading axes disagree"),
        ({"K": ones(2, 3, 7, 8, dtype=torch.bfloat16)}, "types disagree"),
        ({"SLOPE": "steep"}, "input SLOPE is str"),
        ({"SLOPE": ones(4)}, r"input SLOPE has shape \(4,\)"),
        ({"SLOPE": ones(3, 2, 3)}, r"input SLOPE has shape \(3, 2, 3\)"),
        ({"SLOPE": ones(3, dtype=torch.complex64)}, "input SLOPE holds values of type torch.complex64"),
        ({"SLOPE": 10**400}, "input SLOPE is too large"),
        ({"SLOPE": np.array(["steep"])}, "input SLOPE holds values of type <U5"),
        ({"SLOPES": 1.0}, "unknown input 'SLOPES'"),
        ({}, "Q, K and V are on 'cpu'"),
    ],
)
def test_inputs_that_cannot_be_used(changed: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1" if changed else "0")
    with pytest.raises(InputError, match=message):
        compiled(load_cascade("attention-alibi"))(GOOD | changed)


def test_inputs_that_are_missing() -> None:
    with pytest.raises(InputError, match="input SLOPE is missing") as caught:
        compiled(load_cascade("attention-alibi"))({name: x for name, x in GOOD.items() if name != "SLOPE"})
    assert "V [..., M, F], SLOPE [...]" in str(caught.value)
    with pytest.raises(InputError, match="scale is inf"):
        compiled(load_cascade("attention-alibi"))(GOOD, scale=float("inf"))
    with pytest.raises(InputError, match="unknown dialect"):
        compiled(load_cascade("attention-alibi")).source("ptx")


def test_inputs_are_named_with_their_ranks() -> None:
    kernel = compiled(load_cascade("attention-1-pass"))
    assert kernel.inputs == {"Q": ("P", "E"), "K": ("M", "E"), "V": ("M", "F")}


def test_inputs_that_change_nothing_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    kernel = compiled(softmax("shifted", "QK[m, p] + T[p]", ", T: [P]"))
    assert (list(kernel.inputs), kernel.unread) == (["Q", "K", "V"], {"T"})
    given = {name: GOOD[name] for name in "QKV"} | {"T": ones(5)}
    with pytest.raises(InputError, match="are on 'cpu'"):
        kernel(given)
    with pytest.raises(InputError, match="unknown input 'U'"):
        kernel(given | {"U": 1.0})


@pytest.mark.parametrize("scale", ["1", None, 1j, 10**400, torch.tensor(0.5)])
def test_scales_that_are_no_numbers(scale: Any) -> None:
    with pytest.raises(InputError, match="scale is"):
        compiled(load_cascade("attention-alibi"))(GOOD, scale=scale)
    with pytest.raises(InputError, match="scale is"):
        attention(GOOD["Q"], GOOD["K"], GOOD["V"], scale=scale)


@pytest.mark.parametrize("cascade", ["attention-alibi", "attention-differential"])
def test_kernels_of_other_cascades_are_refused(cascade: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    kernel = compiled(load_cascade(cascade))
    matrices = {n: ones(2, 3, 5, 8) if r[0] == "P" else ones(2, 3, 7, 8) for n, r in kernel.inputs.items() if r}
    given = dict.fromkeys(kernel.inputs, 0.5) | matrices
    for name in ("two_pass", "nosuch", *["split_keys"] * (cascade == "attention-differential")):
        with pytest.raises(InputError, match=f"unknown kernel of the configuration '{name}'"):
            kernel(given, configuration=Configuration(name, 16, 16, 4, 1))


@pytest.mark.parametrize(("cascade", "kernel"), [("attention-2-pass", "one_pass"), ("attention-1-pass", "three_pass")])
def test_kernels_of_other_passes_are_refused(cascade: str, kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    with pytest.raises(InputError, match="unknown kernel of the configuration"):
        attention(*(GOOD[n] for n in "QKV"), cascade=cascade, configuration=Configuration(kernel, 16, 16, 4, 1))
