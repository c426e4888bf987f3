"""The Pareto front from Python: that of a table known by hand, and its picture."""

from __future__ import annotations

from pathlib import Path

import pytest

import fusemax
from einsum_cascades.errors import InputError

pytest.importorskip("moocore")
TABLE = "design,latency_s,area_mm2\na,1.0,4.0\nb,2.0,2.0\nc,3.0,3.0\nd,4.0,1.0\n"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "designs.csv"
    path.write_text(TABLE, encoding="utf-8")
    return path


def test_the_front_of_a_table(table: Path) -> None:
    found = fusemax.pareto_front(table, "area_mm2", "latency_s")
    assert sorted(fusemax.as_table(found.best.to_pylist())["design"]) == ["a", "b", "d"]
    few = fusemax.pareto_front(table, "area_mm2", "latency_s", where=["area_mm2 >= 2"])
    assert sorted(few.best.column("design").to_pylist()) == ["a", "b"]
    one = fusemax.pareto_front(table, "area_mm2", "latency_s", objectives=["latency_s"])
    assert one.best.column("design").to_pylist() == ["a"]


def test_a_front_is_drawn(table: Path) -> None:
    picture = fusemax.draw_front(fusemax.pareto_front(table, "area_mm2", "latency_s"))
    assert picture._repr_png_().startswith(b"\x89PNG")


def test_a_column_that_is_not_there_is_refused(table: Path) -> None:
    with pytest.raises(InputError, match="area_mm2"):
        fusemax.pareto_front(table, "area_mm3", "latency_s")
