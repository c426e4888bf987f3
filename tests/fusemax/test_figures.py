"""The figures: whole, reproducible, readable, and with the published values marked."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text

from einsum_cascades.errors import InputError
from fusemax.figures import FIGURES, draw_all, style
from fusemax.published import CONFIGS, MODELS, published

LENGTHS = 6


def four_models(name: str) -> pd.DataFrame:
    """BERT's published rows for every model, the larger ones scaled."""
    bert = published(name).query("model == 'BERT'")
    frames = [bert.assign(model=model) for model in MODELS]
    for column in bert.columns.intersection(["latency_s", "energy_j"]):
        frames[3][column] = frames[3][column] * frames[3]["config"].map({"binding": 3.0}).fillna(2.0)
    return pd.concat(frames, ignore_index=True)


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    shared = {name: four_models(name) for name in ("attention", "utilization_2d", "end_to_end")}
    return shared | {"pareto": published("pareto").assign(buffer_bytes=16 * 2**20)}


@pytest.fixture(scope="module")
def kept() -> dict[str, Figure]:
    """The figures that were drawn into files, by their names."""
    return {}


@pytest.fixture(scope="module")
def drawn(
    tables: dict[str, pd.DataFrame], kept: dict[str, Figure], tmp_path_factory: pytest.TempPathFactory
) -> list[Path]:
    def keeping(name: str) -> Callable[[dict[str, pd.DataFrame]], Figure]:
        return lambda given: kept.setdefault(name, FIGURES[name](given))

    seen: list[Path] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fusemax.figures.FIGURES", {name: keeping(name) for name in FIGURES})
        paths = draw_all(tables, tmp_path_factory.mktemp("figures") / "new", seen.append)
    assert seen == paths
    return paths


def draw(name: str, tables: dict[str, pd.DataFrame]) -> Figure:
    with style.style():
        figure = next(f for key, f in FIGURES.items() if key.startswith(f"figure-{name}"))(tables)
        figure.draw_without_rendering()
    return figure


@pytest.fixture(scope="module")
def whole(drawn: list[Path], kept: dict[str, Figure]) -> Callable[[str], Figure]:
    """Return what finds the figures of the tables, each drawn once: tests look at them and change nothing."""
    return lambda name: next(figure for key, figure in kept.items() if key.startswith(f"figure-{name}"))


def marks(figure: Figure, panels: Sequence[Axes] = ()) -> list[tuple[float, float]]:
    lines = [line for axes in panels or figure.axes for line in axes.lines if line.get_label() == "published"]
    return [(float(x), float(y)) for line in lines for x, y in zip(*line.get_data(), strict=True)]


def bar_tops(figure: Figure, panels: Sequence[Axes] = ()) -> list[tuple[float, float]]:
    bars = [c for axes in panels or figure.axes for c in axes.containers if isinstance(c, BarContainer)]
    return [(p.get_x() + p.get_width() / 2, p.get_y() + p.get_height()) for bar in bars for p in bar.patches]


def test_eight_figures_in_two_formats(drawn: list[Path]) -> None:
    assert [p.name for p in drawn] == [f"{name}.{suffix}" for name in FIGURES for suffix in ("png", "pdf")]
    assert {p.name for p in drawn[0].parent.iterdir()} == {p.name for p in drawn}
    numbers = [name.split("-")[1] for name in FIGURES]
    assert numbers == ["06a", "06b", "07", "08", "09", "10", "11", "12"]


def test_files_are_whole(drawn: list[Path]) -> None:
    for path in drawn:
        data = path.read_bytes()
        if path.suffix == ".pdf":
            assert data.startswith(b"%PDF-")
            assert data.rstrip().endswith(b"%%EOF")
            assert b"CreationDate" not in data
        else:
            pixels = imread(path)
            height, width = pixels.shape[:2]
            assert width in (round(style.FULL_WIDTH_IN * style.DPI), round(style.COLUMN_WIDTH_IN * style.DPI))
            assert 500 < height < 2000
            assert 0.02 < np.mean(pixels[..., :3].min(axis=2) < 0.9) < 0.7


