"""How long a kernel takes: a grid of thread blocks over multiprocessors (SMs), trip by trip.

Of a block that shares its SM with n - 1 others of its kind, a trip takes

    max(compute, shared memory, L2, HBM)
    compute = round of n·workers workers                                                        (``overlap.py``)
    worker  = products: flops / rate(unit) · SMs;  loops: Σ max(special, fma, alu) / their rates · SMs;
              delays: the latency of each group of products, and of each reduction
    L2      = n · bytes / min(bandwidth / SMs at work, bytes in flight / latency)
    HBM     = n · bytes / (bytes in flight / latency); the kernel's traffic as a whole takes its bandwidth

The first trip of a row takes the latency of its loads, their time and its work, one after another, unless a
persistent block loaded ahead; what waits leaves the units to others on the SM. A kernel takes

    launches + max(makespan of its blocks over the SMs (``waves.py``), HBM latency + HBM bytes / bandwidth)

and its parts add up to that: a trip is charged to the memory that takes longest, or, where computing takes longer, to
the unit that is busiest in full and to the others for what it leaves; ``latency`` is what no unit accounts for,
``waves`` what SMs wait at the end.
Source of the roofline: Williams, Waterman, Patterson, "Roofline", CACM 52(4), 2009; of in-flight bytes: Little's law.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, TypeAlias

from hw_models.gpu.activity import Block, Kernel, Loop, Product, Transfer, Trip
from hw_models.gpu.machine import Gpu
from hw_models.gpu.overlap import Worker, round_s
from hw_models.gpu.waves import grid_s

Seconds: TypeAlias = defaultdict[str, float]
EinsumUnit: TypeAlias = tuple[str, Literal["products", "vector"]]


@dataclass(frozen=True)
class KernelTiming:
    """Seconds of one kernel's trips while a number of its blocks share each SM.

    Attributes:
        kernel, gpu: what runs where.
        resident: blocks that an SM works on at a time.
    """

    kernel: Kernel
    gpu: Gpu
    resident: int
    _known: dict[Trip, dict[str, float]] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, kernel: Kernel, gpu: Gpu) -> KernelTiming:
        """The timing of a kernel with as many blocks on an SM as it holds, and no more than there are for it."""
        return cls(kernel, gpu, max(1, min(kernel.resident, -(-kernel.number // gpu.sms))))

    def parts(self) -> dict[str, float]:
        """Return the seconds of the kernel by part."""
        kernel, gpu = self.kernel, self.gpu
        blocks = [(self._block(block), count) for block, count in kernel.blocks]
        speed = self._speed(self.resident)
        alone = [(sum(found.values()) * speed, count) for found, count in blocks]
        snake = kernel.dispatch == "snake"
        makespan = grid_s(alone, kernel.instances, gpu.sms, kernel.resident, self._speed, snake=snake)
        launches = kernel.launches * gpu.launch_s
        fill = self._fill_s() if kernel.persistent else 0.0
        memory = gpu.hbm.latency_s + kernel.hbm_bytes / gpu.hbm.bytes_per_s if kernel.hbm_bytes else 0.0
        if memory > makespan + fill:
            return {"HBM": memory, "launch": launches}
        spread: Seconds = defaultdict(float)
        for found, count in blocks:
            for part, seconds in found.items():
                spread[part] += seconds * count * kernel.instances / (gpu.sms * self.resident)
        spread["waves"] += max(0.0, makespan - sum(spread.values()))
        over = sum(spread.values()) / makespan if makespan else 1.0
        spread = defaultdict(float, {part: seconds / over for part, seconds in spread.items()})
        spread["latency"] += fill
        return {**spread, "launch": launches}

    def einsums(self) -> dict[EinsumUnit, float]:
        """Return the seconds that each Einsum keeps its unit busy, all SMs sharing the blocks."""
        found: defaultdict[EinsumUnit, float] = defaultdict(float)
        for block, count in self.kernel.blocks:
            share = count * self.kernel.instances / self.gpu.sms
            for trip in block.trips:
                for work in trip.work:
                    if isinstance(work, Product):
                        found[work.einsum, "products"] += self._product_s(work) * trip.times * share
                    else:
                        found[work.einsum, "vector"] += max(self._loop_s(work)) * trip.times * share
        return found

    def _fill_s(self) -> float:
        """Seconds from the start of a persistent kernel to its first product."""
        first = self.kernel.blocks[0][0].trips[0]
        return self.gpu.block_s + self._wait_s(first.transfers)

    def _speed(self, sharing: int) -> float:
        """Speed of each of some blocks on an SM, of one alone 1: that of the trip that the kernel makes most."""
        if sharing == 1:
            return 1.0
        most = self._most
        alone, together = (sum(KernelTiming(self.kernel, self.gpu, n)._trip(most).values()) for n in (1, sharing))
        return alone / together if together else 1.0

    @cached_property
    def _most(self) -> Trip:
        """The trip that blocks make most often."""
        trips = [trip for block, _ in self.kernel.blocks for trip in block.trips]
        return replace(max(trips, key=lambda trip: trip.times), first=False, awaited=())

    def _block(self, block: Block) -> Seconds:
        """Seconds of a block by part."""
        found: Seconds = defaultdict(float)
        for trip in block.trips:
            for part, seconds in self._trip(trip).items():
                found[part] += seconds * trip.times
        if not self.kernel.persistent:
            found["latency"] += self._exposed(self.gpu.block_s, 1)
        return found

    def _exposed(self, seconds: float, workers: int) -> float:
        """What the waiting of some workers of a block costs, where all others on the SM go on meanwhile, and faster.

        n of them at the speed s(n) do n·s(n) of work per second, and n - 1 of them (n - 1)·s(n - 1).
        """
        n = self.resident * workers
        if n == 1:
            return seconds
        worker = self._worker(self._most)
        rounds = [
            round_s(worker, k, self.kernel.sharing, pipelined=self.kernel.pipelined)
            for k in (n * self.kernel.workers // workers, (n - 1) * self.kernel.workers // workers)
        ]
        return seconds * max(0.0, n - (n - 1) * rounds[0] / rounds[1]) if rounds[1] else seconds

    def _trip(self, trip: Trip) -> dict[str, float]:
        """Seconds of one trip by part."""
        key = replace(trip, times=1)
        if key not in self._known:
            self._known[key] = self._timed(trip)
        return self._known[key]

    def _timed(self, trip: Trip) -> Seconds:
        kernel, stores = self.kernel, self.gpu.stores
        busy = self._busy(trip)
        compute = round_s(
            self._worker(trip),
            kernel.workers * self.resident,
            kernel.sharing,
            pipelined=kernel.pipelined and not trip.first,
        )
        if trip.first and not kernel.persistent:
            found = _charge(busy, compute)
            found["latency"] += self._exposed(self._wait_s((*trip.transfers, *trip.awaited)), 1)
            return found
        shared = self.resident * trip.shared_bytes * self.gpu.sms / self.gpu.shared_bytes_per_s
        loads = {s.name: self._transfer_s(trip.transfers, s.name, shared=s.name == "L2") for s in stores}
        memory = {"shared": shared, **loads}
        slowest = max(memory, key=lambda name: memory[name])
        found = defaultdict(float, {slowest: memory[slowest]}) if memory[slowest] > compute else _charge(busy, compute)
        if trip.awaited:
            found["latency"] += self._exposed(self._wait_s(trip.awaited), kernel.workers)
        return found

    def _wait_s(self, transfers: tuple[Transfer, ...]) -> float:
        """Seconds from the issue of one block's loads to their end, all SMs loading."""
        times = [self._transfer_s(transfers, store.name, shared=True) / self.resident for store in self.gpu.stores]
        found = [s.latency_s for s in self.gpu.stores if any(t.store == s.name for t in transfers)]
        return max(found, default=0.0) + max(times)

    def _busy(self, trip: Trip) -> dict[str, float]:
        """Seconds that units are busy in a round of all blocks on an SM."""
        found = {"tensor": 0.0, "exp": 0.0, "vector": 0.0}
        for work in trip.work:
            if isinstance(work, Product):
                found["tensor"] += self._product_s(work)
            else:
                special, others = self._loop_s(work)
                found["exp"] += special
                found["vector"] += others
        return {part: seconds * self.resident for part, seconds in found.items()}

    def _worker(self, trip: Trip) -> Worker:
        early = late = loops = delay = 0.0
        looped = False
        for work in trip.work:
            if isinstance(work, Loop):
                looped = True
                loops += max(self._loop_s(work))
                delay += self.gpu.vector.latency_s * work.reduces
            elif looped:
                late += self._product_s(work)
            else:
                early += self._product_s(work)
        pipelined = self.kernel.pipelined and not trip.first
        delay += self.gpu.tensor.latency_s * (bool(early) + bool(late and not pipelined))
        workers = self.kernel.workers
        return Worker(early / workers, late / workers, loops / workers, delay)

    def _product_s(self, product: Product) -> float:
        return product.flops * self.gpu.sms / self.gpu.flops_per_s(self.kernel.unit)

    def _loop_s(self, loop: Loop) -> tuple[float, float]:
        """Seconds of the special functions, and of the slower of the other pipes."""
        vector, sms = self.gpu.vector, self.gpu.sms
        return (
            loop.special * sms / vector.special_per_s,
            max(loop.fma * sms / vector.fma_per_s, loop.alu * sms / vector.alu_per_s),
        )

    @property
    def _at_work(self) -> int:
        """SMs that have blocks."""
        return min(self.gpu.sms, self.kernel.number)

    def _transfer_s(self, transfers: tuple[Transfer, ...], store: str, *, shared: bool) -> float:
        """Seconds of the transfers of all blocks on an SM to and from a memory.

        Args:
            transfers: of one block.
            store: the memory.
            shared: whether all SMs at work use it at the same time, each its part of the bandwidth.
        """
        size = self.resident * sum(t.bytes for t in transfers if t.store == store)
        if not size:
            return 0.0
        memory = self.gpu.l2 if store == "L2" else self.gpu.hbm
        seconds = size * self._at_work / memory.bytes_per_s if shared else 0.0
        if self.kernel.in_flight_bytes:
            seconds = max(seconds, size * memory.latency_s / (self.resident * self.kernel.in_flight_bytes))
        return seconds


def _charge(busy: dict[str, float], seconds: float) -> Seconds:
    """Divide seconds among what was busy: the longest in full, then the others as far as they go."""
    found: Seconds = defaultdict(float)
    left = seconds
    first = max(busy, key=lambda part: busy[part])
    found[first] = min(left, busy[first])
    left -= found[first]
    others = {part: s for part, s in busy.items() if part != first and s > 0}
    total = sum(others.values())
    covered = min(left, total)
    for part, s in others.items():
        found[part] = covered * s / total
    found["latency"] = max(0.0, left - covered)
    return found
