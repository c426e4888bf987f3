"""The published evaluation: every published figure, from the general engine.

Tolerances are those that the project promises. Expected figures are the published rows (``fusemax/published``) and, for
energies beside them, nothing of ours.
"""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest

from fusemax.comparison import TABLES, compare, headline
from fusemax.experiments import CONFIGURATIONS, MODELS, PARETO_DIMS, SEQ_LENS, pareto_machine, reproduce, steps
from fusemax.published import KEYS, published

TILED = ("flat", "cascade", "architecture", "binding")
ROUNDING = 1e-15

Tables = dict[str, pd.DataFrame]
Reproduced = Callable[[str], Tables]


@pytest.fixture(scope="module")
def tables(reproduced: Reproduced) -> Tables:
    return reproduced("published")


@pytest.fixture(scope="module")
def compared(tables: Tables) -> pd.DataFrame:
    return compare({name: tables[name] for name in TABLES})


@pytest.fixture(scope="module")
def linear(tables: Tables) -> pd.DataFrame:
    both = published("linear").merge(tables["linear"], on=list(KEYS["linear"]), suffixes=("", "_ours"))
    assert len(both) == len(published("linear"))
    return both


def test_shape_of_the_tables(tables: Tables) -> None:
    points = len(MODELS) * len(SEQ_LENS)
    assert {name: len(frame) for name, frame in tables.items() if name != "utilization_2d"} == {
        "attention": len(CONFIGURATIONS) * points,
        "end_to_end": len(CONFIGURATIONS) * points,
        "pareto": len(PARETO_DIMS),
        "linear": 2 * points,
    }
    assert list(tables["attention"].columns) == [
        "config",
        "model",
        "seq_len",
        "dram_bytes",
        "latency_s",
        "energy_j",
        "util_2d",
        "util_1d",
    ]
    assert list(tables["utilization_2d"].columns) == ["config", "model", "seq_len", "einsum", "fraction"]
    assert list(tables["end_to_end"].columns) == [
        "config",
        "model",
        "seq_len",
        "dram_bytes",
        "latency_s",
        "energy_j",
    ]
    assert list(tables["pareto"].columns) == [
        "model",
        "pe_dim",
        "buffer_bytes",
        "dram_bytes",
        "latency_s",
        "array_2d_area_mm2",
        "area_mm2",
    ]


def test_no_published_figure_is_left_out(compared: pd.DataFrame) -> None:
    assert len(compared) == 60 * 5 + 84 + 60 * 3 + 6 * 4
    assert compared["ours"].notna().all()


@pytest.mark.parametrize("config", TILED)
@pytest.mark.parametrize("metric", ["dram_bytes", "latency_s", "util_2d", "util_1d"])
def test_attention_equals_every_published_row(compared: pd.DataFrame, config: str, metric: str) -> None:
    rows = compared.query("table == 'attention' and config == @config and metric == @metric")
    assert len(rows) == 12
    assert rows["ours"].to_numpy() == pytest.approx(rows["published"].to_numpy(), rel=1e-9, abs=0)


@pytest.mark.parametrize("config", TILED)
def test_energy_of_every_published_row(compared: pd.DataFrame, config: str) -> None:
    rows = compared.query("table == 'attention' and config == @config and metric == 'energy_j'")
    assert len(rows) == 12
    assert rows["ours"].to_numpy() == pytest.approx(rows["published"].to_numpy(), rel=1e-3, abs=0)


def test_shares_of_the_2d_array(compared: pd.DataFrame) -> None:
    rows = compared.query("table == 'utilization_2d'")
    assert rows["ours"].to_numpy() == pytest.approx(rows["published"].to_numpy(), rel=1e-9, abs=0)


def test_unfused_is_no_worse_than_the_published_mapper(compared: pd.DataFrame) -> None:
    rows = compared.query("table == 'attention' and config == 'unfused'").set_index("metric")["relative_error"]
    assert rows["latency_s"].max() <= ROUNDING
    assert rows["latency_s"].min() >= -0.01
    assert rows["dram_bytes"].max() <= 0
    assert rows["energy_j"].max() <= 0.01


def test_linear_layers_are_no_worse_than_the_published_mapper(linear: pd.DataFrame) -> None:
    error = {m: linear[f"{m}_ours"] / linear[m] - 1 for m in ("latency_s", "energy_j")}
    assert error["latency_s"].max() <= ROUNDING
    assert error["latency_s"].min() >= -0.01
    assert (linear["dram_bytes_ours"] <= linear["dram_bytes"]).all()
    assert error["energy_j"].max() <= 0.01


