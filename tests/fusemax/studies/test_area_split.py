"""The study of a chip's area: its conclusions against the engine asked split by split, and what it claims in words."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import pandas as pd
import pytest

from einsum_cascades.errors import InputError
from einsum_cascades.load import load_cascade
from einsum_cascades.models import load_model
from fusemax.evaluation import evaluate_on
from fusemax.studies import study_names, study_path
from fusemax.studies.area_split import OBJECTIVES, best_splits, main, markdown
from fusemax.sweep import run
from fusemax.sweep.evaluate import evaluate_points
from fusemax.sweep.space import Sweep
from fusemax.sweep.spec import parse_sweep, read_sweep
from hw_models.accounting import PHYSICAL
from hw_models.load import load_architecture
from hw_models.prices import node_prices

GIB = 2**30
BLOCK = 2**20


def evaluated(sweep: Sweep) -> pd.DataFrame:
    parts = [evaluate_points(sweep, i, min(i + BLOCK, sweep.points)) for i in range(0, sweep.points, BLOCK)]
    return pd.concat([part.to_pandas() for part in parts if part.num_rows])


def narrowed(**axes: str) -> Sweep:
    text = study_path("area-split").read_text(encoding="utf-8")
    for name, values in axes.items():
        text, changed = re.subn(rf"(?m)^  {re.escape(name)}: .*$", f"  {name}: {values}", text)
        assert changed == 1
    return parse_sweep(text)


@pytest.fixture(scope="module")
def bert() -> pd.DataFrame:
    bandwidths = f"[{100 * GIB}, {400 * GIB}]"
    return evaluated(
        narrowed(
            accounting="[physical]",
            model="[BERT]",
            seq_len="[4096, 65536]",
            **{"dram.bandwidth_bytes_per_s": bandwidths, "array_2d.columns": "[128, 256, 512]"},
        )
    )


def test_names() -> None:
    assert {"figure-12", "area-split"} <= set(study_names())
    assert study_path("Area-Split").name == "area-split.yaml"
    assert study_path("own/space.yaml") == Path("own/space.yaml")
    with pytest.raises(InputError, match="did you mean 'area-split'"):
        study_path("area-splt")


def test_every_split_uses_the_area_of_the_published_chip(bert: pd.DataFrame) -> None:
    budget = node_prices(load_architecture("fusemax-cloud")).area_mm2
    mapped = bert[bert["status"] == "ok"]
    assert mapped["area_mm2"].between(budget * 0.99, budget * 1.0001).all()
    assert len(mapped) > 1000


@pytest.fixture(scope="module")
def asked() -> list[tuple[float, float]]:
    """Latency and energy of the engine: of each shape of lanes and buffer the tallest array that the area allows."""
    budget, cascade = node_prices(load_architecture("fusemax-cloud")).area_mm2, load_cascade("attention-1-pass")
    workload = load_model("BERT").attention(65536)
    found = []
    for columns in (128, 256, 512):
        for lanes in (columns // 2, columns):
            for size, row in product((2**19, 2**20, 2**21, 2**24), (128, 256, 512)):
                split = {
                    "dram.bandwidth_bytes_per_s": repr(100.0 * GIB),
                    "array_2d.columns": str(columns),
                    "array_1d.columns": str(lanes),
                    "global_buffer.bytes": str(size),
                    "global_buffer.row_values": str(row),
                }
                parts = node_prices(load_architecture("fusemax-cloud", {**split, "array_2d.rows": "1"})).nodes
                room = budget - parts["array_1d"].area_mm2 - parts["global_buffer"].area_mm2
                rows = int(room / parts["array_2d"].area_mm2)
                if 2 * rows + 3 * columns > 2 * 4 * row:
                    continue
                machine = load_architecture("fusemax-cloud", {**split, "array_2d.rows": str(rows)})
                cost = evaluate_on(cascade, machine, "fusemax-interleaved", workload, PHYSICAL).cost
                found.append((cost.latency_s, cost.energy_j))
    return found


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_no_split_that_the_engine_knows_is_better(
    bert: pd.DataFrame, asked: list[tuple[float, float]], objective: str
) -> None:
    """Split by split."""
    best = best_splits(bert, objective).set_index(["seq_len", "bandwidth_bytes_per_s"]).loc[(65536, 100 * GIB)]
    measures = [latency * (energy if objective == "energy-delay" else 1) for latency, energy in asked]
    found = best["latency_s"] * (best["energy_j"] if objective == "energy-delay" else 1)
    assert min(measures) * 0.995 < found <= min(measures) * (1 + 1e-12)


def test_what_a_row_says(bert: pd.DataFrame) -> None:
    rows = best_splits(bert)
    assert list(rows["model"].unique()) == ["BERT"]
    assert len(rows) == 4
    for row in rows.to_dict("records"):
        case = bert[(bert["seq_len"] == row["seq_len"]) & (bert["status"] == "ok")]
        case = case[case["dram.bandwidth_bytes_per_s"] == row["bandwidth_bytes_per_s"]]
        assert row["splits"] == len(case)
        assert row["latency_s"] == case["latency_s"].min()
        near = case[case["latency_s"] <= 1.05 * row["latency_s"]]
        assert row["near"] == len(near)
        assert (row["least_columns"], row["most_columns"]) == (
            near["array_2d.columns"].min(),
            near["array_2d.columns"].max(),
        )
        shape = [f"array_2d.{n}" for n in ("rows", "columns")] + ["array_1d.columns", "global_buffer.row_values"]
        own = case[(case[shape] == 256).all(axis=1) & (case["global_buffer.bytes"] == 2**24)]
        assert row["gain"] == pytest.approx(own["latency_s"].item() / row["latency_s"])
        assert 1 < row["gain"] < 1.1


def test_the_command_prints_the_table(bert: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = narrowed(
        accounting="[published]",
        model="[XLM]",
        seq_len="[65536]",
        **{"array_2d.rows": "[255, 256]", "array_2d.columns": "[256]"},
    )
    with ThreadPoolExecutor(1) as executor:
        run(sweep, tmp_path, executor=executor)
    main([str(tmp_path), "--accounting", "published", "--objective", "energy-delay", "--model", "XLM"])
    table = capsys.readouterr().out
    points = evaluated(sweep)
    splits = best_splits(points, "energy-delay", "published")
    assert table == markdown(splits[splits["model"] == "XLM"]) + "\n"
    assert table.count("\n") == 2 + 6
    assert "| XLM | 65,536 | 400 | 256 × 256 | 256 | 16 MiB, 256 |" in table


def test_the_command_refuses_what_is_not_the_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "axes: {cascade: attention-1-pass, arch: fusemax-cloud, mapper: fusemax-serial, model: BERT, seq_len: 64}"
    with ThreadPoolExecutor(1) as executor:
        run(parse_sweep(text), tmp_path / "other", executor=executor)
    for folder, said in {"other": "holds another sweep: it does not vary 'dram.band", "none": "holds no sweep"}.items():
        with pytest.raises(SystemExit, match="2"):
            main([str(tmp_path / folder)])
        assert said in capsys.readouterr().err


@pytest.mark.slow
def test_what_the_study_concludes() -> None:
    points = evaluated(read_sweep(study_path("area-split")))
    splits = best_splits(points)
    assert len(splits) == 2 * 3 * 6
    assert splits["gain"].between(1, 1.08).all(), "a few per cent are all that any split gains"
    memory = splits["bound"] == "memory"
    assert (splits[memory]["seq_len"] == 4096).all()
    assert (splits[memory]["bandwidth_bytes_per_s"] <= 50 * GIB).all()
    computing = splits[~memory]
    assert (computing["lanes"] == computing["columns"]).all(), "one lane per column"
    assert computing["half_lanes"].between(1.9, 2).all()
    assert computing[computing["seq_len"] == 4096]["columns"].eq(512).all(), "an array wider than high"
    long = splits[splits["seq_len"] > 4096]
    assert long["columns"].eq(128).all(), "an array several times as high as wide"
    assert long["least_columns"].eq(64).all()
    assert long["most_columns"].eq(512).all(), "and any shape is about as good"
    slow = long[long["bandwidth_bytes_per_s"] <= 100 * GIB]
    heads = slow["model"].map({"BERT": 1, "XLM": 2})
    needed = heads * 2**20 * (50 * GIB / slow["bandwidth_bytes_per_s"])
    assert (slow["least_buffer_bytes"] == needed).all(), "a buffer in proportion to head size / bandwidth, at first"
