"""Pictures of results in the project's style: shown by a notebook, written as PNG, PDF or SVG."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from einsum_cascades.errors import InputError, unknown
from fusemax.tables import check_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from fusemax.analysis import Analysis
    from fusemax.measurement import Compared
    from fusemax.report.make import Report
    from hw_models.simulator.recording import Recording

SHOWN_DPI: Final = 100
"""Dots per inch in a notebook."""


@dataclass(frozen=True, eq=False)
class Picture:
    """A drawn figure.

    Attributes:
        figure: matplotlib's, for those who want to change it.
    """

    figure: Figure

    def _repr_png_(self) -> bytes:
        from fusemax.figures import style

        shown = io.BytesIO()
        with style.style():
            self.figure.savefig(
                shown, format="png", dpi=SHOWN_DPI, metadata=style.FORMATS["png"], pil_kwargs={"optimize": True}
            )
        return shown.getvalue()

    def save(self, path: Path | str) -> list[Path]:
        """Write it in the format that the file's name ends in: .png, .pdf or .svg.

        Args:
            path: where; without such an ending it is written as PNG and as PDF, side by side.

        Returns:
            The paths.

        Raises:
            InputError: another suffix, or the place cannot be written.
        """
        from fusemax.figures import style

        with style.style():
            place = checked_place(path)
            formats = (place.suffix[1:],) if place.suffix else style.USUAL_FORMATS
            return style.save(self.figure, place.with_suffix(""), formats)


def checked_place(path: Path | str) -> Path:
    """Return where a picture is to go, after a look at it: before long work.

    Raises:
        InputError: another suffix than .png, .pdf or .svg, or the place cannot be written.
    """
    from fusemax.figures import style

    place = Path(path)
    if place.suffix not in ("", *(f".{suffix}" for suffix in style.FORMATS)):
        raise InputError(f"'{place}' is no figure's name", hint="give a name that ends in .png, .pdf or .svg")
    check_file(place)
    return place


def draw_published(name: str, tables: Mapping[str, DataFrame]) -> Picture:
    """Draw a figure of the published evaluation from our tables, the published values marked.

    Args:
        name: such as ``figure-07-attention-speedup``, or its start, ``figure-07``.
        tables: what ``fusemax.reproduce`` returned.

    Raises:
        InputError: no figure has that name.
    """
    from fusemax.figures import FIGURES

    found = [known for known in FIGURES if known.startswith(name)]
    if len(found) != 1:
        raise unknown("figure", name, FIGURES)
    return _drawn(FIGURES[found[0]], tables)


def draw_traffic(*analyses: Analysis) -> Picture:
    """Draw the least off-chip traffic against capacity on chip, one curve for each cascade.

    Args:
        analyses: what ``fusemax.analyze(..., curve=True)`` returned.
    """
    from fusemax.figures.curve import traffic_curve

    return _drawn(traffic_curve, *analyses)


def draw_rates(compared: Sequence[Compared]) -> Picture:
    """Draw measured and predicted rates of attention against length.

    Args:
        compared: what ``fusemax.predict_measured`` returned.
    """
    from fusemax.figures.measured import rates_against_length

    return _drawn(rates_against_length, compared)


def draw_accuracy(compared: Sequence[Compared]) -> Picture:
    """Draw predicted against measured time, a point for each kernel and shape.

    Args:
        compared: what ``fusemax.predict_measured`` returned.
    """
    from fusemax.figures.accuracy import predicted_against_measured

    return _drawn(predicted_against_measured, compared)


def draw_front(report: Report) -> Picture:
    """Draw all points and the front among them.

    Args:
        report: what ``fusemax.pareto_front`` returned.
    """
    from fusemax.report.make import draw

    return _drawn(draw, report)


def draw_waterfall(
    recording: Recording,
    *,
    first: int | None = None,
    last: int | None = None,
    epochs: int = 3,
    cycles: int | None = None,
) -> Picture:
    """Draw what runs when: a row for each array, port and link, a bar for each task.

    Args:
        recording: of a timed run.
        first: the first cycle; with neither, a few steady epochs from the middle.
        last: the cycle after the last.
        epochs: how many, where no cycle is named.
        cycles: of the whole run, if the recording is a part of it.

    Raises:
        InputError: nothing runs there, or more than a picture can show.
    """
    from fusemax.figures.waterfall import waterfall

    return _drawn(partial(waterfall, recording, first=first, last=last, epochs=epochs, cycles=cycles))


def _drawn(draw: Callable[..., Figure], *data: Any) -> Picture:
    from fusemax.figures import style

    with style.style():
        return Picture(draw(*data))
