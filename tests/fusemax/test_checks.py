"""The checks behind the exit status of ``fusemax reproduce``: each tolerance fails where it should."""

from __future__ import annotations

import pandas as pd
import pytest

from fusemax.checks import COLUMNS, ROUNDING, failures, tolerance
from fusemax.published import published

Tables = dict[str, pd.DataFrame]
Edge = tuple[str, str, dict[str, object], float, float]


@pytest.fixture
def tables() -> Tables:
    """The published rows as if they were ours, the averages' other models made of BERT's."""
    return {name: published(name) for name in ("attention", "utilization_2d", "end_to_end", "pareto", "linear")}


def rows_missed(tables: Tables) -> pd.DataFrame:
    """What is missed beside the averages: those over two models are not those over four."""
    return failures(tables).query("table != 'headline'")


def scale(frame: pd.DataFrame, metric: str, factor: float, **where: object) -> None:
    at = pd.Series(True, index=frame.index)
    for column, value in where.items():
        at &= frame[column] == value
    assert at.any()
    frame[metric] = frame[metric].astype(float)
    frame.loc[at, metric] *= factor


def test_the_published_rows_themselves_pass(tables: Tables) -> None:
    missed = failures(tables)
    assert tuple(missed.columns) == COLUMNS
    assert rows_missed(tables).empty


EDGES = (
    (
        ("attention", "latency_s", {"config": "flat"}, 1 + 5e-10, 1 + 2e-9),
        ("attention", "latency_s", {"config": "binding"}, 1 - 5e-10, 1 - 2e-9),
        ("attention", "dram_bytes", {"config": "cascade"}, 1 + 5e-10, 1 - 2e-9),
        ("attention", "util_2d", {"config": "architecture"}, 1 + 5e-10, 1 + 2e-9),
        ("attention", "util_1d", {"config": "binding"}, 1 - 5e-10, 1 + 2e-9),
        ("attention", "energy_j", {"config": "binding"}, 1.0009, 1.0011),
        ("attention", "energy_j", {"config": "flat"}, 0.9991, 0.9989),
        ("attention", "latency_s", {"config": "unfused"}, 0.991, 0.989),
        ("attention", "dram_bytes", {"config": "unfused"}, 0.5, 1 + 1e-10),
        ("attention", "energy_j", {"config": "unfused"}, 0.5, 1.011),
        ("utilization_2d", "fraction", {"einsum": "LM"}, 1 + 5e-10, 1 + 2e-9),
        ("end_to_end", "latency_s", {"config": "binding"}, 0.991, 1 + 2e-9),
        ("end_to_end", "dram_bytes", {"config": "unfused"}, 0.5, 1 + 1e-10),
        ("pareto", "latency_s", {"pe_dim": 64}, 1 + 5e-10, 1 + 2e-9),
        ("pareto", "dram_bytes", {"pe_dim": 16}, 1 + 5e-10, 1 - 2e-9),
        ("pareto", "area_mm2", {"pe_dim": 512}, 1.019, 1.021),
        ("pareto", "array_2d_area_mm2", {"pe_dim": 16}, 0.981, 0.979),
        ("linear", "latency_s", {"array": "flat"}, 0.991, 1 + 1e-10),
        ("linear", "dram_bytes", {"array": "fusemax"}, 0.5, 1 + 1e-10),
        ("linear", "energy_j", {"array": "flat"}, 1.009, 1.011),
    ),
    (("attention", "latency_s", {"config": "unfused"}, 1 + ROUNDING / 2, 1 + 1e-10),),
)
"""Table, metric, rows, and factors that pass and fail; no figure comes twice in a round."""


@pytest.mark.parametrize("edges", EDGES, ids=["each", "below-rounding"])
def test_tolerances(tables: Tables, edges: tuple[Edge, ...]) -> None:
    for table, metric, where, passes, _ in edges:
        scale(tables[table], metric, passes, **where)
    assert rows_missed(tables).empty
    for table, metric, where, passes, fails in edges:
        scale(tables[table], metric, fails / passes, **where)
    missed = {(row.table, row.metric, row.row) for row in rows_missed(tables).itertuples()}
    for table, metric, where, *_ in edges:
        own = {m for m in missed if m[:2] == (table, metric) and str(next(iter(where.values()))) in m[2]}
        assert own, (table, metric, where)
        missed -= own
    assert not missed


def test_a_row_that_is_not_there_fails(tables: Tables) -> None:
    tables["attention"] = tables["attention"].query("not (config == 'flat' and model == 'T5' and seq_len == 1024)")
    tables["linear"] = tables["linear"].query("seq_len != 4096")
    missed = rows_missed(tables)
    assert set(missed.loc[missed["table"] == "attention", "row"]) == {"flat T5 1024"}
    assert (missed["table"] == "linear").sum() == 4 * 3
    assert missed["ours"].isna().all()


@pytest.mark.parametrize(
    ("metric", "allowed"),
    [
        ("attention_speedup_binding_over_flat", 0.01),
        ("attention_energy_binding_over_unfused", 0.01),
        ("end_to_end_speedup_binding_over_unfused", 0.02),
        ("end_to_end_energy_binding_over_flat", 0.02),
    ],
)
def test_averages(metric: str, allowed: float) -> None:
    assert tolerance("headline", "", metric) == (-allowed, allowed)


def test_averages_that_are_off_fail(tables: Tables) -> None:
    scale(tables["attention"], "latency_s", 1.2, config="flat")
    missed = failures(tables).query("table == 'headline'")
    assert "attention_speedup_binding_over_flat" in set(missed["metric"])


def test_utilisation_of_a_searched_mapping_follows_from_its_latency() -> None:
    assert tolerance("attention", "unfused", "util_2d") is None


def test_a_tolerance_reads_well() -> None:
    assert str(tolerance("attention", "flat", "latency_s")) == "±1e-09"
    assert str(tolerance("attention", "unfused", "energy_j")) == "any less to +0.01"
