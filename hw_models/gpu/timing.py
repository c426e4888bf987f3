"""How long a kernel takes: a grid of thread blocks over multiprocessors (SMs), trip by trip.

Of a block that shares its SM with n - 1 others of its kind, a trip takes

    max(compute, L2, HBM)
    compute = round of n blocks, or of n·workers workers where those go their own way           (``overlap.py``)
    each    = products: flops / rate(unit) · SMs;  reads: bytes / rate · SMs;
              loops: Σ max(special, fma, alu) / their rates · SMs;
              delays: the latency of each group of products, and of each reduction
    L2      = n · bytes / min(bandwidth / SMs at work, bytes in flight / latency)
    HBM     = n · bytes / (bytes in flight / latency); the kernel's traffic as a whole takes its bandwidth

The first trip of a row takes the latency of its loads, their time and its work, one after another, unless a
persistent block loaded ahead; what waits leaves the units to others on the SM. So does the time from one block to the
next, which a persistent block is charged as well for taking its next tile. A kernel takes

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
from hw_models.gpu.overlap import Chain, round_s
from hw_models.gpu.waves import grid_s

Seconds: TypeAlias = defaultdict[str, float]
EinsumUnit: TypeAlias = tuple[str, Literal["products", "vector"]]


@dataclass(frozen=True)
class KernelTiming:
    """Seconds of one kernel's trips while a number of its blocks share each SM.

    Attributes:
        kernel, gpu: what runs where.
        resident: blocks that an SM works on at a time.
        unthrottled: whether the clock stays what it is without tensor units.
    """

    kernel: Kernel
    gpu: Gpu
    resident: int
    unthrottled: bool = False
    _known: dict[Trip, dict[str, float]] = field(default_factory=dict, repr=False, compare=False)
    _rounds: dict[int, float] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, kernel: Kernel, gpu: Gpu) -> KernelTiming:
        """The timing of a kernel with as many blocks on an SM as it holds, and no more than there are for it."""
        return cls(kernel, gpu, max(1, min(kernel.resident, -(-kernel.number // gpu.sms))))

    def parts(self) -> dict[str, float]:
        """Return the seconds of the kernel by part."""
        kernel, gpu = self.kernel, self.gpu
        alone, last = self._alone(kernel.blocks), self._alone(kernel.last)
        snake = kernel.dispatch == "snake"
        makespan = grid_s(alone, kernel.instances, gpu.sms, kernel.resident, self._speed, last=last, snake=snake)
        launches = kernel.launches * gpu.launch_s
        fill = self.fill_s()
        memory = gpu.hbm.latency_s + kernel.hbm_bytes / gpu.hbm.bytes_per_s if kernel.hbm_bytes else 0.0
        if memory > makespan + fill:
            return {"HBM": memory, "launch": launches}
        spread: Seconds = defaultdict(float)
        for block, count in kernel.counted:
            for part, seconds in self._block(block).items():
                spread[part] += seconds * count / (gpu.sms * self.resident)
        spread["waves"] += max(0.0, makespan - sum(spread.values()))
        over = sum(spread.values()) / makespan if makespan else 1.0
        spread = defaultdict(float, {part: seconds / over for part, seconds in spread.items()})
        spread["latency"] += fill
        return {**spread, "launch": launches}

    def steady_s(self) -> float:
        """Return the seconds of the kernel's blocks were every SM busy to the end, without launches and fill."""
        share = 1.0 / (self.gpu.sms * self.resident)
        return sum(sum(self._block(block).values()) * count * share for block, count in self.kernel.counted)

    def einsums(self) -> dict[EinsumUnit, float]:
        """Return the seconds that each Einsum keeps its unit busy, all SMs sharing the blocks."""
        found: defaultdict[EinsumUnit, float] = defaultdict(float)
        for block, count in self.kernel.counted:
            share = count / self.gpu.sms
            for trip in block.trips:
                for work in trip.work:
                    if isinstance(work, Product):
                        found[work.einsum, "products"] += self._product_s(work) * trip.times * share
                    else:
                        found[work.einsum, "vector"] += max(self._loop_s(work)) * trip.times * share
        return found

    def _alone(self, blocks: tuple[tuple[Block, int], ...]) -> list[tuple[float, int]]:
        """Seconds of blocks alone on an SM, such that n share it at the speed of n, and how many there are."""
        speed = self._speed(self.resident)
        return [(sum(self._block(block).values()) * speed, count) for block, count in blocks]

    def fill_s(self) -> float:
        """Return the seconds from the start of a persistent kernel to its first product."""
        if not self.kernel.persistent:
            return 0.0
        first = self.kernel.blocks[0][0].trips[0]
        return self.gpu.block_s + self._wait_s(first.transfers)

    def _speed(self, sharing: int) -> float:
        """Speed of each of some blocks on an SM, of one alone 1: that of the trip that the kernel makes most."""
        return self._speeds[sharing - 1]

    @cached_property
    def _speeds(self) -> tuple[float, ...]:
        numbers = range(1, max(self.kernel.resident, self.resident) + 1)
        together = [
            sum(KernelTiming(self.kernel, self.gpu, n, self.unthrottled)._trip(self._most).values()) for n in numbers
        ]
        return tuple(together[0] / seconds if seconds else 1.0 for seconds in together)

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
        found["latency"] += self._exposed(self.gpu.block_s, self._goers if self.kernel.persistent else 1)
        return found

    def _exposed(self, seconds: float, waiting: int) -> float:
        """What the waiting of some of a block costs, where all others on the SM go on meanwhile, and faster.

        n of them at the speed s(n) do n·s(n) of work per second, and n - 1 of them (n - 1)·s(n - 1).
        """
        n = self.resident * waiting
        if n == 1:
            return seconds
        each = self._goers // waiting
        together, without = self._most_s(n * each), self._most_s((n - 1) * each)
        return seconds * max(0.0, n - (n - 1) * together / without) if without else seconds

    def _most_s(self, number: int) -> float:
        """Seconds in which each of some of those who go their own way makes the trip that they make most."""
        if number not in self._rounds:
            self._rounds[number] = self._round(self._most, number)
        return self._rounds[number]

    @property
    def _goers(self) -> int:
        """How many of a block go their own way."""
        return 1 if self.kernel.sharing == "blocks" else self.kernel.workers

    def _trip(self, trip: Trip) -> dict[str, float]:
        """Seconds of one trip by part."""
        found = self._known.get(trip)
        if found is None:
            key = replace(trip, times=1)
            found = self._known.get(key)
            if found is None:
                found = self._known[key] = self._timed(trip)
            self._known[trip] = found
        return found

    def _timed(self, trip: Trip) -> Seconds:
        busy = self._busy(trip)
        compute = self._round(trip, self._goers * self.resident)
        if trip.first and not self.kernel.persistent:
            found = _charge(busy, compute)
            found["latency"] += self._exposed(self._wait_s((*trip.transfers, *trip.awaited)), 1)
            return found
        loads = {s.name: self._transfer_s(trip.transfers, s.name, shared=s.name == "L2") for s in self.gpu.stores}
        slowest = max(loads, key=lambda name: loads[name])
        found = defaultdict(float, {slowest: loads[slowest]}) if loads[slowest] > compute else _charge(busy, compute)
        if trip.awaited:
            found["latency"] += self._exposed(self._wait_s(trip.awaited), self._goers)
        return found

    def _wait_s(self, transfers: tuple[Transfer, ...]) -> float:
        """Seconds from the issue of one block's loads to their end: all come by way of the L2 cache."""
        latencies = [s.latency_s for s in self.gpu.stores if any(t.store == s.name for t in transfers)]
        size = sum(t.bytes for t in {t.tensor: t for t in reversed(transfers)}.values())
        return max(latencies, default=0.0) + size * self._at_work / self.gpu.l2.bytes_per_s

    def _busy(self, trip: Trip) -> dict[str, float]:
        """Seconds that units are busy in a round of all blocks on an SM."""
        found = {"tensor": 0.0, "exp": 0.0, "vector": 0.0, "shared": self._reads_s(trip)}
        for work in trip.work:
            if isinstance(work, Product):
                found["tensor"] += self._product_s(work)
            else:
                special, others = self._loop_s(work)
                found["exp"] += special
                found["vector"] += others
        return {part: seconds * self.resident for part, seconds in found.items()}

    def _round(self, trip: Trip, number: int) -> float:
        """Seconds in which each of some of those who go their own way makes a trip."""
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
        delay += trip.awaits * self.gpu.l2.latency_s
        delay += self.gpu.tensor.latency_s * (bool(early) + bool(late and not pipelined))
        each = self._goers
        chain = Chain(early / each, late / each, loops / each, self._reads_s(trip) / each, delay / self._pace)
        return round_s(chain, number, alternating=self.kernel.sharing == "alternating", pipelined=pipelined)

    @cached_property
    def _clock(self) -> float:
        """Clock of the kernel, of that at which vector lanes were measured: the busier tensor units, the lower."""
        if self.kernel.unit == "vector":
            return 1.0
        full = KernelTiming(self.kernel, self.gpu, self.resident, unthrottled=True)
        block = max((block for block, _ in self.kernel.counted), key=lambda one: sum(trip.times for trip in one.trips))
        busy = sum(full._busy(trip)["tensor"] * trip.times for trip in block.trips)
        seconds = sum(full._block(block).values())
        return self.gpu.tensor.clock_at(self.kernel.unit, min(1.0, busy / seconds)) if busy else 1.0

    @cached_property
    def _pace(self) -> float:
        """Clock of the kernel, or of the others' microbenchmarks where it is not looked for."""
        return 1.0 if self.unthrottled else self._clock

    def _reads_s(self, trip: Trip) -> float:
        """Seconds of reading operands into registers."""
        return trip.shared_bytes * self.gpu.sms / (self.gpu.shared_bytes_per_s * self._pace)

    def _product_s(self, product: Product) -> float:
        unit, gpu = self.kernel.unit, self.gpu
        seconds = product.flops * gpu.sms / gpu.flops_per_s(unit)
        return seconds if unit == "vector" else seconds * gpu.tensor.clock_at(unit, 1.0) / self._pace

    def _loop_s(self, loop: Loop) -> tuple[float, float]:
        """Seconds of the special functions, and of the slower of the other pipes."""
        vector, sms = self.gpu.vector, self.gpu.sms / self._pace
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
