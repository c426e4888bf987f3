"""The comparison, on result tables made without the engine: published rows and closed forms.

Closed forms: Nayak et al., MICRO 2024, and its artifact. They give the latency of the two models whose rows
are not published, so the averages over four models can be checked against the paper's.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from einsum_cascades.errors import InputError
from fusemax.comparison import COLUMNS, HEADLINES, TABLES, compare, deviations, headline, point_ratios
from fusemax.published import MODELS, published

FREQUENCY_HZ = 940e6
BYTES_PER_S = 400 * 2**30
BATCH = 64


def xlm_latency_s(config: str, n: int) -> float:
    """Return the latency of XLM (16 heads of 128)."""
    heads, e = 16, 128
    pairs = BATCH * heads * n * n
    tiles, divisions = pairs // 65536, BATCH * heads * (n // 256) * e
    softmax_s = 4 * pairs / 256 / FREQUENCY_HZ
    if config == "unfused":  # QK writes and AV reads every score once; softmax reads and writes it
        matmul_s = (2 * pairs + 4 * BATCH * heads * n * e) / BYTES_PER_S
        return 2 * matmul_s + softmax_s
    if config == "flat":  # scores go off chip from 256K on; K and V are fetched once per 1024 queries
        spilled = 2 * (4 * pairs + 2 * pairs * e // 1024 + 2 * BATCH * heads * n * e) / BYTES_PER_S
        return max(softmax_s, spilled if n >= 2**18 else 0.0)
    if config == "cascade":
        cycles = tiles * (256 * 4 + 5 + 2 * e) + divisions
    elif config == "architecture":
        cycles = max(tiles * (e + 1), tiles + divisions) + tiles * (256 + 1 + 8 + 2 * e)
    else:
        cycles = max(tiles * (e + 1), tiles * (1 + e) + divisions) + tiles * (1 + 8 + e)
    return cycles / FREQUENCY_HZ


def _four_models(table: pd.DataFrame, extensive: list[str]) -> pd.DataFrame:
    """Add TrXL (BERT with 16 heads instead of 12) and XLM (twice TrXL, the latency by closed form)."""
    bert = table[table["model"] == "BERT"]
    trxl = bert.assign(model="TrXL", **{c: bert[c] * (16 / 12) for c in extensive})
    xlm = trxl.assign(model="XLM", **{c: trxl[c] * 2 for c in extensive})
    return pd.concat([table, trxl, xlm], ignore_index=True)


def _linear_s(model: str, n: int) -> float:
    """Return the linear layers' latency: of each, its multiplications on 256 x 256 PEs or its traffic."""
    d, ffn = {"BERT": (768, 3072), "TrXL": (1024, 4096), "T5": (512, 2048), "XLM": (2048, 8192)}[model]
    tokens, total = BATCH * n, 0.0
    for inputs, outputs in [(d, d)] * 4 + [(d, ffn), (ffn, d)]:
        traffic_s = 2 * (tokens * (inputs + outputs) + inputs * outputs) / BYTES_PER_S
        total += max(tokens * inputs * outputs / 65536 / FREQUENCY_HZ, traffic_s)
    return total


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    """Four result tables for four models, six lengths and five configurations."""
    attention = _four_models(published("attention"), ["dram_bytes", "latency_s", "energy_j"])
    xlm = attention["model"] == "XLM"
    points = zip(attention.loc[xlm, "config"], attention.loc[xlm, "seq_len"], strict=True)
    attention.loc[xlm, "latency_s"] = [xlm_latency_s(config, n) for config, n in points]
    end_to_end = attention.drop(columns=["util_2d", "util_1d"])
    end_to_end["latency_s"] += [
        _linear_s(model, n) for model, n in zip(end_to_end["model"], end_to_end["seq_len"], strict=True)
    ]
    pareto = published("pareto")
    pareto.insert(2, "buffer_bytes", 16 * 2**20)
    return {
        "attention": attention,
        "utilization_2d": pd.concat([published("utilization_2d").assign(model=m) for m in MODELS], ignore_index=True),
        "end_to_end": end_to_end,
        "pareto": pareto,
    }


@pytest.fixture(scope="module")
def same() -> dict[str, pd.DataFrame]:
    """The published rows as if they were ours."""
    return {name: published(name) for name in TABLES}


@pytest.mark.parametrize(
    "metric",
    [
        "attention_speedup_binding_over_flat",
        "attention_speedup_binding_over_unfused",
        "attention_speedup_cascade_over_flat",
        "attention_speedup_architecture_over_flat",
        "end_to_end_speedup_binding_over_flat",
        "end_to_end_speedup_binding_over_unfused",
        "util_2d_binding_bert_1k",
        "util_2d_binding_bert_1m",
        "pareto_256_latency_s",
        "pareto_256_area_mm2",
        "pareto_512_latency_s",
        "pareto_512_area_mm2",
    ],
)
def test_headline_from_closed_forms_is_the_papers(metric: str, tables: dict[str, pd.DataFrame]) -> None:
    row = headline(tables).set_index("metric").loc[metric]
    assert row["ours"] == pytest.approx(row["published"], rel=2e-3)
    assert row["relative_error"] == pytest.approx(row["ours"] / row["published"] - 1)


