"""What is recorded of a function and done again gives what the function gives, to the bit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from einsum_cascades.errors import InputError
from einsum_cascades.loops.arith import UnlikeError, alike, anywhere, apart, chosen, everywhere, least, most, steps
from fusemax.sweep import group
from fusemax.sweep.evaluate import evaluate_points
from fusemax.sweep.replay import Found, Replay, Replays
from fusemax.sweep.spec import parse_sweep

MACHINE = """
  array_2d.rows: {range: [16, 512], multiple_of: 1}
  array_2d.columns: {range: [16, 512], multiple_of: 1}
  array_1d.columns: {range: [16, 512], multiple_of: 1}
  global_buffer.bytes: {log_range: [1MiB, 64MiB], multiple_of: 64}
  frequency_hz: {log_range: [5e8, 2e9]}
"""


def _apart(a: Any, b: Any) -> Any:
    distinct, which = np.unique(a, return_inverse=True)
    return distinct[which] // b


def _halves(a: Any) -> Any:
    return a // 2, a - a // 2


def formulae(columns: Mapping[str, Any]) -> Found:
    """A function with all that formulae of sweeps do."""
    a, b = columns["a"], columns["b"]
    found = {"steps": steps(a, b), "again": steps(a, b) + 1, "same": 7, "real": a.astype(float) / b}
    if anywhere(a > 90):
        found["steps"] = found["steps"] + least(a, b) * most(a, 3)
    if alike(b == 1):
        found["one"] = a * 2
    found["chosen"] = chosen(a > b, a, b) * (a != b)
    found["apart"] = apart(_apart, a, b)
    found["low"], (_, found["high"]) = apart(_halves, a)[0], apart(_halves, a)
    if everywhere(a == 50):
        raise InputError("fifty")
    return found, "said"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.tuples(st.integers(1, 100), st.integers(1, 3)), min_size=1, max_size=40), max_size=8))
def test_programs_are_their_function(blocks: list[list[tuple[int, int]]]) -> None:
    replay = Replay(formulae)
    for block in blocks:
        columns = {name: np.asarray(values) for name, values in zip("ab", zip(*block, strict=True), strict=True)}
        try:
            wanted, said = formulae(columns)
        except (InputError, UnlikeError) as error:
            with pytest.raises(type(error)) as raised:
                replay(columns)
            if isinstance(raised.value, UnlikeError):
                assert (raised.value.condition == (columns["b"] == 1)).all()
            continue
        found, also = replay(columns)
        assert (said, found.keys()) == (also, wanted.keys())
        for name, value in wanted.items():
            assert np.array_equal(found[name], value), name
            assert np.asarray(found[name]).dtype == np.asarray(value).dtype, name


def test_each_operation_is_done_once() -> None:
    replay = Replay(formulae)
    columns = {"a": np.arange(1, 90), "b": np.full(89, 2)}
    replay(columns)
    replay({"a": columns["a"] + 1, "b": columns["b"]})
    (program,) = replay.programs
    divisions = [step for step in program.steps if getattr(step, "operation", None) is np.floor_divide]
    assert len(divisions) == 1


def test_what_cannot_be_written_down_is_refused() -> None:
    for function in (
        lambda columns: ({"x": np.asarray(columns["a"])}, None),
        lambda columns: ({"x": int(columns["a"])}, None),
        lambda columns: ({"x": np.sort(columns["a"])}, None),
        lambda columns: ({"x": {columns["a"]: 1}}, None),
    ):
        with pytest.raises(TypeError):
            Replay(function)({"a": np.arange(3)})


@pytest.mark.parametrize(
    ("accounting", "cascade"),
    [
        ("published", "attention-1-pass"),
        pytest.param("published", "attention-2-pass", marks=pytest.mark.slow),
        pytest.param("physical", "attention-1-pass", marks=pytest.mark.slow),
        pytest.param("physical", "attention-2-pass", marks=pytest.mark.slow),
    ],
)
def test_sweeps_are_the_same_recorded_or_not(cascade: str, accounting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    axes = f"  cascade: {cascade}\n  arch: fusemax-cloud\n  mapper: [fusemax-serial, fusemax-interleaved]\n"
    axes += f"  accounting: {accounting}\n  model: BERT\n  seq_len: {{log_range: [1024, 2**20], multiple_of: 1}}"
    sweep = parse_sweep(f"axes:\n{axes}{MACHINE}samples: {{sobol: 300, seed: 5}}\n")
    monkeypatch.setattr(group, "BLOCK", 150)
    recorded = [evaluate_points(sweep, 0, sweep.points) for _ in range(2)]
    monkeypatch.setattr(Replays, "of", lambda self, key, function, many: function)
    direct = evaluate_points(sweep, 0, sweep.points).to_pylist()
    assert [table.to_pylist() for table in recorded] == [direct, direct]
