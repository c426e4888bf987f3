"""Which stretch of a recording a picture shows: a few epochs from the middle that are as long as most.

The busiest array tells the epochs: one begins where its tasks' epoch number changes. Among as many epochs in a row as
are asked for, all of the most common length, those nearest the middle are chosen; without such, the middle ones. Of an
epoch that is too long for a picture its beginning is shown.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from einsum_cascades.errors import InputError
from hw_models.simulator.recording import NO_EPOCH, Recording

ENOUGH: Final = 400
"""Tasks above which fewer epochs are shown, down to one."""
MOST: Final = 5_000
"""Tasks that a picture shows at most."""


def window(recording: Recording, first: int | None, last: int | None, epochs: int) -> tuple[int, int]:
    """Return the first cycle of a picture and the one after its last.

    Args:
        recording: with a task at least.
        first, last: those that the user names; None for those found.
        epochs: how many to show, where none are named.

    Raises:
        InputError: nothing runs there, or so much that nobody could tell it apart.
    """
    tasks, end = recording.tasks, recording.end
    if not len(tasks):
        raise InputError("nothing was recorded, so there is nothing to draw")
    if first is None and last is None:
        first, last = _found(recording, epochs)
    first, last = 0 if first is None else first, end if last is None else last
    if not 0 <= first < last:
        raise InputError(f"no cycle lies from {first:,} to before {last:,}", hint=f"the run has cycles 0 to {end:,}")
    count = int(np.count_nonzero((tasks.ends > first) & (tasks.begins < last)))
    if not count:
        raise InputError(f"nothing runs from cycle {first:,} to {last:,}", hint=f"the run has cycles 0 to {end:,}")
    if count > MOST:
        raise InputError(
            f"from cycle {first:,} to {last:,} run {count:,} tasks, more than the {MOST:,} that a picture shows",
            hint="choose a shorter stretch; a trace shows them all",
        )
    return first, last


def boundaries(recording: Recording) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the cycles at which epochs begin and end, and their numbers, as the busiest array tells them."""
    tasks = recording.tasks
    spent = np.bincount(tasks.tracks, tasks.ends - tasks.begins, len(recording.tracks))
    arrays = np.array([track.kind == "array" for track in recording.tracks])
    place = int(np.argmax(np.where(arrays, spent, -1) if arrays.any() else spent))
    mine = np.flatnonzero((tasks.tracks == place) & (tasks.epochs != NO_EPOCH))
    numbers, begins = tasks.epochs[mine], tasks.begins[mine]
    starts = np.flatnonzero(np.diff(numbers, prepend=numbers[:1] - 1))
    lasts = np.append(starts[1:], len(mine))[: len(starts)] - 1
    return begins[starts], tasks.ends[mine][lasts], numbers[starts]


def _found(recording: Recording, epochs: int) -> tuple[int, int]:
    begins, _, _ = boundaries(recording)
    if len(begins) < 3:
        return _few(recording)
    for count in range(min(epochs, len(begins) - 1), 0, -1):
        place = _middle(np.diff(begins), count)
        first, last = int(begins[place]), int(begins[place + count])
        tasks = recording.tasks
        seen = np.flatnonzero((tasks.ends > first) & (tasks.begins < last))
        if count == 1 or len(seen) <= ENOUGH:
            break
    if len(seen) > MOST:
        last = int(np.sort(tasks.begins[seen])[ENOUGH])
    return first, last


def _middle(lengths: NDArray[np.int64], count: int) -> int:
    """Return which of the places from which ``count`` lengths are the most common one is nearest the middle."""
    values, numbers = np.unique(lengths, return_counts=True)
    steady = (lengths == values[np.argmax(numbers)]).astype(np.int64)
    middle = (len(lengths) - count) / 2
    runs = np.flatnonzero(np.convolve(steady, np.ones(count, np.int64), "valid") == count)
    places = runs if runs.size else np.arange(len(lengths) - count + 1)
    return int(places[np.argmin(np.abs(places - middle))])


def _few(recording: Recording) -> tuple[int, int]:
    """Return all of a run without epochs, or as many tasks from its middle as can be told apart."""
    tasks = recording.tasks
    order = np.argsort(tasks.begins, kind="stable")
    cut = max(0, (len(order) - ENOUGH) // 2)
    kept = order[cut : len(order) - cut]
    return int(tasks.begins[kept[0]]), max(int(tasks.ends[kept].max()), int(tasks.begins[kept[0]]) + 1)
