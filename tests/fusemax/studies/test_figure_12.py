"""Figure 12 as a sweep: the same table as ``fusemax reproduce`` makes, and the published figures."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest

from fusemax.experiments import PARETO_DIMS
from fusemax.published import published
from fusemax.studies import study_path
from fusemax.studies.figure_12 import figure_12
from fusemax.sweep.evaluate import evaluate_points
from fusemax.sweep.spec import read_sweep


@pytest.fixture(scope="module")
def points() -> pd.DataFrame:
    sweep = read_sweep(study_path("figure-12"))
    return evaluate_points(sweep, 0, sweep.points).to_pandas()


def test_the_sweep_gives_the_table_of_reproduce(
    points: pd.DataFrame, reproduced: Callable[[str], dict[str, pd.DataFrame]]
) -> None:
    theirs = reproduced("published")["pareto"]
    pd.testing.assert_frame_equal(figure_12(points.sample(frac=1, random_state=1)), theirs, rtol=1e-14)


def test_the_sweep_gives_the_published_latencies_and_traffic(points: pd.DataFrame) -> None:
    both = figure_12(points).merge(published("pareto"), on=["model", "pe_dim"], suffixes=("", "_published"))
    assert list(both["pe_dim"]) == list(PARETO_DIMS)
    for metric in ("latency_s", "dram_bytes"):
        assert both[metric].to_list() == pytest.approx(both[f"{metric}_published"].to_list(), rel=1e-12)
    assert both["area_mm2"].to_list() == pytest.approx(both["area_mm2_published"].to_list(), rel=0.02)


def test_larger_buffers_cost_area_and_save_no_time(points: pd.DataFrame) -> None:
    for _, designs in points.groupby("array_2d.rows"):
        rising = designs.sort_values("global_buffer.bytes")
        assert rising["area_mm2"].is_monotonic_increasing
        assert rising["dram_bytes"].is_monotonic_decreasing
        assert rising["latency_s"].nunique() == 1
