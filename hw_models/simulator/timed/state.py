"""What changes while a timed run goes on: flat arrays of integers, so that two moments can be compared."""

from __future__ import annotations

from typing import Any

import numpy as np

from hw_models.simulator.timed import codes, layout


def program_of(build: Any) -> Any:
    """Return what a run reads, in one array."""
    return _flat([build.values[name] for name in layout.PROGRAM_PARTS], ())


def _flat(parts: list[Any], numbers: tuple[int, ...]) -> Any:
    """One array of several, with the places at which they begin before them."""
    begin, places = len(parts) + len(numbers), []
    for part in parts:
        places.append(begin)
        begin += part.size
    return np.concatenate([np.array([*places, *numbers], np.int64), *(part.ravel().astype(np.int64) for part in parts)])


def state_of(build: Any) -> Any:
    """Return the state before the first turn, in one array."""
    lowered = build.lowered
    threads, loops = len(lowered.threads), len(lowered.controls.found)
    tasks, holds, pipes = len(lowered.tasks), len(lowered.kept), len(lowered.pipes)
    rows = threads + pipes * codes.RING
    memories, arrays = len(build.machine.memories), len(build.machine.arrays)
    made = len(build.values["made_pipe"])

    def zeros(*shape: int) -> Any:
        return np.zeros(tuple(max(n, 1) for n in shape), np.int64)

    values = {
        "pc": build.values["entry"].copy(),
        "state": zeros(threads),
        "time": zeros(threads),
        "start": zeros(threads),
        "stale": zeros(threads),
        "cause": zeros(threads),
        "split": zeros(threads),
        "join": zeros(threads, 2),
        "stack": zeros(threads + 1),
        "running": zeros(1),
        "context": zeros(rows, 5 * loops + holds + pipes),
        "around": zeros(rows, holds),
        "marks": zeros(threads, len(lowered.marks)),
        "pipes": zeros(pipes, 4),
        "forked": zeros(len(lowered.forks)),
        "done": zeros(len(lowered.signals)),
        "done_at": zeros(len(lowered.signals), codes.RING),
        "entered": zeros(holds),
        "fetched": zeros(holds),
        "fetched_at": zeros(holds, codes.RING),
        "fetch_cause": zeros(holds, codes.RING),
        "left": zeros(holds),
        "left_at": zeros(holds, codes.RING),
        "left_number": zeros(holds, codes.RING),
        "written": zeros(holds),
        "written_at": zeros(holds, codes.RING),
        "array": zeros(arrays, 4),
        "out": zeros(tasks, 3),
        "made_tag": np.full((max(made, 1), codes.RING), -1, np.int64),
        "made_at": zeros(made, codes.RING, 3),
        "follow": zeros(tasks, 6),
        "free": zeros(len(build.ports)),
        "used": zeros(memories, 4),
        "clock": zeros(3),
        "visits": zeros(lowered.size),
        "busy": zeros(tasks),
        "watch": zeros(loops),
        "cursor": zeros(len(build.layout.places)),
        "banks": build.layout.banks,
        "stalled": zeros(arrays, len(codes.CAUSES)),
        "served": zeros(len(build.ports)),
    }
    values["pipes"][:, 0] = -1
    values["pipes"][:, 2] = -1
    parents = build.values["parent"]
    for number, parent in enumerate(parents):
        forked = any(part.thread == number for fork in lowered.forks for part in fork.parts)
        if parent < 0 and not forked:
            values["state"][number] = codes.RUNNING
            values["stack"][values["running"][0]] = number
            values["running"][0] += 1
    parts = [values[name] for name in layout.STATE_PARTS]
    numbers = (
        5 * loops + holds + pipes,
        5 * loops,
        5 * loops + holds,
        max(holds, 1),
        max(len(lowered.marks), 1),
        0,
        0,
        0,
    )
    found = _flat(parts, numbers)
    found[layout.LENGTH] = len(found)
    return found


def part(state: Any, name: str) -> Any:
    """Return a part of a state, as a view."""
    index = layout.STATE_PARTS.index(name)
    end = state[index + 1] if index + 1 < len(layout.STATE_PARTS) else len(state)
    width = state[layout.WIDTH] if name == "context" else _WIDTHS.get(name, 1)
    if name == "marks":
        width = state[layout.N_MARKS]
    if name == "around":
        width = state[layout.N_HOLDS]
    return state[state[index] : end].reshape(-1, width) if width > 1 else state[state[index] : end]


_WIDTHS = {
    "array": 4,
    "used": 4,
    "stalled": len(codes.CAUSES),
    "out": 3,
    "join": 2,
    "pipes": 4,
    "follow": 6,
    "made_tag": codes.RING,
    "made_at": 3 * codes.RING,
    "done_at": codes.RING,
    "fetched_at": codes.RING,
    "fetch_cause": codes.RING,
    "left_at": codes.RING,
    "left_number": codes.RING,
    "written_at": codes.RING,
}
