"""``fusemax measure gpu`` without a GPU: recorded and own measurements beside the model, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import fusemax.cli.measure_gpu
import fusemax.gpu_comparison
import kernels.measure.gpu
import kernels.measure.gpu_micro
from fusemax.cli import app
from fusemax.evaluation import evaluate
from fusemax.gpu_comparison import named_for
from fusemax.gpu_figures import read_figures
from hw_models.gpu.machine import Gpu
from hw_models.load import load_machine
from kernels.measure.gpu_micro import Figure
from kernels.measure.shapes import Shape
from kernels.measure.table import COLUMNS, FOLDER, Measurement, format_table, read_table

runner = CliRunner(env={"COLUMNS": "160", "NO_COLOR": "1"})
SHAPE = Shape(1, 16, 4096, 4096, 128)
BACKENDS = ("flash", "cudnn", "efficient", "math")
PASSES = ("1-pass", "2-pass", "3-pass-deferred", "3-pass")


def row(kernel: str = "attention-1-pass", shape: Shape = SHAPE, seconds: float = 1e-3) -> Measurement:
    sizes = (shape.batch, shape.heads, shape.q_len, shape.kv_len, shape.head_dim, shape.causal)
    cascade = kernel if kernel.startswith("attention") else ""
    return Measurement("NVIDIA H200", kernel, cascade, "bfloat16", *sizes, seconds, seconds, 5, "torch 2", "2026-01-02")


def run(*arguments: object) -> Result:
    return runner.invoke(app, ["measure", "gpu", *map(str, arguments)])


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
    return " ".join(result.stderr.replace("│", " ").split())


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fusemax.cli.measure_gpu, "_has_gpu", lambda: False)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "mine.csv"
    path.write_bytes(format_table([row(kernel) for kernel in ("attention-1-pass", "attention-3-pass", *BACKENDS)]))
    return path


def test_without_a_gpu() -> None:
    assert "there is no GPU to measure" in refused()
    assert "there is no GPU to measure" in refused("--out", "x.csv")


def test_a_table_of_ones_own(table: Path) -> None:
    data = numbers("--compare", "--against", table)
    assert [r["kernel"] for r in data["rows"]] == ["attention-1-pass", "attention-3-pass", *BACKENDS]
    assert set(COLUMNS) <= set(data["rows"][0])
    expected = evaluate("attention-1-pass", "h200", "gpu-tiles", batch=1, heads=16, seq_len=4096, head_dim=128).cost
    assert data["rows"][0]["predicted_s"] == expected.latency_s
    errors = [abs(r["predicted_s"] / r["median_s"] - 1) for r in data["rows"]]
    assert [r["kernel"] for r in data["rows"] if not r["described"]] == ["efficient"]
    counted = [error for error, r in zip(errors, data["rows"], strict=True) if r["described"]]
    assert data["mean_absolute_error"] == pytest.approx(sum(counted) / len(counted))
    groups = data["devices"]["NVIDIA H200"]
    assert groups["own"]["mean_absolute_error"] == pytest.approx(sum(errors[:2]) / 2)
    assert groups["others"]["largest_error"] == pytest.approx(max(counted[2:]))
    assert groups["efficient"]["mean_absolute_error"] == pytest.approx(errors[4])
    assert groups["math"]["mean_absolute_error"] == pytest.approx(errors[-1])
    shown = run("--compare", "--against", table).stdout
    assert "mean absolute error of this package's kernels" in shown
    assert "mean absolute error of PyTorch's backends" in shown


def test_compare_alone_reads_what_was_recorded() -> None:
    """The errors are worked out again from the tables; a table that is there must be compared."""
    data = numbers("--compare")
    tables = [read_table(path) for path in sorted(FOLDER.glob("?[0-9]00.csv"))]
    assert len(data["rows"]) == sum(map(len, tables)) > 0
    for rows in tables:
        gpu = fusemax.gpu_comparison.gpu_of_device(rows[0].device)
        predicted = [fusemax.gpu_comparison.predicted_s(r.cascade or r.kernel, r.shape, gpu) or 0.0 for r in rows]
        errors = {r: abs(s / r.median_s - 1) for r, s in zip(rows, predicted, strict=True)}
        ours = [error for row, error in errors.items() if row.cascade]
        theirs = [error for row, error in errors.items() if row.kernel in ("flash", "cudnn", "math")]
        groups = data["devices"][rows[0].device]
        assert groups["own"]["mean_absolute_error"] == pytest.approx(sum(ours) / len(ours))
        assert groups["own"]["largest_error"] == pytest.approx(max(ours))
        assert groups["others"]["mean_absolute_error"] == pytest.approx(sum(theirs) / len(theirs))


def test_the_recorded_grid_holds_what_is_claimed_of_it() -> None:
    """Of every recorded GPU: errors of the model, rates of the 1-pass kernel, and the order of passes in time."""
    for device, groups in numbers("--compare")["devices"].items():
        assert groups["own"]["mean_absolute_error"] <= (0.10 if "H200" in device else 0.12)
        assert groups["others"]["mean_absolute_error"] <= 0.15
    for path in FOLDER.glob("?[0-9]00.csv"):
        seconds = {(r.kernel, r.shape): r.median_s for r in read_table(path)}
        for shape in {s for k, s in seconds if k == "attention-1-pass" and s[2] == s[3]}:
            length, head_dim, causal = shape[3:]
            one, two, deferred, three = (seconds[f"attention-{name}", shape] for name in PASSES)
            if length >= 16384:
                assert one < min(two, deferred) <= max(two, deferred) < three
            if head_dim == 128 and not causal and 2048 <= length <= 16384 and shape[1] == 16:
                assert one <= seconds["flash", shape] / 1.3
                assert one <= seconds["cudnn", shape] / 0.8


def test_a_prediction_that_is_measured_has_no_error(tmp_path: Path) -> None:
    known = [(k, fusemax.gpu_comparison.predicted_s(k, (1, 16, 4096, 4096, 128, False), h200())) for k in BACKENDS]
    path = tmp_path / "mine.csv"
    path.write_bytes(format_table([row(kernel, seconds=seconds or 0.0) for kernel, seconds in known]))
    assert numbers("--compare", "--against", path)["mean_absolute_error"] == 0.0


def h200() -> Any:
    return fusemax.gpu_comparison.gpu_of_device("NVIDIA H200")


def test_another_machine(table: Path) -> None:
    ours, other = (numbers("--compare", "--against", table, *arch) for arch in ((), ("--arch", "a100")))
    assert other["rows"][0]["predicted_s"] > 2 * ours["rows"][0]["predicted_s"]


def test_a_kernel_that_nothing_is_known_of(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_bytes(format_table([row(), row("flex")]))
    ours, flex = numbers("--compare", "--against", path)["rows"]
    assert ours["ratio"] > 0
    assert (flex["predicted_s"], flex["ratio"]) == (None, None)
    assert flex["product_share"] > 0


def test_a_plot(table: Path, tmp_path: Path) -> None:
    rows = [row(kernel, Shape(1, 8, n, n, 64, c)) for kernel in BACKENDS for n in (1024, 2048) for c in (False, True)]
    table.write_bytes(format_table(rows))
    result = run("--compare", "--against", table, "--plot", tmp_path / "rates.png")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "rates.png").read_bytes()[:4] == b"\x89PNG"
    assert [path.name for path in tmp_path.glob("rates.*")] == ["rates.png"]


def test_a_run_is_written_and_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figure = Figure("NVIDIA H200", "special_per_s", 3e12, 1e-3, 1e-3, 5, "torch 2", "2026-01-02")
    monkeypatch.setattr(fusemax.cli.measure_gpu, "_has_gpu", lambda: True)
    monkeypatch.setattr(kernels.measure.gpu, "measure_attention", lambda *_, **__: iter((row(), row("flash"))))
    monkeypatch.setattr(kernels.measure.gpu_micro, "measure_gpu", lambda **_: iter((figure,)))
    out, micro, arch = (tmp_path / "new" / name for name in ("rows.csv", "micro.csv", "gpu.yaml"))
    result = run("--out", out, "--micro-out", micro, "--arch-out", arch)
    assert result.exit_code == 0, result.output
    assert read_table(out) == (row(), row("flash"))
    assert read_figures(micro) == {"special_per_s": 3e12}
    machine = load_machine(str(arch))
    assert isinstance(machine, Gpu)
    assert machine.vector.special_per_s == 3e12
    assert machine.measured.startswith("fusemax measure gpu, 2026-01-02: NVIDIA H200")
    again = numbers("--compare", "--against", out, "--arch", arch)
    assert again == numbers("--out", out, "--arch-out", arch)


def test_another_gpu_than_the_rows_is_said_to_be_so(table: Path) -> None:
    table.write_bytes(format_table([row()]))
    device = row().device
    other = "h100" if "H200" in device else "h200"
    result = run("--compare", "--against", table, "--arch", other)
    assert result.exit_code == 0
    assert result.stderr.startswith(f"warning: measured on {device}, predicted for {other}")
    assert run("--compare", "--against", table).stderr == ""
    assert json.loads(run("--compare", "--against", table, "--json").stdout)["warnings"] == []


def test_a_gpu_that_is_not_known_gets_its_devices_name() -> None:
    base = load_machine("h100")
    assert isinstance(base, Gpu)
    assert named_for(base, "NVIDIA H100 80GB HBM3") == base
    other = named_for(base, "NVIDIA GeForce RTX 4090")
    assert (other.name, other.device, other.title) == ("nvidia-geforce-rtx-4090", "4090", "NVIDIA GeForce RTX 4090")


def test_a_kernel_that_is_wrong_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*_: object, **__: object) -> Iterator[Measurement]:
        yield row()
        raise ArithmeticError("attention-1-pass is wrong")

    monkeypatch.setattr(fusemax.cli.measure_gpu, "_has_gpu", lambda: True)
    monkeypatch.setattr(kernels.measure.gpu, "measure_attention", wrong)
    result = run()
    assert result.exit_code == 1
    assert "attention-1-pass is wrong" in result.output


WRONG = {
    "kernel": (replace(row("flash"), kernel="flesh"), "unknown kernel of the table 'flesh'", "flash"),
    "cascade": (replace(row(), cascade="attention-1-past"), "unknown cascade of the table", "attention-1-pass"),
    "device": (replace(row(), device="NVIDIA H20"), "unknown device of the table 'NVIDIA H20'", "H200"),
    "type": (replace(row(), dtype="float32"), "values of type 'float32'", "bfloat16"),
}


@pytest.mark.parametrize("case", WRONG)
def test_names_that_are_not_known(tmp_path: Path, case: str) -> None:
    wrong, message, hint = WRONG[case]
    path = tmp_path / "mine.csv"
    path.write_bytes(format_table([row(), wrong]))
    said = refused("--compare", "--against", path)
    assert message in said
    assert hint in said


def test_damaged_tables(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    whole = format_table([row()]).decode()
    for text, message in (
        ("", "the table is empty"),
        (whole[:-3], "cut short"),
        (whole.replace("0.001", "-1", 1), "not a time above zero"),
        ("a,b\n1,2\n", "unknown column 'a'"),
    ):
        path.write_text(text)
        assert message in refused("--compare", "--against", path)


def test_options_that_do_not_go_together(table: Path, tmp_path: Path) -> None:
    for arguments, message in (
        (("--against", table), "without --compare"),
        (("--compare", "--against", table, "--out", tmp_path / "x.csv"), "beside --out"),
        (("--compare", "--quick"), "--compare alone runs nothing"),
        (("--compare", "--against", tmp_path / "none.csv"), "no such file"),
        (("--compare", "--plot", tmp_path), "is a folder, not a file"),
        (("--compare", "--against", table, "--arch", "cpu"), "is a cpu, not a GPU"),
        (("--compare", "--against", table, "--arch", "h20"), "unknown architecture 'h20'"),
    ):
        assert message in refused(*arguments)
