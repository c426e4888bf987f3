"""``fusemax measure cpu``: recorded and own measurements beside the model, and what is refused. Nothing long runs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from plain_cpu import plain_cpu
from typer.testing import CliRunner, Result

import fusemax.measurement
from fusemax.cli import app
from fusemax.evaluation import evaluate
from hw_models.cpu.file import cpu_text
from hw_models.load import load_machine
from kernels.measure.environment import same_device, short_name
from kernels.measure.shapes import SHAPES, Shape
from kernels.measure.table import COLUMNS, Measurement, format_table, read_table

runner = CliRunner(env={"COLUMNS": "160", "NO_COLOR": "1"})


def row(kernel: str = "attention-1-pass", shape: Shape = SHAPES[0], seconds: float = 1e-3) -> Measurement:
    sizes = (shape.batch, shape.heads, shape.q_len, shape.kv_len, shape.head_dim, shape.causal)
    cascade = kernel if kernel.startswith("attention") else ""
    return Measurement("CPU", kernel, cascade, "float32", *sizes, seconds, seconds / 2, 5, "numpy 2", "2026-01-02")


def run(*arguments: object) -> Result:
    return runner.invoke(app, ["measure", "cpu", *map(str, arguments)])


def numbers(*arguments: object) -> dict[str, Any]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    data: dict[str, Any] = json.loads(result.stdout)
    return data


def refused(*arguments: object) -> str:
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    return result.stderr


@pytest.fixture(autouse=True)
def nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a measurement fail, unless a test replaces it."""

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("this was to run nothing")

    monkeypatch.setattr(fusemax.measurement, "measure_cpu", fail)


def test_compare_alone_reads_what_was_recorded() -> None:
    data = numbers("--compare")
    assert (
        len({(r["batch"], r["heads"], r["q_len"], r["kv_len"], r["head_dim"], r["causal"]) for r in data["rows"]}) == 12
    )
    assert set(data["errors"]) == {
        "attention-1-pass",
        "attention-2-pass",
        "attention-3-pass",
        "attention-3-pass-deferred",
    }
    ratios = [r["ratio"] for r in data["rows"] if r["ratio"] is not None]
    assert data["mean_absolute_error"] == pytest.approx(sum(abs(x - 1) for x in ratios) / len(ratios))
    shown = run("--compare").stdout
    assert "mean absolute error" in shown
    assert "largest error" in shown


def test_a_table_of_ones_own(tmp_path: Path) -> None:
    shape = Shape(2, 3, 256, 512, 64, causal=True)
    table = tmp_path / "mine.csv"
    table.write_bytes(format_table([row(shape=shape), row("flash", shape)]))
    ours, others = numbers("--compare", "--against", table)["rows"]
    expected = evaluate(
        *("attention-1-pass", "cpu", "cpu-tiles"),
        batch=2,
        heads=3,
        seq_len=256,
        kv_len=512,
        head_dim=64,
        causal=True,
    ).cost.latency_s
    assert set(COLUMNS) <= set(ours)
    assert ours["predicted_s"] == expected
    assert ours["ratio"] == pytest.approx(expected / 1e-3)
    assert (others["predicted_s"], others["ratio"]) == (None, None)
    machine = load_machine("cpu")
    peak = fusemax.measurement.product_flops_per_s(machine)  # type: ignore[arg-type]
    assert others["product_share"] == pytest.approx(shape.flops / 1e-3 / peak)


def test_a_machine_of_ones_own(tmp_path: Path) -> None:
    table, arch = tmp_path / "mine.csv", tmp_path / "machine.yaml"
    table.write_bytes(format_table([row()]))
    arch.write_text(cpu_text(plain_cpu()))
    data = numbers("--compare", "--against", table, "--arch", arch)
    assert (data["arch"], data["threads"], data["product_flops_per_s"]) == ("plain", 2, 4e9)
    assert data["rows"][0]["predicted_s"] > SHAPES[0].flops / 4e9


