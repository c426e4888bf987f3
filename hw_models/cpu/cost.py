"""The cost of an activity on a CPU: a roofline with caches, step by step.

    seconds of a step = products + copying + max(vector operations, streaming)
    products          = Σ calls · seconds(rows, columns, depth)                  (``product_rates.py``)
    copying           = Σ bytes / operand bandwidth(level)                       what products wait for operands
    vector operations = Σ operations / rate(operator)
    streaming         = max over levels of bytes / bandwidth(level)              prefetched under the arithmetic
    latency           = launch + makespan of the tasks over the threads          (``makespan.py``)

All rates are divided by the machine's ``scaling`` for the threads that run. The parts of the latency add up to it:
each is its seconds summed over all tasks and divided by the threads, and ``idle`` is what threads wait at the end.
Source of the roofline: Williams, Waterman, Patterson, "Roofline", CACM 52(4), 2009; with caches: Ilic, Pratas, Sousa,
"Cache-aware Roofline model", IEEE Computer Architecture Letters 13(1), 2014.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, TypeAlias, TypeVar

from hw_models.bound import slowest
from hw_models.cpu.activity import CpuActivity, Step, Task, Transfer
from hw_models.cpu.machine import Cpu
from hw_models.cpu.makespan import makespan

Key = TypeVar("Key")
Seconds: TypeAlias = defaultdict[Key, float]
EinsumUnit: TypeAlias = tuple[str, Literal["products", "vector"]]
_ROUNDING: Final = 1e-9
RESOURCES: Final = ("products", "exp", "vector", "memory", "overhead")
"""What a latency depends on: all levels are ``memory``, idle threads are ``overhead``."""
TRANSCENDENTAL = frozenset({"exp", "log", "tanh", "sigmoid"})


class EinsumSeconds(NamedTuple):
    """One Einsum's part: its seconds of arithmetic, as a share of the latency, and what does it."""

    name: str
    unit: Literal["products", "vector"]
    share: float


@dataclass(frozen=True, slots=True)
class CpuCost:
    """The cost of an activity on a CPU.

    Attributes:
        latency_s: seconds.
        parts_s: seconds of ``products``, ``exp``, ``vector``, of waiting for each level, ``overhead`` and ``idle``;
            they add up to the latency.
        bound: which of ``RESOURCES`` the latency depends on most (``bound.py``), or several joined by ``+``.
        dram_bytes: traffic to and from the memory.
        live_bytes: bytes that the threads' working tiles take together.
        passes: passes over the row rank.
        per_einsum: arithmetic of each Einsum.
    """

    latency_s: float
    parts_s: tuple[tuple[str, float], ...]
    bound: str
    dram_bytes: int
    live_bytes: int
    passes: int
    per_einsum: tuple[EinsumSeconds, ...]

    energy_j: None = None


def cpu_cost(activity: CpuActivity, cpu: Cpu) -> CpuCost:
    """Return the cost of an activity."""
    number = activity.instances * sum(count for _, count in activity.tasks)
    threads = min(activity.threads, number)
    whole = _TaskSeconds()
    durations = []
    for task, count in activity.tasks:
        one = _task(task, cpu, threads)
        durations.append((sum(one.parts.values()), count))
        whole.add(one, count * activity.instances / threads)
    latency = cpu.launch_s + makespan(durations, activity.instances, threads)
    parts, needs = whole.parts, whole.needs
    parts["overhead"] += cpu.launch_s
    idle = latency - sum(parts.values())
    parts["idle"] = idle if idle > _ROUNDING * latency else 0.0
    needs["overhead"] += cpu.launch_s + parts["idle"]
    names = ("products", "exp", "vector", *(level.name for level in cpu.levels), "overhead", "idle")
    return CpuCost(
        latency_s=latency,
        parts_s=tuple((name, parts[name]) for name in names),
        bound=slowest({name: needs[name] for name in RESOURCES}),
        dram_bytes=activity.dram_bytes,
        live_bytes=activity.live_bytes,
        passes=activity.passes,
        per_einsum=tuple(EinsumSeconds(*key, seconds / (latency or 1.0)) for key, seconds in whole.einsums.items()),
    )