@pytest.mark.slow
def test_same_tables_same_bytes(
    drawn: list[Path], tables: dict[str, pd.DataFrame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One figure of bars and one of points, drawn again."""
    kinds = {name: draw for name, draw in FIGURES.items() if name.split("-")[1] in ("07", "12")}
    monkeypatch.setattr("fusemax.figures.FIGURES", kinds)
    with matplotlib.rc_context({"font.size": 20, "lines.linewidth": 9, "savefig.dpi": 50}):
        again = draw_all({k: v.copy() for k, v in tables.items()}, tmp_path)
        assert matplotlib.rcParams["font.size"] == 20
    assert [p.read_bytes() for p in again] == [p.read_bytes() for p in drawn if p.stem in kinds]


@pytest.mark.parametrize(("name", "configs"), [("06a", 5), ("06b", 5), ("07", 4), ("08", 4), ("10", 4), ("11", 4)])
def test_published_marks_sit_on_equal_bars(name: str, configs: int, whole: Callable[[str], Figure]) -> None:
    figure = whole(name)
    assert [axes.get_title() for axes in figure.axes] == list(MODELS)
    tops, known = bar_tops(figure), marks(figure)
    assert len(tops) == 4 * LENGTHS * configs
    assert len(known) == 2 * LENGTHS * configs
    tops_of_bert = bar_tops(figure, figure.axes[:1])
    bert = marks(figure, figure.axes[:1])
    for mark in bert:
        assert any(mark == pytest.approx(top, abs=1e-9) for top in tops_of_bert)


def test_marks_show_the_published_value_and_not_ours(tables: dict[str, pd.DataFrame]) -> None:
    ours = tables["attention"].copy()
    ours.loc[ours["config"] == "binding", "latency_s"] *= 2
    known = marks(draw("07", tables | {"attention": ours}))
    assert max(y for _, y in known) == pytest.approx(21904.958652459576 / 1891.8274331234043, rel=1e-3)
    assert max(y for _, y in bar_tops(draw("07", tables | {"attention": ours}))) < 7


def test_breakdown_stacks_to_the_utilization(whole: Callable[[str], Figure]) -> None:
    figure = whole("09")
    configs = [c for c in CONFIGS if c != "unfused"]
    assert len(figure.axes) == len(MODELS) * len(configs)
    published_util = published("attention").query("model == 'BERT'").set_index(["config", "seq_len"])["util_2d"]
    for axes, config in zip(figure.axes, configs, strict=False):
        tops = [
            max(p.get_y() + p.get_height() for c in axes.containers for p in [c.patches[i]]) for i in range(LENGTHS)
        ]
        assert tops == pytest.approx(published_util[config].tolist(), rel=1e-9)
    assert len(marks(figure)) == len(published("utilization_2d"))


def test_pareto_has_every_design_marked_and_named(whole: Callable[[str], Figure]) -> None:
    figure = whole("12")
    axes = figure.axes[0]
    assert marks(figure) == [(pytest.approx(a), pytest.approx(t)) for a, t in axes.lines[0].get_xydata()]
    assert [t.get_text() for t in axes.texts] == [f"{n}×{n}" for n in (16, 32, 64, 128, 256, 512)]
    assert "mm²" in axes.get_xlabel()
    assert "(s)" in axes.get_ylabel()


def test_pareto_draws_a_beaten_design_hollow(tables: dict[str, pd.DataFrame]) -> None:
    worse = tables["pareto"].copy()
    worse.loc[worse["pe_dim"] == 64, ["area_mm2", "latency_s"]] = [400.0, 9000.0]
    curve, hollow = draw("12", tables | {"pareto": worse}).axes[0].lines[:2]
    assert len(curve.get_xdata()) == 5
    assert hollow.get_xydata().tolist() == [[400.0, 9000.0]]


@pytest.mark.parametrize("name", ["06a", "07", "09", "12"])
def test_text_is_readable_and_inside_the_page(name: str, whole: Callable[[str], Figure]) -> None:
    figure = whole(name)
    page = figure.bbox
    texts = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text()]
    assert texts
    for text in texts:
        assert text.get_fontsize() >= 8
        assert text.get_fontname() == "DejaVu Sans"
    for text in figure.texts + [t for axes in figure.axes for t in axes.texts]:
        box = text.get_window_extent()
        assert box.x0 >= page.x0 - 1
        assert box.x1 <= page.x1 + 1


@pytest.mark.parametrize("name", ["06a", "07", "09"])
def test_length_labels_do_not_overlap(name: str, whole: Callable[[str], Figure]) -> None:
    for axes in whole(name).axes:
        labels = [t for t in axes.get_xticklabels() if t.get_text() and t.get_visible()]
        boxes = sorted((t.get_window_extent().x0, t.get_window_extent().x1) for t in labels)
        assert all(left[1] + 2 < right[0] for left, right in pairwise(boxes))


def test_other_models_lengths_and_configurations_are_drawn(tables: dict[str, pd.DataFrame]) -> None:
    row = {
        "model": "Mine",
        "latency_s": 1.0,
        "energy_j": 1.0,
        "dram_bytes": 1,
        "util_2d": 0.5,
        "util_1d": 0.5,
    }
    mine = pd.DataFrame([row | {"config": c, "seq_len": n} for c in ("unfused", "best", "b2") for n in (1000, 2048)])
    figure = draw("07", tables | {"attention": mine})
    assert [axes.get_title() for axes in figure.axes] == ["Mine"]
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["1000", "2K"]
    assert marks(figure) == []
    three = tables["attention"].query("model != 'T5'")
    assert len(draw("07", tables | {"attention": three}).axes) == 3


def test_one_colour_per_configuration_in_every_figure(whole: Callable[[str], Figure]) -> None:
    shown = style.CONFIG_COLOURS
    assert len(set(shown.values())) == len(CONFIGS)
    assert not set(shown.values()) & set(style.EINSUM_COLOURS.values())
    for name in ("06b", "11"):
        handles = whole(name).legends[0].get_patches()
        for handle in handles:
            config = next(c for c, label in style.CONFIG_LABELS.items() if label == handle.get_label())
            assert handle.get_facecolor() == matplotlib.colors.to_rgba(shown[config])


def test_a_folder_that_cannot_be_made(tables: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here")
    with pytest.raises(InputError, match="cannot write"):
        draw_all(tables, tmp_path / "file")


def test_vector_graphics_are_the_same_bytes_too(tables: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    name = "figure-12-area-latency"
    with style.style():
        first, again = (style.save(FIGURES[name](tables), tmp_path / n, ("svg",))[0] for n in ("a", "b"))
    text = first.read_text(encoding="utf-8")
    assert text == again.read_text(encoding="utf-8")
    assert text.rstrip().endswith("</svg>")
    assert "dc:date" not in text
    assert "Matplotlib v" not in text


def test_formats_by_name() -> None:
    assert style.formats_named("svg") == ("svg",)
    assert style.formats_named("png, SVG,png") == ("png", "svg")
    with pytest.raises(InputError, match="unknown format 'gif'"):
        style.formats_named("gif")