def test_a_run_is_written_and_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = replace(plain_cpu(), measured="here")
    monkeypatch.setattr(fusemax.measurement, "measure_cpu", lambda *_, **__: (machine, (row(), row("math"))))
    out, arch = tmp_path / "new" / "rows.csv", tmp_path / "machine.yaml"
    result = run("--out", out, "--arch-out", arch)
    assert result.exit_code == 0, result.output
    assert "attention-1-pass" in result.stdout
    assert "here; 2 threads" in result.stdout
    assert read_table(out) == (row(), row("math"))
    assert load_machine(str(arch)) == machine
    again = numbers("--compare", "--against", out, "--arch", arch)
    assert again == numbers("--out", out)


DAMAGED = {
    "empty": ("", "the table is empty"),
    "cut short": (format_table([row()]).decode()[:-3], "cut short"),
    "other columns": ("a,b\n1,2\n", "unknown column 'a'"),
    "no numbers": (format_table([row()]).decode().replace("0.001", "soon"), "'soon' in column 'median_s'"),
    "an unknown cascade": (
        format_table([replace(row(), cascade="attention-0-pass")]).decode(),
        "unknown cascade of the table 'attention-0-pass'",
    ),
    "another type": (format_table([replace(row(), dtype="float16")]).decode(), "values of type 'float16'"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_tables(tmp_path: Path, case: str) -> None:
    text, message = DAMAGED[case]
    path = tmp_path / "mine.csv"
    path.write_text(text)
    assert message in refused("--compare", "--against", path)


def test_options_that_do_not_go_together(tmp_path: Path) -> None:
    table = tmp_path / "mine.csv"
    table.write_bytes(format_table([row()]))
    for arguments, message in (
        (("--against", table), "without --compare"),
        (("--compare", "--against", table, "--out", tmp_path / "x.csv"), "beside --out"),
        (("--compare", "--threads", 2), "--compare alone runs nothing"),
        (("--compare", "--quick"), "--compare alone runs nothing"),
        (("--compare", "--against", tmp_path / "none.csv"), "no such file"),
        (("--out", tmp_path), "is a folder, not a file"),
        (("--out", table / "x.csv"), "is a file, not a folder"),
        (("--compare", "--arch", "flat-cloud"), "is a spatial-array, not a CPU"),
        (("--compare", "--arch", "cpx"), "unknown architecture 'cpx'"),
        (("--threads", "many"), "no size"),
    ):
        assert message in " ".join(refused(*arguments).replace("│", " ").split())


def test_a_group_of_commands() -> None:
    assert "cpu" in runner.invoke(app, ["measure", "--help"]).stdout
    assert runner.invoke(app, ["measure", "tpu"]).exit_code == 2
    assert "--json" in runner.invoke(app, ["measure", "cpu", "--help"]).stdout


def test_rows_of_another_processor_are_said_to_be_so(tmp_path: Path) -> None:
    table = tmp_path / "rows.csv"
    table.write_bytes(format_table([replace(row(), device="Intel(R) Xeon(R) Gold 6430 CPU @ 2.10GHz")]))
    result = run("--compare", "--against", table)
    assert result.exit_code == 0
    assert result.stderr.startswith("warning: measured on Intel(R) Xeon(R) Gold 6430 CPU @ 2.10GHz, predicted for cpu")
    (warning,) = numbers("--compare", "--against", table)["warnings"]
    assert f"warning: {warning}\n" == result.stderr
    machine = tmp_path / "mine.yaml"
    machine.write_text(cpu_text(replace(plain_cpu(), title="Intel Xeon Gold 6430")))
    same = run("--compare", "--against", table, "--arch", machine)
    assert (same.exit_code, same.stderr) == (0, "")
    assert run("--compare").stderr == ""


@pytest.mark.parametrize(
    ("device", "name"),
    [
        ("AMD EPYC", "amd-epyc"),
        ("Intel(R) Xeon(R) Gold 6430 CPU @ 2.10GHz", "intel-xeon-gold-6430"),
        ("AMD Ryzen 9 7950X 16-Core Processor", "amd-ryzen-9-7950x-16-core"),
        ("NVIDIA H100 80GB HBM3", "nvidia-h100-80gb-hbm3"),
        ("???", "unknown"),
    ],
)
def test_a_machine_bears_its_processors_name(device: str, name: str) -> None:
    assert short_name(device) == name
    assert same_device(device, name)
    assert not same_device(device, "Some Other 1")
