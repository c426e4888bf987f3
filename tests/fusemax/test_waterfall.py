"""The waterfall: its bars are the recording's tasks, its stretch is a steady one, and all that is written fits."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import imread
from recordings import EPOCH, LABELS, PERIOD, TILE_BYTES, TRACKS, pipelined, recordings

from einsum_cascades.errors import InputError
from fusemax.figures import style
from fusemax.figures.steady import ENOUGH, MOST, boundaries, window
from fusemax.figures.waterfall import waterfall
from fusemax.pictures import draw_waterfall
from hw_models.simulator.recording import NO_EPOCH, Label, Recording, Tasks, Track, joined

Bar = tuple[str, str, int, int]
"""Track, task, first cycle, cycle after the last."""


def drawn(recording: Recording, first: int | None = None, last: int | None = None, epochs: int = 3) -> Figure:
    with style.style():
        figure = waterfall(recording, first=first, last=last, epochs=epochs)
        figure.draw_without_rendering()
    return figure


def collections(figure: Figure) -> list[PolyCollection]:
    found = [c for c in figure.axes[0].collections if isinstance(c, PolyCollection)]
    return [c for c in found if ":" in (c.get_gid() or "")]


def bars(figure: Figure, recording: Recording) -> list[Bar]:
    """What is drawn: rows by their names on the axis, tasks by their place among the labels."""
    axes = figure.axes[0]
    names = {round(y, 6): text.get_text() for y, text in zip(axes.get_yticks(), axes.get_yticklabels(), strict=True)}
    found = []
    for collection in collections(figure):
        track, label = map(int, collection.get_gid().split(":"))
        for path in collection.get_paths():
            (left, low), (right, high) = path.vertices.min(axis=0), path.vertices.max(axis=0)
            assert names[round((low + high) / 2, 6)] == recording.tracks[track].name
            found.append((recording.tracks[track].name, recording.labels[label].name, int(left), int(right)))
    return sorted(found)


def expected(recording: Recording, first: int, last: int) -> list[Bar]:
    tasks = recording.tasks
    columns = (tasks.tracks, tasks.labels, tasks.begins, tasks.ends)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return sorted(
        (recording.tracks[t].name, recording.labels[k].name, begin, end)
        for t, k, begin, end in rows
        if end > first and begin < last
    )


@pytest.mark.parametrize("stretch", [(None, None), (0, 3000), (26_500, 28_000), (0, 56_460), (55_000, None)])
def test_bars_are_the_tasks(stretch: tuple[int | None, int | None]) -> None:
    recording = pipelined(60)
    figure = drawn(recording, *stretch)
    first, last = (int(x) for x in figure.axes[0].get_xlim())
    assert bars(figure, recording) == expected(recording, first, last)
    assert (stretch[0] or first, stretch[1] or last) == (first, last)


@settings(max_examples=12)
@given(recording=recordings())
def test_bars_are_the_tasks_of_any_recording(recording: Recording) -> None:
    plain = replace(
        recording,
        tracks=tuple(Track(f"track {k}", track.kind) for k, track in enumerate(recording.tracks)),
        labels=tuple(Label(f"task {k}", f"tensor {k}") for k in range(len(recording.labels))),
        counters=tuple(replace(c, name=f"memory {k}") for k, c in enumerate(recording.counters)),
        skipped=tuple(replace(stretch, label="alike") for stretch in recording.skipped),
    )
    try:
        first, last = window(plain, None, None, 3)
    except InputError:
        return
    assert bars(drawn(plain), plain) == expected(plain, first, last)


def test_three_steady_epochs_from_the_middle() -> None:
    begin = 30 * PERIOD
    assert window(pipelined(60), None, None, 3) == (begin - PERIOD, begin + 2 * PERIOD)
    assert window(pipelined(60), None, None, 1) == (begin, begin + PERIOD)


def test_an_odd_epoch_in_the_middle_is_not_shown() -> None:
    """All from period 31 on comes 100 cycles later, so that epoch 29 is longer: those before it are as near."""
    recording = pipelined(60)
    tasks = recording.tasks
    late = np.where(tasks.begins >= 31 * PERIOD, 100, 0)
    recording = replace(recording, tasks=replace(tasks, begins=tasks.begins + late, ends=tasks.ends + late))
    assert window(recording, None, None, 3) == (27 * PERIOD, 30 * PERIOD)


def test_a_skipped_stretch_is_not_shown_unasked() -> None:
    recording = pipelined(8, skipped=True)
    assert window(recording, None, None, 3)[1] <= recording.skipped[0].begin


def test_of_crowded_epochs_fewer_are_shown() -> None:
    """Each of these epochs has 250 tasks of one cycle."""
    count = np.arange(5000, dtype=np.int64)
    zeros = np.zeros(5000, np.int32)
    recording = Recording(
        1e9, (Track("a", "array"),), (Label("X", "X"),), (), Tasks(zeros, zeros, count, count + 1, count // 250)
    )
    first, last = window(recording, None, None, 3)
    assert (last - first, first % 250) == (250, 0)
    without = replace(recording, tasks=replace(recording.tasks, epochs=count * 0 + NO_EPOCH))
    first, last = window(without, None, None, 3)
    assert (last - first, first) == (ENOUGH, (5000 - ENOUGH) // 2)


def test_what_is_written_fits_into_its_bar() -> None:
    figure = drawn(pipelined(60))
    axes = figure.axes[0]
    boxes = [
        path.get_extents(collection.get_transform())
        for collection in collections(figure)
        for path in collection.get_paths()
    ]
    said = [text for text in axes.texts if text.get_fontsize() == 6.0]
    assert {"BQK 28", "LM", "SLNV 30", "SPNV 27", "fetch BV", "BK"} <= {text.get_text() for text in said}
    for text in said:
        box = text.get_window_extent()
        assert any(b.x0 <= box.x0 and box.x1 <= b.x1 and b.y0 <= box.y0 and box.y1 <= b.y1 for b in boxes)
    assert [text.get_text() for text in axes.texts if text.get_fontsize() == 6.5] == [
        "epoch 28",
        "epoch 29",
        "epoch 30",
    ]


def test_everything_is_on_the_page() -> None:
    recording = pipelined(60)
    long = replace(recording, tracks=(Track("a rather long name of an array", "array"), *TRACKS[1:]))
    figure = drawn(long)
    width, height = figure.get_size_inches() * figure.dpi
    box = figure.get_tightbbox().transformed(figure.dpi_scale_trans)
    assert 0 <= box.x0 < box.x1 <= width
    assert 0 <= box.y0 < box.y1 <= height


def luminance(colour: object) -> float:
    parts = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in to_rgb(colour)]
    return float(np.dot([0.2126, 0.7152, 0.0722], parts))


def test_odd_epochs_are_paler_and_text_can_be_read() -> None:
    figure = drawn(pipelined(60))
    shades: dict[str, list[float]] = {}
    for collection in collections(figure):
        shades.setdefault(collection.get_gid(), []).append(luminance(collection.get_facecolor()[0][:3]))
    assert all(even < odd for even, odd in shades.values())
    faces = [luminance(collection.get_facecolor()[0][:3]) for collection in collections(figure)]
    for face in faces:
        assert max((1.05) / (face + 0.05), (face + 0.05) / 0.05) >= 4.5


def test_a_subject_has_one_colour_in_all_pictures() -> None:
    legends = []
    for first, last in ((0, 900), (26_000, 29_000)):
        legend = drawn(pipelined(60), first, last).legends[0]
        entries = zip(legend.get_texts(), legend.get_patches(), strict=True)
        legends.append({text.get_text(): patch.get_facecolor() for text, patch in entries})
    early, late = legends
    assert set(early) == {"BK", "BV"}
    assert set(late) == {*(label.subject for label in LABELS), "paler: odd epochs"}
    assert all(late[name] == colour for name, colour in early.items())
    assert len(set(late.values())) == len(late)


def test_axes_are_cycles_and_seconds() -> None:
    recording = pipelined(60)
    figure = drawn(recording)
    tasks, lowest = figure.axes[0], figure.axes[-1]
    (above,) = tasks.child_axes
    assert (lowest.get_xlabel(), above.get_xlabel()) == ("Cycle", "Time (µs)")
    assert lowest.get_xlim() == tasks.get_xlim()
    assert above.get_xlim() == pytest.approx([x / 940 for x in tasks.get_xlim()])
    assert drawn(recording, 0, 900).axes[0].child_axes[0].get_xlabel() == "Time (ns)"


def test_the_share_of_time_that_each_row_works() -> None:
    share = {track.name: sum(e[4] for e in EPOCH if e[0] == track.name) / PERIOD for track in TRACKS}
    texts = [text.get_text() for text in drawn(pipelined(60)).axes[0].texts]
    assert [text for text in texts if text.endswith("%")] == [f"{100 * part:.0f} %" for part in share.values()]
    run = pipelined(8, skipped=True)
    half, whole = (drawn(run, 0, end) for end in (run.skipped[0].begin, run.end))
    assert [t.get_text() for t in whole.axes[0].texts if t.get_text().endswith("%")] == [
        t.get_text() for t in half.axes[0].texts if t.get_text().endswith("%")
    ]
    assert "8 iterations alike" in [text.get_text() for text in whole.axes[0].texts]


def test_levels_are_the_recordings() -> None:
    recording = pipelined(60)
    figure = drawn(recording)
    (panel,) = figure.axes[1:]
    line = panel.lines[0]
    at, held = (np.asarray(values) for values in line.get_data())
    changes = recording.changes
    for cycle, level in zip(at.tolist(), held.tolist(), strict=True):
        assert level == changes.bytes[changes.at <= min(cycle, at[-2])][-1]
    assert [text.get_text() for text in panel.texts] == ["peak 128 KiB\nof 128 KiB"]
    assert panel.lines[1].get_ydata() == [4 * TILE_BYTES] * 2


def test_what_cannot_be_drawn_is_said() -> None:
    recording = pipelined(60)
    for stretch, said in (
        ((100, 100), "no cycle"),
        ((5, 1), "no cycle"),
        ((10**6, 10**7), "nothing runs"),
        ((-5, 9), "no"),
    ):
        with pytest.raises(InputError, match=said) as caught:
            drawn(recording, *stretch)
        assert caught.value.hint == "the run has cycles 0 to 56,460"
    many = pipelined(MOST // len(EPOCH) + 1)
    with pytest.raises(InputError, match="more than the 5,000"):
        drawn(many, 0, many.end)
    with pytest.raises(InputError, match="nothing was recorded"):
        drawn(Recording(1e9, (), ()))


def test_files_by_suffix_are_whole_and_the_same_each_time(tmp_path: Path) -> None:
    first, again = (draw_waterfall(pipelined(8), epochs=2) for _ in range(2))
    for suffix, start in ((".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF-")):
        (path,) = first.save(tmp_path / f"a{suffix}")
        (other,) = again.save(tmp_path / f"b{suffix}")
        assert path.read_bytes() == other.read_bytes()
        assert path.read_bytes().startswith(start)
    pixels = imread(tmp_path / "a.png")
    assert pixels.shape[1] == round(style.FULL_WIDTH_IN * style.DPI)


def test_stages_of_other_epochs_begin_no_epoch() -> None:
    """An array that works on two epochs in turn begins one where the newer of them does."""
    recording = pipelined(40)
    late = recording.tasks.labels == [label.name for label in LABELS].index("RNV")
    behind = replace(recording.tasks, epochs=np.where(late, recording.tasks.epochs - 3, recording.tasks.epochs))
    begins, ends, numbers = boundaries(replace(recording, tasks=behind))
    expected_begins, expected_ends, expected_numbers = boundaries(recording)
    assert begins.tolist() == expected_begins.tolist()
    assert ends.tolist() == expected_ends.tolist()
    assert numbers.tolist() == expected_numbers.tolist()


def test_another_pipeline_begins_anew() -> None:
    first, second = pipelined(40), pipelined(40, first=pipelined(40).end)
    _, _, numbers = boundaries(joined([first, second]))
    assert numbers.tolist() == [*range(40), *range(40)]


def test_epochs_that_lack_work_are_not_chosen() -> None:
    """Of epochs that are equally long, those are shown whose work is that of most."""
    recording = pipelined(41)
    tasks = recording.tasks
    lacking = (tasks.epochs >= 18) & (tasks.epochs <= 22) & (tasks.labels == [x.name for x in LABELS].index("SLNV"))
    first, last = window(replace(recording, tasks=tasks.where(~lacking)), None, None, 3)
    seen = {int(e) for e in boundaries(recording)[2][(boundaries(recording)[0] >= first)][:3]}
    assert not seen & {18, 19, 20, 21, 22}
    assert last - first == 3 * PERIOD


def test_of_an_epoch_that_is_too_long_the_beginning_is_shown() -> None:
    count = 4 * MOST
    begins = np.arange(count, dtype=np.int64) * 10
    tracks, labels = np.zeros(count, np.int32), np.zeros(count, np.int32)
    tasks = Tasks(tracks, labels, begins, begins + 10, begins // (10 * MOST + 10))
    recording = replace(pipelined(1), tasks=tasks)
    first, last = window(recording, None, None, 3)
    assert first in boundaries(recording)[0].tolist()
    assert (last - first) // 10 == ENOUGH


def test_cycles_beyond_ten_digits_are_written_out() -> None:
    figure = drawn(pipelined(9, first=50_000_000_000))
    texts = [text.get_text() for text in figure.axes[-1].get_xticklabels()]
    assert any(re.fullmatch(r"50,000,\d{3},\d{3}", text) for text in texts)
    assert not any("e" in text for text in texts)


def test_the_title_says_of_how_many_cycles() -> None:
    picture = draw_waterfall(pipelined(9), cycles=123_456_789)
    assert "of 123,456,789" in picture.figure.texts[0].get_text()
