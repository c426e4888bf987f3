"""The public interface: one list, documented, each name imported when it is used; and the pictures it draws."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

import fusemax
from einsum_cascades.errors import InputError
from fusemax.units import quantity

ROOT = Path(fusemax.__file__).parents[1]
SIZES = {"E": 8, "F": 8, "M": 64, "P": 64}
BUDGET_S = 0.5


@pytest.mark.parametrize("name", fusemax.__all__)
def test_a_public_name_is_there_and_documented(name: str) -> None:
    found = getattr(fusemax, name)
    assert f"``{name}``" in (fusemax.__doc__ or "")
    assert not callable(found) or (found.__doc__ or "").strip()
    assert not importlib.util.find_spec(f"fusemax.{name}"), "a module of that name would hide it"


def test_the_list_is_whole_and_sorted() -> None:
    assert sorted(fusemax.__all__) == dir(fusemax)
    assert len(set(fusemax.__all__)) == len(fusemax.__all__)
    documented = set(re.findall(r"``(\w+)``", fusemax.__doc__ or "")) - {"save"}
    assert documented == set(fusemax.__all__)


ROOM = re.compile(r"(?<![\w./-])(einsum_cascades|hw_models|kernels|mappers)\.[a-z]")


@pytest.mark.parametrize("module", [fusemax, fusemax.gpu, fusemax.loops, fusemax.sweep], ids=lambda m: m.__name__)
def test_what_users_read_names_only_what_they_import(module: ModuleType) -> None:
    for name in module.__all__:
        found = getattr(module, name)
        members = {n: m for n, m in vars(found).items() if n[0] != "_"} if inspect.isclass(found) else {}
        for part in (found, *members.values()):
            assert not ROOM.search(inspect.getdoc(part) or ""), name


def test_the_gpu_module_is_read_when_it_is_named() -> None:
    code = "import sys, fusemax; assert 'fusemax.gpu' not in sys.modules; fusemax.gpu.compiled; fusemax.gpu.attention; "
    code += "print([m for m in ('torch', 'triton') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'analyse'"):
        _ = fusemax.analyse


def test_import_takes_no_time() -> None:
    script = "import time; start = time.process_time(); import fusemax; print(time.process_time() - start)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=True)
    assert float(done.stdout) < BUDGET_S


def test_intensity_is_operations_over_what_comes_and_goes_once() -> None:
    found = fusemax.analyze("attention-3-pass", sizes={"E": 2, "F": 3, "M": 4, "P": 5}, value_bytes=4)
    moved = 2 * 5 + 2 * 4 + 3 * 4 + 3 * 5
    assert found.intensity == (2 * 20 + 3 * 20 + 20 + 2 * 20 + 20 + 20) / (4 * moved)


def test_results_make_a_table() -> None:
    found = {name: fusemax.analyze(name, sizes=SIZES) for name in ("attention-3-pass", "attention-1-pass")}
    table = fusemax.as_table(found, ["passes", "compulsory_bytes"])
    assert list(table.index) == list(found)
    assert list(table["passes"]) == [3, 1]
    assert list(table.columns) == ["passes", "compulsory_bytes"]
    assert len(fusemax.as_table(found.values())) == 2
    assert list(fusemax.as_table([{"a": 1}, {"b": 2}])) == ["a", "b"]


def test_a_column_that_no_result_has_is_refused() -> None:
    with pytest.raises(InputError, match="did you mean 'passes'"):
        fusemax.as_table([fusemax.analyze("attention-3-pass")], ["pases"])


def test_predictions_are_those_that_the_commands_print() -> None:
    from fusemax.measurement import errors

    compared = fusemax.predict_measured("cpu")
    table = fusemax.accuracy(compared)
    assert dict(zip(table["kernel"], table["mean_absolute_error"], strict=True)) == pytest.approx(errors(compared))
    assert table["rows"].sum() == sum(row.ratio is not None for row in compared)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "tpu"}, "unknown kind of machine 'tpu'"),
        ({"kind": "cpu", "arch": "h100"}, "not a CPU"),
        ({"kind": "gpu", "arch": "cpu"}, "not a GPU"),
        ({"kind": "cpu", "table": "nowhere.csv"}, "nowhere.csv"),
    ],
)
def test_predictions_of_what_is_not_there_are_refused(arguments: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        fusemax.predict_measured(**arguments)


def test_pictures_are_shown_and_saved(tmp_path: Path) -> None:
    sizes = {"E": 2, "F": 2, "M": 16, "P": 8}
    curves = [fusemax.analyze(name, sizes=sizes, curve=True) for name in ("attention-3-pass", "attention-1-pass")]
    small = fusemax.analyze("attention-3-pass", sizes=sizes, buffer_bytes=128, curve=True)
    cpu = fusemax.predict_measured("cpu")
    for number, picture in enumerate(
        (fusemax.draw_traffic(*curves, small), fusemax.draw_accuracy(cpu), fusemax.draw_rates(cpu))
    ):
        assert isinstance(picture, fusemax.Picture)
        assert picture._repr_png_().startswith(b"\x89PNG")
        (vector,) = picture.save(tmp_path / f"{number}.svg")
        assert vector.stat().st_size > 1000
    written = picture.save(tmp_path / "rates")
    assert [path.name for path in (*written, vector)] == ["rates.png", "rates.pdf", "2.svg"]
    assert all(path.stat().st_size > 1000 for path in written)


def test_the_accuracy_picture_shows_every_prediction() -> None:
    compared = fusemax.predict_measured("cpu")
    (axes,) = fusemax.draw_accuracy(compared).figure.axes
    points = sum(len(line.get_xdata()) for line in axes.lines if line.get_marker() == "o")  # type: ignore[arg-type]
    assert points == sum(row.predicted_s is not None for row in compared)


def test_a_published_figure_goes_by_its_start(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown figure 'figure-13'"):
        fusemax.draw_published("figure-13", {})
    with pytest.raises(InputError, match="unknown figure 'figure'"):
        fusemax.draw_published("figure", {})


def test_values_say_in_a_line_what_they_are() -> None:
    cascade = fusemax.load_cascade("attention-3-pass")
    spatial = fusemax.evaluate(cascade, "flat-cloud", "unfused", model="BERT", seq_len=1024)
    gpu = fusemax.evaluate(cascade, "h100", "gpu-tiles", model="BERT", seq_len=1024)
    cpu = fusemax.evaluate(cascade, "cpu", "cpu-tiles", heads=2, head_dim=64, seq_len=1024)
    derivation = fusemax.derive(fusemax.load_cascade("log-sum-exp"), "M")
    values = (cascade, spatial, gpu, cpu, derivation, *derivation.steps, fusemax.analyze(cascade))
    for value in (*values, fusemax.compile_cascade(cascade)):
        assert repr(value).startswith(f"<{type(value).__name__} ")
        assert len(repr(value)) < 240, repr(value)
        assert "\n" not in repr(value)
    assert "attention-3-pass on flat-cloud: latency" in repr(spatial)
    assert "bound by" in repr(spatial)
    assert "None" not in repr(cpu) + cpu._repr_html_()
    assert f"{derivation.passes_before} to {derivation.passes} passes over M" in repr(derivation)


def test_values_are_tables_in_a_notebook() -> None:
    cascade = replace(fusemax.load_cascade("log-sum-exp"), name="a<b>&c")
    derivation = fusemax.derive(cascade, "M")
    found = fusemax.evaluate(cascade, "fusemax-cloud", "unfused", sizes={"P": 8, "M": 64})
    tables = [ElementTree.fromstring(value._repr_html_()) for value in (found, derivation, fusemax.analyze(cascade))]
    for tree in tables:
        assert tree.tag == "table"
        assert (tree.findtext("caption") or "").startswith("a<b>&c")
    rows = {row.findtext("th"): row.findtext("td") for row in tables[0].iter("tr")}
    assert rows["off-chip traffic"] == quantity(found.cost.dram_bytes, "B")
    assert rows["bound by"] == found.cost.bound
    assert len(list(tables[1].iter("tr"))) >= len(derivation.steps) > 0
