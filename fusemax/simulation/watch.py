"""What is kept of a run's recording: when each array begins, a stretch to draw, and all of it in a trace if wanted."""

from __future__ import annotations

from typing import Final

import numpy as np

from fusemax.figures.steady import boundaries
from fusemax.simulation.perfetto import TraceWriter
from hw_models.simulator.recording import Recording, joined

EPOCHS: Final = 24
"""Epochs that are kept at least: those in the middle are steady."""
FEW: Final = 6
"""Epochs from which on a stretch can be drawn."""
TASKS: Final = 1 << 20
"""Tasks above which no further chunk is kept."""


class Watch:
    """Takes a run's chunks.

    Args:
        trace: where all of them go.
    """

    def __init__(self, trace: TraceWriter | None = None) -> None:
        self.trace = trace
        self.begins: dict[str, int] = {}
        self.cycles = 0
        self._kept: list[Recording] = []
        self._enough = False

    def add(self, chunk: Recording) -> None:
        """Take the next chunk.

        Raises:
            InputError: the trace cannot be written.
        """
        if self.trace is not None:
            self.trace.add(chunk)
        self.cycles = max(self.cycles, chunk.end)
        for place, track in enumerate(chunk.tracks):
            if track.name not in self.begins and (mine := np.flatnonzero(chunk.tasks.tracks == place)).size:
                self.begins[track.name] = int(chunk.tasks.begins[mine[0]])
        if not self._enough:
            self._kept.append(chunk)
            kept = joined(self._kept)
            self._kept = [kept]
            self._enough = len(kept.tasks) >= TASKS or len(boundaries(kept)[0]) >= EPOCHS

    @property
    def recording(self) -> Recording | None:
        """The first stretch of the run, long enough to draw some steady epochs; None before anything has run.

        It ends where something is left out for the first time, if there are enough epochs before.
        """
        if not self._kept:
            return None
        (kept,) = self._kept
        if kept.skipped:
            before = kept.between(0, kept.skipped[0].begin)
            return before if len(before.tasks) and len(boundaries(before)[0]) >= FEW else kept
        return kept
