"""How long the workers of a multiprocessor take for one round: a trip of each of them.

A worker (a group of warps) goes through its trip in order: products on the tensor units for t seconds, loops on the
vector lanes for v, delays for w. If it is *pipelined*, those products that need its loops run under the loops of the
next trip, so that its chain is

    c = t_early + max(v, t_late) + w        else        c = t + v + w

With n workers, for none of which a unit is ever idle in vain,

    round = max(n·t, n·v, c)                                                                     (alternating)

which workers reach that hand the tensor units to each other in turn (the ping-pong of FlashAttention-3). Workers in
step with each other, because a barrier ends every trip, all want the same unit at the same time:

    round = n·t + n·v + w                                                                           (lockstep)

Workers that run free of each other meet at the units by chance: mean-value analysis of a closed network gives

    R_k(n) = d_k · (1 + Q_k(n-1)),  X(n) = n / (w + Σ R_k(n)),  Q_k(n) = X(n) · R_k(n)
    round  = n / X(n), less min(v, t_late) if pipelined, and never less than alternating                (free)

Sources: Denning, Buzen, "The Operational Analysis of Queueing Network Models", ACM Computing Surveys 10(3), 1978
(bounds); Reiser, Lavenberg, "Mean-Value Analysis of Closed Multichain Queuing Networks", JACM 27(2), 1980; Shah et al.,
"FlashAttention-3", 2024, sections 3.1 and 3.2 (ping-pong between warp groups, pipelining within one).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from hw_models.gpu.activity import Sharing


class Worker(NamedTuple):
    """Seconds of one worker's trip, were it alone on a multiprocessor.

    Attributes:
        early: products that wait for no loop of the trip.
        late: products that do.
        loops: vector loops.
        delay: latencies.
    """

    early: float
    late: float
    loops: float
    delay: float

    @property
    def products(self) -> float:
        """All products."""
        return self.early + self.late


def round_s(worker: Worker, workers: int, sharing: Sharing, *, pipelined: bool) -> float:
    """Return the seconds in which each of some equal workers makes one trip.

    Args:
        worker: one of them.
        workers: how many share the multiprocessor.
        sharing: how they share it.
        pipelined: whether late products run under the loops of the next trip.
    """
    products, loops = workers * worker.products, workers * worker.loops
    hidden = min(worker.loops, worker.late) if pipelined else 0.0
    if sharing == "lockstep":
        return products + loops - workers * hidden + worker.delay
    chain = worker.products + worker.loops + worker.delay - hidden
    least = max(products, loops, chain)
    if sharing == "alternating":
        return least
    met = mean_value((worker.products, worker.loops), workers, worker.delay)
    return max(least, met - hidden)


def mean_value(demands: Sequence[float], customers: int, think: float = 0.0) -> float:
    """Return the mean seconds of one cycle of customers through stations, by exact mean-value analysis.

    Args:
        demands: seconds that a customer needs at each station.
        customers: how many there are.
        think: seconds that each spends elsewhere in a cycle.
    """
    queues = [0.0] * len(demands)
    cycle = think
    for number in range(1, customers + 1):
        responses = [demand * (1.0 + queue) for demand, queue in zip(demands, queues, strict=True)]
        cycle = think + sum(responses)
        rate = number / cycle if cycle else 0.0
        queues = [rate * response for response in responses]
    return cycle
