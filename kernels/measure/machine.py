"""This machine as its microbenchmarks see it: every parameter of the CPU model, none of them from a kernel's timing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from statistics import median

import numpy as np

from hw_models.cpu.machine import Cpu
from kernels.cpu.attention import prepare
from kernels.cpu.caches import machine_caches
from kernels.measure import loops
from kernels.measure.environment import processor, short_name, software, today
from kernels.measure.levels import memory_levels
from kernels.measure.operators import operator_rates
from kernels.measure.products import product_rates, scaling
from kernels.measure.threads import together
from kernels.measure.timing import in_turns

PACKAGES = ("numpy", "numba", "torch")
_TASKS = 20_000


def measure_cpu(threads: int, *, quick: bool = False, name: str = "") -> Cpu:
    """Run all microbenchmarks on some threads.

    Args:
        threads: threads that the machine is to be modelled with.
        quick: fewer sizes and rounds.
        name: what to call the machine; its processor's name if not given.
    """
    rounds = 3 if quick else 7
    launch_s, task_s = _overheads(threads, rounds)
    rates = operator_rates(rounds)
    return Cpu(
        name=name or short_name(processor()),
        threads=threads,
        levels=memory_levels(machine_caches(), threads, rounds),
        products=product_rates(rounds, quick=quick),
        operators=tuple(rates.items()),
        efficiency=scaling(threads, rounds) if threads > 1 else 1.0,
        launch_s=launch_s,
        task_s=task_s,
        title=processor(),
        measured=f"fusemax measure cpu, {today()}: {processor()}, {software(*PACKAGES)}",
    )


def median_of(machines: Sequence[Cpu]) -> Cpu:
    """Return the machine whose every figure is the median of those of several measurements of one machine."""

    def mid(figures: Sequence[float]) -> float:
        return median(figures)

    first = machines[0]
    levels = []
    for same in zip(*(m.levels for m in machines), strict=True):
        figures = {
            key: mid([getattr(level, key) for level in same])
            for key in ("thread_bytes_per_s", "total_bytes_per_s", "operand_bytes_per_s")
        }
        usable = [level.usable_bytes for level in same if level.usable_bytes is not None]
        levels.append(replace(same[0], usable_bytes=sorted(usable)[len(usable) // 2] if usable else None, **figures))
    rates = [mid(same) for same in zip(*(m.products.flops_per_s for m in machines), strict=True)]
    return replace(
        first,
        levels=tuple(levels),
        products=replace(first.products, flops_per_s=tuple(rates)),
        operators=tuple((name, mid([m.rate_of[name] for m in machines])) for name, _ in first.operators),
        efficiency=mid([m.efficiency for m in machines]),
        launch_s=mid([m.launch_s for m in machines]),
        task_s=mid([m.task_s for m in machines]),
    )


def _overheads(threads: int, rounds: int) -> tuple[float, float]:
    """Seconds of one run on some threads that has nothing to do but to be prepared, and of one task more."""
    values = np.ones((threads, 64, 16), np.float32)

    def run(tasks: int) -> None:
        prepare(values, values, values, "attention-1-pass", threads, None)
        counter = np.zeros(1, np.int64)
        together([partial(loops.take_tasks, counter, tasks)] * threads)

    timings = in_turns({tasks: partial(run, tasks) for tasks in (0, _TASKS)}, 3 * rounds)
    launch_s, all_s = timings[0].median_s, timings[_TASKS].median_s
    return launch_s, max(0.0, all_s - launch_s) * threads / _TASKS
