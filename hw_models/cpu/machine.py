"""A CPU as its microbenchmarks see it: caches, sustained bandwidths, rates of products and of vectorised operators.

Every rate is that of one thread while it runs alone. While n of N threads run, each works at the fraction
``1 - (1 - efficiency) · (n - 1) / (N - 1)`` of it, where ``efficiency`` was measured with all N busy; bandwidths
have a limit for all threads together instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

from einsum_cascades.operators import OPERATORS
from hw_models.cpu.product_rates import ProductRates

Placement: TypeAlias = tuple[tuple[str, float], ...]
"""Levels where something lies, and the share of it that lies in each."""


@dataclass(frozen=True)
class Level:
    """A level of the memory hierarchy.

    Attributes:
        name: ``L1``, ``L2``, ``L3`` or ``memory``.
        bytes: capacity, of each core's own if it is not shared; None where everything fits.
        usable_bytes: up to how many bytes the bandwidths hold: less where others use the level too.
        shared: whether all cores share it.
        thread_bytes_per_s: sustained by one thread alone.
        total_bytes_per_s: sustained by all threads together.
        operand_bytes_per_s: bytes per second that each thread's matrix products wait for, in addition to their
            arithmetic, when an operand comes from here.
    """

    name: str
    bytes: int | None
    usable_bytes: int | None
    shared: bool
    thread_bytes_per_s: float
    total_bytes_per_s: float
    operand_bytes_per_s: float

    def bytes_per_s(self, threads: int) -> float:
        """What each of some threads sustains."""
        return min(self.thread_bytes_per_s, self.total_bytes_per_s / threads)


@dataclass(frozen=True)
class Cpu:
    """A CPU.

    Attributes:
        threads: threads that run at the same time, one per core.
        levels: the memory hierarchy, nearest first; the last is the memory.
        products: rates of matrix products.
        operators: (operator, operations per second of one thread) of vectorised loops; ``transpose`` among them, a
            copy that makes another axis the last one.
        efficiency: speed of a thread while all are busy, relative to one alone.
        launch_s: overhead of one run on all threads.
        task_s: overhead of handing one task to a thread.
        value_bytes: bytes per value that all rates are of.
        title, measured: what it is, and where the figures come from.
    """

    name: str
    threads: int
    levels: tuple[Level, ...]
    products: ProductRates
    operators: tuple[tuple[str, float], ...]
    efficiency: float = 1.0
    launch_s: float = 0.0
    task_s: float = 0.0
    value_bytes: int = 4
    title: str = ""
    measured: str = ""

    @property
    def kind(self) -> Literal["cpu"]:
        """What sort of machine it is."""
        return "cpu"

    @cached_property
    def rate_of(self) -> dict[str, float]:
        """Operations per second of one thread by operator."""
        stated = dict(self.operators)
        alike = {name: "div" if op.work_class == "divide" else "max" for name, op in OPERATORS.items()}
        return {name: stated[other] for name, other in alike.items() if other in stated} | stated

    @cached_property
    def level_of(self) -> dict[str, Level]:
        """The levels by name."""
        return {level.name: level for level in self.levels}

    def placed(self, size: int, *, sharers: int = 1) -> Placement:
        """Return where bytes are found that are worked on again and again, by each of the threads that share a level.

        That is the nearest level that can hold them; of what exceeds the last cache, the part that fits is found
        there and the rest in the memory: a shared cache does not replace what has not been used for longest.
        """
        for level in self.levels[:-1]:
            held = size * (sharers if level.shared else 1)
            if level.usable_bytes is None or held <= level.usable_bytes:
                return ((level.name, 1.0),)
        last, memory = self.levels[-2:]
        if last.usable_bytes is None or not last.shared:
            return ((memory.name, 1.0),)
        share = last.usable_bytes / (size * sharers)
        return (last.name, share), (memory.name, 1.0 - share)

    def scaling(self, threads: int) -> float:
        """Speed of each of some threads relative to one alone."""
        if self.threads == 1:
            return 1.0
        return 1.0 - (1.0 - self.efficiency) * min(1.0, (threads - 1) / (self.threads - 1))