def test_end_to_end_is_attention_and_linear_layers(tables: Tables, compared: pd.DataFrame) -> None:
    on = {"unfused": "flat", "flat": "flat", "cascade": "flat", "architecture": "fusemax", "binding": "fusemax"}
    parts = tables["attention"].assign(array=tables["attention"]["config"].map(on))
    parts = parts.merge(tables["linear"], on=list(KEYS["linear"]), suffixes=("", "_linear"), validate="m:1")
    both = tables["end_to_end"].merge(parts, on=list(KEYS["end_to_end"]), suffixes=("", "_attention"))
    for metric in ("dram_bytes", "latency_s", "energy_j"):
        total = both[f"{metric}_attention"] + both[f"{metric}_linear"]
        assert both[metric].to_numpy() == pytest.approx(total.to_numpy(), rel=1e-15)
    latency = compared.query("table == 'end_to_end' and metric == 'latency_s'")["relative_error"]
    assert -0.01 <= latency.min() <= latency.max() <= 1e-9


def test_pareto(compared: pd.DataFrame) -> None:
    rows = compared.query("table == 'pareto'").set_index("metric")["relative_error"].abs()
    assert rows[["latency_s", "dram_bytes"]].max() <= 1e-9
    assert rows[["array_2d_area_mm2", "area_mm2"]].max() <= 0.02


@pytest.mark.parametrize(
    ("metric", "expected", "within"),
    [
        ("attention_speedup_binding_over_flat", 6.72, 0.01),
        ("attention_speedup_binding_over_unfused", 10.05, 0.01),
        ("attention_energy_binding_over_flat", 0.787, 0.01),
        ("attention_energy_binding_over_unfused", 0.767, 0.01),
        ("end_to_end_speedup_binding_over_flat", 5.30, 0.02),
        ("end_to_end_speedup_binding_over_unfused", 7.60, 0.02),
        ("end_to_end_energy_binding_over_flat", 0.833, 0.02),
        ("end_to_end_energy_binding_over_unfused", 0.821, 0.02),
    ],
)
def test_averages_over_all_models(tables: Tables, metric: str, expected: float, within: float) -> None:
    ours = headline(tables).set_index("metric")["ours"]
    assert ours[metric] == pytest.approx(expected, rel=within)


def test_the_overflow_is_in_the_published_energies_alone(tables: Tables, reproduced: Reproduced) -> None:
    """FuseMax does the same work per (query, key) pair at 64K and at 1M; only the slip makes it cost more."""
    per_pair = {}
    for accounting in ("published", "physical"):
        frame = reproduced(accounting)["attention"].query("config == 'binding' and model == 'BERT'")
        joules = frame.set_index("seq_len")["energy_j"]
        per_pair[accounting] = {n: joules[n] / (64 * 12 * n * n) * 1e12 for n in (2**16, 2**20)}
    published_pj, physical_pj = per_pair["published"], per_pair["physical"]
    assert published_pj[2**20] - published_pj[2**16] > 5
    assert physical_pj[2**20] < physical_pj[2**16]


def test_physical_counts_what_the_hardware_does(tables: Tables, reproduced: Reproduced) -> None:
    keys = ["config", "model", "seq_len"]
    both = tables["attention"].merge(reproduced("physical")["attention"], on=keys, suffixes=("", "_physical"))
    assert (both["energy_j_physical"] > both["energy_j"]).all()
    assert (both["dram_bytes_physical"] <= both["dram_bytes"]).all()
    slower = set(both.loc[both["latency_s_physical"] > both["latency_s"] * (1 + 1e-9), "config"])
    assert slower == {"unfused", "flat"}


def test_the_sweeps_buffer_hides_the_traffic() -> None:
    sizes = [pareto_machine(dim).memory("global_buffer").bytes for dim in PARETO_DIMS]
    assert all(size % (dim * 64 * 8 * 2) == 0 for size, dim in zip(sizes, PARETO_DIMS, strict=True))
    assert pareto_machine(256).array("array_2d").pes == 256 * 256


def test_progress_is_told_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fusemax.experiments.MODELS", ("T5",))
    monkeypatch.setattr("fusemax.experiments.SEQ_LENS", (1024,))
    monkeypatch.setattr("fusemax.experiments.PARETO_DIMS", (16,))
    seen: list[str] = []
    small = reproduce(progress=seen.append)
    assert len(seen) == steps() == 5 + 2 + 1
    assert seen[0] == "unfused T5 1024"
    assert len(small["attention"]) == 5
