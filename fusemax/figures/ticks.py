"""Ticks that can be read on any axis: a logarithmic one of less than two decades has labels too, bytes are in KiB.

On a logarithmic axis the coarsest of these that gives three ticks: powers of ten, every third, second or each; 1, 2, 5;
1, 1.5, 2, 3, 5, 7 of each; even steps. Bytes have powers of two instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil, floor, log2, log10
from typing import TYPE_CHECKING, Any, Final

from fusemax.units import quantity

if TYPE_CHECKING:
    from matplotlib.axis import Axis

LEAST: Final = 3
_DECADES: Final = (6, 3, 2, 1)
_WITHIN: Final = ((1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 5.0, 7.0))
_OCTAVES: Final = (20, 10, 5, 4, 3, 2, 1)
UNITS_AT_TICKS: Final = ("B", "B/s", "bit", "bit/s", "flop/s", "/s", "Hz", "W")
"""Units whose ticks are written with a prefix, such as 16 MiB, and not in the axis's title."""
_PLAIN_RATIO: Final = 1e6
"""Axes that span more than this have powers of ten as ticks."""


def log_ticks(low: float, high: float, *, binary: bool = False) -> list[float]:
    """Return places of ticks between two positive ends of a logarithmic axis.

    Args:
        low, high: the ends.
        binary: whether powers of two are round, as of bytes.
    """
    base, span = (2.0, log2) if binary else (10.0, log10)
    first, last = floor(span(low)) - 1, ceil(span(high)) + 1
    choices: list[tuple[int, Sequence[float]]] = [(step, (1.0,)) for step in (_OCTAVES if binary else _DECADES)]
    choices += [] if binary else [(1, within) for within in _WITHIN]
    for step, within in choices:
        powers = (base**power for power in range(step * floor(first / step), last + 1, step))
        found = [power * part for power in powers for part in within]
        found = [place for place in found if low <= place <= high]
        if len(found) >= LEAST:
            return found
    return even_ticks(low, high, binary=binary)


def even_ticks(low: float, high: float, *, binary: bool = False) -> list[float]:
    """Return places of ticks in even, round steps between two ends."""
    rough = (high - low) / 4
    if rough <= 0:
        return [low]
    if binary:
        step = 2.0 ** floor(log2(rough))
    else:
        power = 10.0 ** floor(log10(rough))
        step = next(part for part in (5.0, 2.0, 1.0) if part * power <= rough) * power
    return [place * step for place in range(ceil(low / step), floor(high / step) + 1)]


def readable(axis: Axis, unit: str = "") -> None:
    """Put readable ticks on an axis, whose scale is set already.

    Args:
        axis: of a figure.
        unit: of its values; some are written at each tick.
    """
    from matplotlib.ticker import FuncFormatter, LogFormatterMathtext, NullFormatter, NullLocator

    binary, logarithmic = unit == "B", axis.get_scale() == "log"
    if binary or logarithmic:
        axis.set_major_locator(_locator(log_ticks if logarithmic else even_ticks, binary))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())
    powers = LogFormatterMathtext()
    powers.set_axis(axis)

    def written(value: float, place: int | None) -> str:
        low, high = axis.get_view_interval()
        if unit in UNITS_AT_TICKS:
            return quantity(value, unit)
        wide = logarithmic and high > _PLAIN_RATIO * low
        return str(powers(value, place)) if wide else f"{value:,.10g}"

    axis.set_major_formatter(FuncFormatter(written))


def _locator(places: Callable[..., list[float]], binary: bool) -> Any:
    from matplotlib.ticker import Locator

    class Readable(Locator):
        """Ticks of what is in view."""

        def __call__(self) -> list[float]:
            assert self.axis is not None
            low, high = sorted(self.axis.get_view_interval())
            return self.tick_values(low, high)

        def tick_values(self, vmin: float, vmax: float) -> list[float]:
            return places(vmin, vmax, binary=binary)

    return Readable()
