"""How full memories are over a stretch of a recording: a step line each, and the peak beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from einsum_cascades.errors import short
from fusemax.figures import style
from fusemax.units import quantity
from hw_models.simulator.recording import Recording

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEIGHT_IN: Final = 0.42
LONGEST: Final = 36
FILL: Final = "#C9D6DF"
LINE: Final = "#4A6274"
_ROOM: Final = 1.15
"""Height of a panel, in peaks or capacities."""
_LOW: Final = 0.25
"""Below this share of the capacity, the peak gives the scale."""


@dataclass(frozen=True, eq=False)
class Level:
    """What a memory holds.

    Attributes:
        name: of the memory.
        at: cycles at which it changes, both ends of the stretch included.
        bytes: from each of these on.
        capacity_bytes: None for none known.
    """

    name: str
    at: NDArray[np.int64]
    bytes: NDArray[np.int64]
    capacity_bytes: int | None


def levels(shown: Recording, first: int, last: int) -> list[Level]:
    """Return the level of each memory that ever holds anything in a stretch.

    Args:
        shown: what `Recording.between` returned for the stretch.
        first, last: its first cycle, and the one after its last.
    """
    found, changes = [], shown.changes
    for place, counter in enumerate(shown.counters):
        mine = changes.where(changes.counters == place)
        before = mine.bytes[mine.at <= first]
        later = mine.where(mine.at > first)
        start = before[-1:] if before.size else np.zeros(1, np.int64)
        held = np.concatenate([start, later.bytes, later.bytes[-1:] if len(later) else start])
        if held.any():
            found.append(Level(counter.name, np.array([first, *later.at, last]), held, counter.capacity_bytes))
    return found


def draw_level(axes: Axes, level: Level) -> None:
    """Draw a level on a panel whose ends are set."""
    peak, capacity = int(level.bytes.max()), level.capacity_bytes
    axes.fill_between(level.at, level.bytes, step="post", facecolor=FILL, linewidth=0)
    axes.step(level.at, level.bytes, where="post", color=LINE, linewidth=0.7)
    top = peak
    if capacity is not None and peak >= _LOW * capacity:
        axes.axhline(capacity, **style.BASELINE_LINE)
        top = max(peak, capacity)
    axes.set_ylim(0, _ROOM * top)
    axes.set_yticks([axes.get_ylim()[1] / 2], [short(level.name, LONGEST).replace("$", r"\$")])
    axes.tick_params(axis="y", length=0, pad=4)
    axes.spines["left"].set_visible(False)
    said = f"peak {quantity(peak, 'B')}" + (f"\nof {quantity(capacity, 'B')}" if capacity is not None else "")
    axes.annotate(said, (1, 0.5), (5, 0), "axes fraction", "offset points", va="center", fontsize=style.FONT_PT - 2)
