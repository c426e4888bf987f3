"""``fusemax measure gpu --custom`` without a GPU: recorded times, their ratios, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from math import prod
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import fusemax.cli.measure_gpu
from fusemax.cli import app
from kernels.measure.gpu_custom import VARIANTS, against_flex, against_plain
from kernels.measure.table import FOLDER, format_table, read_table

runner = CliRunner(env={"COLUMNS": "160", "NO_COLOR": "1"})
RECORDED = FOLDER / "h100-custom.csv"
FLEXIBLE = [variant.cascade for variant in VARIANTS if variant.flexible]


def run(*arguments: object) -> Result:
    return runner.invoke(app, ["measure", "gpu", "--custom", *map(str, arguments)])


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fusemax.cli.measure_gpu, "_has_gpu", lambda: False)


def test_recorded_kernels_are_at_least_as_fast_as_flexattention() -> None:
    result = run("--compare", "--json")
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    rows = read_table(RECORDED)
    assert len(data["rows"]) >= len(rows)
    assert {row.head_dim for row in rows} == {64, 128}
    assert {row.kv_len for row in rows} == {2048, 4096, 16384}
    for cascade in FLEXIBLE:
        times = {
            kernel: [r.median_s for r in rows if (r.cascade, r.kernel) == (cascade, kernel)]
            for kernel in ("generated", "flex")
        }
        assert len(times["flex"]) == len(times["generated"]) == 6
        mean = (prod(times["flex"]) / prod(times["generated"])) ** (1 / 6)
        assert against_flex(rows)[cascade] == pytest.approx(mean)
        assert mean >= 1.0
    assert set(against_flex(rows)) == set(FLEXIBLE)
    assert all(ratio >= 0.8 for ratio in against_plain(rows).values())
    assert set(against_plain(rows)) == {"attention-sigmoid", "attention-differential"}


def test_predictions_stand_beside_them() -> None:
    data = json.loads(run("--compare", "--json").stdout)
    own = [row for row in data["rows"] if row["kernel"] == "generated"]
    errors = [abs(row["predicted_s"] / row["median_s"] - 1) for row in own]
    assert data["mean_absolute_error"] == pytest.approx(sum(errors) / len(errors))
    assert data["mean_absolute_error"] < 0.12
    assert all(row["predicted_s"] is None for row in data["rows"] if row["kernel"] == "flex")


def test_a_device_that_no_file_names_has_no_prediction(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_bytes(format_table([replace(row, device="Some GPU") for row in read_table(RECORDED)]))
    result = run("--compare", "--against", path)
    assert result.exit_code == 0, result.output
    assert "mean absolute error" not in result.stdout


def test_two_pairs_of_queries_and_keys_count_twice() -> None:
    plain, *_ = read_table(RECORDED)
    rows = [
        replace(plain, cascade="attention-1-pass", median_s=1.0),
        replace(plain, cascade="attention-differential", median_s=2.0),
    ]
    assert against_plain(rows) == {"attention-differential": 1.0}


def test_the_table_shows_both(tmp_path: Path) -> None:
    table = tmp_path / "own.csv"
    table.write_bytes(format_table(read_table(RECORDED)[:4]))
    result = run("--compare", "--against", table)
    assert result.exit_code == 0, result.output
    assert "8x16 2048x2048 64" in result.stdout
    assert "attention-causal: FlexAttention takes" in result.stdout


def test_what_does_not_go_together(tmp_path: Path) -> None:
    cpu = tmp_path / "cpu.csv"
    cpu.write_bytes((FOLDER / "cpu.csv").read_bytes())
    for arguments, message in (
        (("--compare", "--plot", tmp_path / "rates"), "--custom goes with"),
        (("--compare", "--arch", "h100"), "--custom goes with"),
        (("--compare", "--against", cpu), "is no table of custom attention"),
        ((), "there is no GPU to measure"),
    ):
        result = run(*arguments)
        assert result.exit_code == 2, result.output
        assert message in " ".join(result.stderr.replace("│", " ").split())