def test_energy_headlines_are_means_of_point_ratios(same: dict[str, pd.DataFrame]) -> None:
    rows = headline(same).set_index("metric")["ours"]
    for table in ("attention", "end_to_end"):
        joules = {
            (c, m, n): e
            for c, m, n, e in same[table][["config", "model", "seq_len", "energy_j"]].itertuples(index=False)
        }
        for base in ("flat", "unfused"):
            ratios = [e / joules[base, m, n] for (c, m, n), e in joules.items() if c == "binding"]
            assert len(ratios) == 12
            assert rows[f"{table}_energy_binding_over_{base}"] == pytest.approx(np.mean(ratios), rel=1e-14)


def test_every_published_headline_has_a_definition_and_no_other() -> None:
    assert list(HEADLINES) != []
    assert set(HEADLINES) == set(published("headline")["metric"])


def test_point_ratios_use_points_that_both_configurations_have(same: dict[str, pd.DataFrame]) -> None:
    some = same["attention"].query("not (config == 'flat' and model == 'T5')")
    ratios = point_ratios(some, "latency_s", "flat", "binding")
    assert len(ratios) == 6
    assert ratios.loc[("BERT", 1024)] == 0.013386076595744681 / 0.002013140425531915


def test_headline_does_not_depend_on_row_order(tables: dict[str, pd.DataFrame]) -> None:
    shuffled = {name: frame.sample(frac=1, random_state=3) for name, frame in tables.items()}
    ours, theirs = headline(tables)["ours"], headline(shuffled)["ours"]
    assert ours.to_numpy() == pytest.approx(theirs.to_numpy(), rel=1e-14)


def test_headline_without_a_row_is_missing(same: dict[str, pd.DataFrame]) -> None:
    rows = headline(same | {"pareto": same["pareto"].query("pe_dim < 256")}).set_index("metric")["ours"]
    assert rows.isna().sum() == 4
    assert np.isnan(rows["pareto_512_area_mm2"])


def test_compare_covers_every_published_figure(same: dict[str, pd.DataFrame]) -> None:
    rows = compare(same)
    assert tuple(rows.columns) == COLUMNS
    assert rows.groupby("table").size().to_dict() == {
        "attention": 60 * 5,
        "utilization_2d": 84,
        "end_to_end": 60 * 3,
        "pareto": 6 * 4,
    }
    assert (rows["relative_error"] == 0).all()
    assert rows.loc[rows["table"] == "pareto", ["config", "seq_len", "einsum"]].isna().all(axis=None)
    assert rows.loc[rows["table"] != "pareto", "pe_dim"].isna().all()
    assert not rows.duplicated(["table", "config", "model", "seq_len", "einsum", "pe_dim", "metric"]).any()


def test_compare_signs_the_error_and_finds_the_point(same: dict[str, pd.DataFrame]) -> None:
    ours = same["attention"].copy()
    at = (ours["config"] == "flat") & (ours["model"] == "T5") & (ours["seq_len"] == 4096)
    ours.loc[at, "latency_s"] *= 0.75
    rows = compare({"attention": ours.sample(frac=1, random_state=1)})
    off = rows[rows["relative_error"] != 0]
    assert off[["config", "model", "seq_len", "metric"]].to_numpy().tolist() == [["flat", "T5", 4096, "latency_s"]]
    assert off["relative_error"].item() == pytest.approx(-0.25)
    worst = deviations({"attention": ours}).set_index("metric")["relative_error"]
    assert worst.to_dict() == pytest.approx(
        {"latency_s": -0.25, "energy_j": 0, "dram_bytes": 0, "util_2d": 0, "util_1d": 0}
    )


def test_compare_shows_a_row_that_ours_lacks(same: dict[str, pd.DataFrame]) -> None:
    rows = compare({"pareto": same["pareto"].query("pe_dim != 64")})
    gaps = rows[rows["ours"].isna()]
    assert set(gaps["pe_dim"]) == {64}
    assert gaps["relative_error"].isna().all()
    assert gaps["published"].notna().all()


def test_compare_ignores_models_that_are_not_published(tables: dict[str, pd.DataFrame]) -> None:
    assert set(compare(tables)["model"]) == {"BERT", "T5"}


def test_compare_of_nothing_is_an_empty_table() -> None:
    assert tuple(compare({}).columns) == COLUMNS
    assert deviations({}).empty


def test_compare_refuses_an_unknown_table(same: dict[str, pd.DataFrame]) -> None:
    with pytest.raises(InputError, match="did you mean 'attention'"):
        compare({"atention": same["attention"]})
