"""The points of a sweep: order, samples, and that each is found from its index alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from einsum_cascades.errors import InputError
from einsum_cascades.yaml_source import parse_yaml
from fusemax.sweep.axes import read_axis
from fusemax.sweep.conditions import Names
from fusemax.sweep.points import point_columns
from fusemax.sweep.space import Sweep
from fusemax.sweep.spec import parse_sweep

HEAD = "axes:\n  cascade: attention-1-pass\n  arch: fusemax-cloud\n  mapper: fusemax-interleaved\n  model: BERT\n"


def rows(sweep: Sweep, start: int, stop: int, *names: str) -> list[tuple[Any, ...]]:
    columns = []
    for name in names:
        column = point_columns(sweep, start, stop)[name]
        columns.append([column.values[c] for c in column.codes] if isinstance(column, Names) else column.tolist())
    return list(zip(*columns, strict=True))


def values(form: str, axis: str = "seq_len", tail: str = "") -> list[Any]:
    sweep = parse_sweep(HEAD + ("" if axis == "seq_len" else "  seq_len: 64\n") + f"  {axis}: {form}\n{tail}")
    return [v for (v,) in rows(sweep, 0, sweep.points, axis)]


def test_the_last_axis_varies_fastest() -> None:
    sweep = parse_sweep(HEAD + "  seq_len: [16, 32]\n  batch: [1, 2, 3]\n  global_buffer.bytes: [1MiB, 2MiB]\n")
    expected = [(s, b, g * 2**20) for s in (16, 32) for b in (1, 2, 3) for g in (1, 2)]
    assert rows(sweep, 0, 12, "seq_len", "batch", "global_buffer.bytes") == expected


def test_zipped_axes_move_together_where_the_first_stands() -> None:
    text = HEAD + "  seq_len: [16, 32]\n  batch: [1, 2, 3]\n  kv_len: [64, 128]\nzip:\n  - [seq_len, kv_len]\n"
    expected = [(s, b, 4 * s) for s in (16, 32) for b in (1, 2, 3)]
    assert rows(parse_sweep(text), 0, 6, "seq_len", "batch", "kv_len") == expected


def test_zipped_samples_share_a_coordinate() -> None:
    text = HEAD + (
        "  seq_len: 16\n  array_2d.rows: {range: [8, 512], multiple_of: 8}\n"
        "  array_2d.columns: {range: [8, 512], multiple_of: 8}\nzip:\n  - [array_2d.rows, array_2d.columns]\n"
        "samples: {sobol: 64, seed: 3}\n"
    )
    found = rows(parse_sweep(text), 0, 64, "array_2d.rows", "array_2d.columns")
    assert all(a == b for a, b in found)
    assert len(set(found)) == 64


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("{range: [1, 10, 3]}", [1, 4, 7, 10]),
        ("{range: [1, 9, 3]}", [1, 4, 7]),
        ("{range: [5, 7]}", [5, 6, 7]),
        ("{range: [5, 30], multiple_of: 8}", [8, 16, 24]),
        ("{log_range: [1, 1000, 4]}", [1, 10, 100, 1000]),
        ("{log_range: [1024, 2**20], factor: 4}", [4**n for n in range(5, 11)]),
        ("{log_range: [100, 1000, 4], multiple_of: 64}", [128, 192, 448, 1024]),
        ("{values: [3, 1, 2]}", [3, 1, 2]),
        ("2**10", [1024]),
    ],
)
def test_forms_of_an_axis(form: str, expected: list[int]) -> None:
    assert values(form) == expected


def test_forms_of_an_axis_of_numbers() -> None:
    assert values("{range: [1e9, 2e9, 5e8]}", "frequency_hz") == [1e9, 1.5e9, 2e9]
    assert values("{range: [0.1e9, 0.3e9, 0.1e9]}", "frequency_hz") == pytest.approx([1e8, 2e8, 3e8])
    assert values("{log_range: [1e9, 1e11, 3]}", "frequency_hz") == pytest.approx([1e9, 1e10, 1e11])
    assert values("400GiB", "dram.bandwidth_bytes_per_s") == [400 * 2**30]


@given(st.integers(1, 2**50), st.integers(1, 2**50), st.integers(1, 9))
def test_whole_numbers_evenly_spaced_by_ratio_are_exact(one: int, other: int, count: int) -> None:
    """The exact value x has x^(n-1) = start^(n-1-i) stop^i, and is at most half from the whole number."""
    start, stop = sorted((one, other))
    exact = []
    for i in range(count):
        power = start ** (count - 1 - i) * stop**i if count > 1 else start
        x = round(power ** (1 / max(1, count - 1)))
        while (2 * x - 1) ** max(1, count - 1) > power * 2 ** max(1, count - 1):
            x -= 1
        while (2 * x + 1) ** max(1, count - 1) < power * 2 ** max(1, count - 1):
            x += 1
        exact.append(x)
    axis = read_axis("seq_len", "whole", parse_yaml(f"{{log_range: [{start}, {stop}, {count}]}}"), False)
    assert list(axis.extremes) == list(dict.fromkeys(exact))


def test_powers_of_a_factor_are_exact() -> None:
    assert values("{log_range: [1, 2**50], factor: 3}") == [3**n for n in range(32)]
    assert values("{log_range: [2**49, 2**50], factor: 1.5}") == [2**49, 2**48 * 3]


NUMBERS = [
    ("1" + "0" * 400, "'frequency_hz' is '10000"),
    ("{range: [1, 1e18, 1e-320]}", "a step of 9.99989e-321 does not change 1e[+]18"),
    ("{range: [1, 1e3, 1e-20]}", "a step of 1e-20 does not change 1000"),
    ("{range: [1, 2, 5e-16]}", "these are 2.50 values or more"),
    ("{range: [1, 2, 1" + "0" * 400 + "]}", "a number from -1e[+]18 to 1e[+]18 is expected"),
    ("{range: [1e-320, 2e-320, 1e-323]}", "a number from 1e-18 to 1e[+]18"),
    ("{range: [1, .inf, 1]}", "'frequency_hz' is a number, found '.inf'"),
    ("{range: [1, 2, .nan]}", "'frequency_hz' is a number, found '.nan'"),
    ("{range: [1, 2, -1]}", "the step is -1"),
    ("{range: [1, 2, true]}", "is a number, found 'true'"),
    ("{log_range: [1, 2, 1e18]}", "more than 1000000"),
    ("{log_range: [1, 2], factor: 1.0000000000000002}", "more than 1000000"),
    ("{log_range: [1, 2], factor: 1" + "0" * 400 + "}", "expected a finite number"),
    ("{random: [1, 2, 1" + "0" * 400 + "]}", "a number from -1e[+]18"),
]


@pytest.mark.parametrize(("form", "message"), NUMBERS)
@pytest.mark.parametrize("axis", ["frequency_hz", "seq_len"])
def test_numbers_beyond_what_there_is(form: str, message: str, axis: str) -> None:
    with pytest.raises(InputError, match=message if axis == "frequency_hz" else None):
        values(form, axis)


def test_random_values_of_an_axis() -> None:
    drawn = values("{random: [64, 4096, 50], scale: log, multiple_of: 16, seed: 5}")
    assert drawn == values("{random: [64, 4096, 50], scale: log, multiple_of: 16, seed: 5}")
    assert drawn != values("{random: [64, 4096, 50], scale: log, multiple_of: 16, seed: 6}")
    assert all(64 <= v <= 4096 and v % 16 == 0 for v in drawn)


@pytest.mark.parametrize("method", ["sobol", "random"])
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**63 - 1), start=st.integers(0, 900), length=st.integers(0, 100))
def test_a_part_is_a_part_of_the_whole(method: str, seed: int, start: int, length: int) -> None:
    text = HEAD + (
        "  seq_len: {log_range: [64, 2**20], multiple_of: 64}\n  batch: [1, 2, 4]\n"
        f"  frequency_hz: {{range: [1e8, 1e10]}}\nsamples: {{{method}: 1000, seed: {seed}}}\n"
    )
    sweep = parse_sweep(text)
    names = ("seq_len", "batch", "frequency_hz")
    assert rows(sweep, start, start + length, *names) == rows(sweep, 0, 1000, *names)[start : start + length]


@pytest.mark.parametrize("method", ["sobol", "random"])
def test_samples_fill_the_space_evenly(method: str) -> None:
    tail = f"samples: {{{method}: 4096, seed: 11}}\n"
    even = np.asarray(values("{range: [1, 16]}", tail=tail))
    counts = np.bincount(even, minlength=17)[1:]
    assert counts.sum() == 4096
    assert np.abs(counts / 256 - 1).max() < (0.01 if method == "sobol" else 0.3)
    chosen = np.bincount(values("[1, 2, 3]", tail=tail), minlength=4)[1:]
    assert np.abs(chosen * 3 / 4096 - 1).max() < (0.01 if method == "sobol" else 0.15)


def test_sobol_points_are_those_of_the_sequence() -> None:
    """Up to the shift: the exclusive or of two points is that of the sequence's."""
    from scipy.stats import qmc

    from fusemax.sweep.sampling import BITS, sobol

    plain = (qmc.Sobol(3, scramble=False, bits=BITS).random(64) * 2.0**BITS).astype(np.int64).T
    ours = (sobol(9, ["a", "b", "c"], 0, 64) * 2.0**BITS).astype(np.int64)
    assert ((ours ^ ours[:, :1]) == (plain ^ plain[:, :1])).all()


def test_too_many_sobol_points() -> None:
    with pytest.raises(InputError, match="expected at most"):
        parse_sweep(HEAD + "  seq_len: 64\nsamples: {sobol: 2147483648}\n")
