"""Which stretch of a recording a picture shows: a few epochs from the middle that are as long as most.

The busiest array tells the epochs: one begins with its first task there. Among as many epochs in a row as
are asked for, all of the most common length, those in which the arrays do as much work as in most and that are nearest
the middle are chosen; without such, the middle ones. Of an epoch that is too long for a picture its beginning is shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from einsum_cascades.errors import InputError
from hw_models.simulator.recording import NO_EPOCH, Recording

ENOUGH: Final = 400
"""Tasks above which fewer epochs are shown, down to one."""
UNDER_WAY: Final = 16
"""By how many epochs the oldest one under way may be behind; what is further behind is another pipeline's."""
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
    changes = np.flatnonzero(np.diff(numbers, prepend=numbers[:1] - 1))
    starts = changes[_new(numbers[changes].tolist())]
    lasts = np.append(starts[1:], len(mine))[: len(starts)] - 1
    return begins[starts], tasks.ends[mine][lasts], numbers[starts]


def _new(numbers: Sequence[int]) -> list[bool]:
    """Whether each epoch is a new one, and not one that is still under way beside a newer one."""
    found, latest = [], NO_EPOCH
    for number in numbers:
        found.append(not latest - UNDER_WAY <= number <= latest)
        latest = number if found[-1] else latest
    return found


def _found(recording: Recording, epochs: int) -> tuple[int, int]:
    begins, _, _ = boundaries(recording)
    if len(begins) < 3:
        return _few(recording)
    work = _work(recording, begins)
    for count in range(min(epochs, len(begins) - 1), 0, -1):
        place = _middle(np.diff(begins), work, count)
        first, last = int(begins[place]), int(begins[place + count])
        tasks = recording.tasks
        seen = np.flatnonzero((tasks.ends > first) & (tasks.begins < last))
        if count == 1 or len(seen) <= ENOUGH:
            break
    if len(seen) > MOST:
        last = int(np.sort(tasks.begins[seen])[ENOUGH])
    return first, last


def _work(recording: Recording, begins: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for how many cycles arrays work in tasks that begin in each epoch but the last."""
    arrays = np.array([track.kind == "array" for track in recording.tracks])
    tasks = recording.tasks.where(arrays[recording.tasks.tracks])
    places = np.searchsorted(begins, tasks.begins, "right")
    spent = np.bincount(places, tasks.ends - tasks.begins, len(begins) + 1)
    return spent[1:-1].astype(np.int64)


def _middle(lengths: NDArray[np.int64], work: NDArray[np.int64], count: int) -> int:
    """Return from which place on ``count`` epochs are shown: all of the most common length, of these those with as much
    work as most, of these those nearest the middle."""
    steady = (lengths == _most_common(lengths)).astype(np.int64)
    ones = np.ones(count, np.int64)
    places = np.flatnonzero(np.convolve(steady, ones, "valid") == count)
    if places.size:
        done = np.convolve(work, ones, "valid")[places]
        places = places[done == _most_common(done)]
    else:
        places = np.arange(len(lengths) - count + 1)
    middle = (len(lengths) - count) / 2
    return int(places[np.argmin(np.abs(places - middle))])


def _most_common(values: NDArray[np.int64]) -> int:
    found, numbers = np.unique(values, return_counts=True)
    return int(found[np.argmax(numbers)])


def _few(recording: Recording) -> tuple[int, int]:
    """Return all of a run without epochs, or as many tasks from its middle as can be told apart."""
    tasks = recording.tasks
    order = np.argsort(tasks.begins, kind="stable")
    cut = max(0, (len(order) - ENOUGH) // 2)
    kept = order[cut : len(order) - cut]
    return int(tasks.begins[kept[0]]), max(int(tasks.ends[kept].max()), int(tasks.begins[kept[0]]) + 1)