@dataclass(frozen=True, slots=True)
class _TaskSeconds:
    """Seconds of tasks: by part, of arithmetic by Einsum, and those that depend on each resource."""

    parts: Seconds[str] = field(default_factory=lambda: defaultdict(float))
    einsums: Seconds[EinsumUnit] = field(default_factory=lambda: defaultdict(float))
    needs: Seconds[str] = field(default_factory=lambda: defaultdict(float))

    def add(self, other: _TaskSeconds, times: float) -> None:
        for mine, its in ((self.parts, other.parts), (self.needs, other.needs)):
            for name, seconds in its.items():
                mine[name] += seconds * times
        for einsum, seconds in other.einsums.items():
            self.einsums[einsum] += seconds * times


def _task(task: Task, cpu: Cpu, threads: int) -> _TaskSeconds:
    """Seconds of one task."""
    found = _TaskSeconds()
    found.parts["overhead"] = found.needs["overhead"] = cpu.task_s
    scaling = cpu.scaling(threads)
    for step in task.steps:
        arithmetic: Seconds[str] = defaultdict(float)
        for product in step.products:
            seconds = product.calls * cpu.products.seconds(product.rows, product.columns, product.depth) / scaling
            arithmetic["products"] += seconds
            found.einsums[product.einsum, "products"] += seconds * step.times
        for vector in step.vectors:
            seconds = vector.operations / cpu.rate_of[vector.operator] / scaling
            arithmetic["exp" if vector.operator in TRANSCENDENTAL else "vector"] += seconds
            found.einsums[vector.einsum, "vector"] += seconds * step.times
        covered = arithmetic["exp"] + arithmetic["vector"]
        for table in (arithmetic, _waiting(step, cpu, threads, covered)):
            for part, seconds in table.items():
                found.parts[part] += seconds * step.times
        for name, seconds in _needs(step, cpu, threads, arithmetic).items():
            found.needs[name] += seconds * step.times
    return found


def _needs(step: Step, cpu: Cpu, threads: int, arithmetic: Seconds[str]) -> dict[str, float]:
    """Seconds of a step by what they depend on: vector operations and streaming go on at once, so only the longer."""
    covered = arithmetic["exp"] + arithmetic["vector"]
    copying = sum(transfer.bytes / cpu.level_of[transfer.level].operand_bytes_per_s for transfer in step.copied)
    _, streaming = _slowest(step.streamed, cpu, threads)
    found = {"products": arithmetic["products"], "memory": copying + (streaming if streaming >= covered else 0.0)}
    if covered >= streaming:
        found |= {"exp": arithmetic["exp"], "vector": arithmetic["vector"]}
    return found


def _waiting(step: Step, cpu: Cpu, threads: int, covered: float) -> Seconds[str]:
    """Seconds for which a step waits for each level, ``covered`` of them under its vector operations."""
    waits: Seconds[str] = defaultdict(float)
    for transfer in step.copied:
        waits[transfer.level] += transfer.bytes / cpu.level_of[transfer.level].operand_bytes_per_s
    slowest, seconds = _slowest(step.streamed, cpu, threads)
    if seconds > covered:
        waits[slowest] += seconds - covered
    return waits


def _slowest(transfers: Iterable[Transfer], cpu: Cpu, threads: int) -> tuple[str, float]:
    """The level that takes longest for its transfers, and the seconds that it takes."""
    busy: Seconds[str] = defaultdict(float)
    for transfer in transfers:
        busy[transfer.level] += transfer.bytes / cpu.level_of[transfer.level].bytes_per_s(threads)
    return max(busy.items(), key=lambda item: item[1], default=(cpu.levels[0].name, 0.0))
