"""Timing on a GPU: events around each call, behind a kernel that waits, so that launches by the CPU do not count."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any, Final

from kernels.measure.environment import software
from kernels.measure.timing import Timing

_WAIT_CYCLES: Final = 600_000
"""What the GPU waits before a timed call, in cycles: about 0.3 ms, in which the CPU launches the call."""
_WARM_UP: Final = 3
ROTATED_BYTES: Final = 3 * 2**27
"""Inputs that a kernel goes through in turn take at least so much, several times an L2 cache."""


def timed(calls: Sequence[Callable[[], Any]], repeats: int) -> Timing:
    """Time the same work on several inputs in turn.

    Args:
        calls: the work, on each of the inputs.
        repeats: how often it is timed, after a few untimed calls.
    """
    torch: Any = importlib.import_module("torch")
    for number in range(max(_WARM_UP, min(len(calls), 8))):
        calls[number % len(calls)]()
    torch.cuda.synchronize()
    pairs = []
    for number in range(repeats):
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda._sleep(_WAIT_CYCLES)
        first.record()
        calls[number % len(calls)]()
        last.record()
        pairs.append((first, last))
    torch.cuda.synchronize()
    return Timing(tuple(first.elapsed_time(last) * 1e-3 for first, last in pairs))


def gpu_name() -> str:
    """Return the name of the current CUDA device."""
    torch: Any = importlib.import_module("torch")
    return str(torch.cuda.get_device_name())


def gpu_software() -> str:
    """Return the versions of what runs on the GPU."""
    torch: Any = importlib.import_module("torch")
    return f"{software('torch', 'triton')}, CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"
