"""Timing on a GPU: events around each call, behind a kernel that waits, so that the launches of the CPU do not count.

What is compared is timed in turns, round after round, after the GPU has worked for long enough to leave the low clock
of an idle chip.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from time import perf_counter
from typing import Any, Final

from kernels.measure.environment import software
from kernels.measure.timing import Timing

_WAIT_CYCLES: Final = 2_000_000
"""What the GPU waits before a timed call, in cycles: about 1 ms, in which the CPU launches the call."""
_WARM_UP_S: Final = 0.2
"""Seconds that the GPU works before anything is timed."""
_WARM_UP_CALLS: Final = 3
ROTATED_BYTES: Final = 3 * 2**27
"""Inputs that a kernel goes through in turn take at least so much, several times an L2 cache."""


def timed(calls: Sequence[Callable[[], Any]], repeats: int) -> Timing:
    """Time the same work on several inputs in turn; see `timed_in_turns`."""
    return timed_in_turns({"": calls}, repeats)[""]


def timed_in_turns(works: Mapping[str, Sequence[Callable[[], Any]]], repeats: int) -> dict[str, Timing]:
    """Time several works in turns.

    Args:
        works: by name, the same work on each of several inputs, which are taken one after another.
        repeats: rounds, after untimed ones.
    """
    torch: Any = importlib.import_module("torch")
    calls = {name: cycle(work) for name, work in works.items()}
    start, rounds = perf_counter(), 0
    while rounds < _WARM_UP_CALLS or perf_counter() - start < _WARM_UP_S:
        for work in calls.values():
            next(work)()
        torch.cuda.synchronize()
        rounds += 1
    events: dict[str, list[tuple[Any, Any]]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in calls.items():
            first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            call = next(work)
            torch.cuda._sleep(_WAIT_CYCLES)
            first.record()
            call()
            last.record()
            events[name].append((first, last))
    torch.cuda.synchronize()
    return {name: Timing(tuple(a.elapsed_time(b) * 1e-3 for a, b in pairs)) for name, pairs in events.items()}


def gpu_name() -> str:
    """Return the name of the current CUDA device."""
    torch: Any = importlib.import_module("torch")
    return str(torch.cuda.get_device_name())


def gpu_software() -> str:
    """Return the versions of what runs on the GPU."""
    torch: Any = importlib.import_module("torch")
    return f"{software('torch', 'triton')}, CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"
