"""Numbers, names and other values that no function of ``fusemax`` can use: each is refused, nothing hangs or is NaN."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusemax
from fusemax import InputError

BAD = [10**400, -(10**400), float("inf"), float("nan"), 5e-324, 1e300, -1, 0, True, "12x", b"1", [1], np.array([1, 2])]
NAMES = [*BAD, "no such name", "x" * 5000]
ONES = np.ones((1, 4, 8), np.float32)
SIZES = {"E": 8, "F": 8, "M": 16, "P": 16}


def evaluate(**given: Any) -> object:
    return fusemax.evaluate("attention-1-pass", "fusemax-cloud", "fusemax-interleaved", **given)


def analyze(**given: Any) -> object:
    return fusemax.analyze("attention-3-pass", **{"sizes": SIZES, **given})


NUMBERS: dict[str, Callable[[Any], object]] = {
    "seq_len": lambda bad: evaluate(model="BERT", seq_len=bad),
    "kv_len": lambda bad: evaluate(model="BERT", seq_len=64, kv_len=bad),
    "batch": lambda bad: evaluate(model="BERT", seq_len=64, batch=bad),
    "heads": lambda bad: evaluate(heads=bad, head_dim=64, seq_len=64),
    "head_dim": lambda bad: evaluate(heads=2, head_dim=bad, seq_len=64),
    "value_dim": lambda bad: evaluate(heads=2, head_dim=64, seq_len=64, value_dim=bad),
    "a rank": lambda bad: evaluate(model="BERT", seq_len=64, sizes={"E": bad}),
    "a rate": lambda bad: evaluate(model="BERT", seq_len=64, set_arch=[f"frequency_hz={bad}"]),
    "Workload": lambda bad: fusemax.Workload((("P", bad),)),
    "Workload.batch": lambda bad: fusemax.Workload((("P", 4),), batch=bad),
    "Model.attention": lambda bad: fusemax.load_model("BERT").attention(bad),
    "Model.linear_layers": lambda bad: fusemax.load_model("BERT").linear_layers(bad),
    "bytes": lambda bad: fusemax.memory_cost(bytes=bad, width_bits=1024, extrapolate=True),
    "width_bits": lambda bad: fusemax.memory_cost(bytes=2**20, width_bits=bad, extrapolate=True),
    "ports": lambda bad: fusemax.memory_cost(bytes=2**20, width_bits=1024, ports=bad, extrapolate=True),
    "technology_nm": lambda bad: fusemax.memory_cost(bytes=2**20, width_bits=1024, technology_nm=bad),
    "instances": lambda bad: analyze(instances=bad),
    "value_bytes": lambda bad: analyze(value_bytes=bad),
    "buffer_bytes": lambda bad: analyze(buffer_bytes=bad),
    "a size": lambda bad: analyze(sizes={**SIZES, "M": bad}, buffer_bytes=64),
    "threads": lambda bad: fusemax.attention(ONES, ONES, ONES, threads=bad),
}
CHOICES: dict[str, Callable[[Any], object]] = {
    "accounting": lambda bad: evaluate(model="BERT", seq_len=64, accounting=bad),
    "dtype": lambda bad: evaluate(model="BERT", seq_len=64, dtype=bad),
    "mapper": lambda bad: fusemax.evaluate("attention-1-pass", "fusemax-cloud", bad, model="BERT", seq_len=64),
    "set_arch": lambda bad: evaluate(model="BERT", seq_len=64, set_arch=[bad]),
    "sizes": lambda bad: evaluate(model="BERT", seq_len=64, sizes=bad),
    "rank": lambda bad: analyze(rank=bad),
    "kind": lambda bad: fusemax.memory_cost(bad, bytes=2**20, width_bits=1024),
    "table": lambda bad: fusemax.memory_cost(bytes=2**20, width_bits=1024, table=bad),
    "cascade": lambda bad: fusemax.attention(ONES, ONES, ONES, cascade=bad),
    "reproduce": fusemax.reproduce,
    "predict": fusemax.predict_measured,
}

NO_CASCADES = [5, None, "attention-3-pass", b"x", [], {}, 3.5, object(), ("a",)]
CASCADES: dict[str, Callable[[Any], object]] = {
    "derive": fusemax.derive,
    "interpret": lambda bad: fusemax.interpret(bad, {}),
    "compile_cascade": fusemax.compile_cascade,
    "is_isomorphic": lambda bad: fusemax.is_isomorphic(fusemax.load_cascade("attention-3-pass"), bad),
    "overflow_risks": fusemax.overflow_risks,
}


@pytest.mark.parametrize("what", CASCADES)
def test_values_that_are_no_cascade(what: str) -> None:
    for bad in NO_CASCADES:
        with pytest.raises(InputError, match="the cascade is ") as caught:
            CASCADES[what](bad)
        assert "load_cascade" in str(caught.value)


def test_values_of_another_kind() -> None:
    cascade = fusemax.load_cascade("attention-3-pass")
    for bad in (5, None, b"x", 3.5, object()):
        for refuses in (
            fusemax.load_cascade,
            fusemax.parse_cascade,
            fusemax.study_path,
            fusemax.pareto_front,
            lambda bad: fusemax.run_sweep(bad, "never-made"),
            lambda bad: fusemax.interpret(cascade, bad),
            lambda bad: fusemax.compile_cascade(cascade, outputs=(bad,)),
        ):
            with pytest.raises(InputError):
                refuses(bad)
    with pytest.raises(InputError, match="outputs is 'AV'"):
        fusemax.compile_cascade(cascade, outputs="AV")


@pytest.mark.parametrize("what", NUMBERS)
def test_bad_numbers(what: str) -> None:
    for bad in BAD:
        with pytest.raises(InputError) as caught:
            NUMBERS[what](bad)
        assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("what", CHOICES)
def test_names_that_are_none(what: str) -> None:
    for bad in NAMES:
        with pytest.raises(InputError) as caught:
            CHOICES[what](bad)
        assert len(str(caught.value)) < 1000


def test_scales_are_finite() -> None:
    for bad in (10**400, float("inf"), float("nan"), 1e300, True, "12", [1], np.array([1, 2])):
        with pytest.raises(InputError, match="scale is "):
            fusemax.attention(ONES, ONES, ONES, scale=bad)


def test_numpy_numbers_are_numbers() -> None:
    plain = fusemax.evaluate("attention-1-pass", "fusemax-cloud", "fusemax-interleaved", model="BERT", seq_len=1024)
    other = evaluate(model="BERT", seq_len=np.int64(1024), batch=np.uint8(64))
    assert isinstance(other, fusemax.Evaluation)
    assert other.cost == plain.cost
    assert all(type(size) is int for _, size in other.workload.sizes)
