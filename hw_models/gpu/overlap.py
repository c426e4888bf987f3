"""How long those who share a multiprocessor take for one round: a trip of each of them.

Each of n (a worker, that is a group of warps, or a block whose workers meet at barriers) goes through its trip in
order: s seconds of reading operands into registers, t of products on the tensor units, v of loops on the vector lanes,
w of delays. If it is *pipelined*, those products that need its loops run under the loops of the next trip, so that its
chain is

    c = s + t_early + max(v, t_late) + w        else        c = s + t + v + w

If no unit is ever idle in vain,

    round = max(n·s, n·t, n·v, c)                                                                (alternating)

which workers reach that hand the tensor units to each other in turn (the ping-pong of FlashAttention-3). Those that run
free of each other meet at the units by chance: mean-value analysis of a closed network gives

    R_k(n) = d_k · (1 + Q_k(n-1)),  X(n) = n / (w + Σ R_k(n)),  Q_k(n) = X(n) · R_k(n)
    round  = n / X(n), less min(v, t_late) if pipelined, and never less than alternating                (free)

Sources: Denning, Buzen, "The Operational Analysis of Queueing Network Models", ACM Computing Surveys 10(3), 1978
(bounds); Reiser, Lavenberg, "Mean-Value Analysis of Closed Multichain Queuing Networks", JACM 27(2), 1980; Shah et al.,
"FlashAttention-3", 2024, sections 3.1 and 3.2 (ping-pong between warp groups, pipelining within one).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Chain(NamedTuple):
    """Seconds of one trip of one of those who share a multiprocessor, were it alone there.

    Attributes:
        early: products that wait for no loop of the trip.
        late: products that do.
        loops: vector loops.
        reads: reading operands from shared memory into registers.
        delay: latencies.
    """

    early: float
    late: float
    loops: float
    reads: float
    delay: float

    @property
    def products(self) -> float:
        """All products."""
        return self.early + self.late


def round_s(chain: Chain, number: int, *, alternating: bool = False, pipelined: bool = False) -> float:
    """Return the seconds in which each of some equal ones makes one trip.

    Args:
        chain: one of them.
        number: how many share the multiprocessor.
        alternating: whether they take turns, instead of meeting by chance.
        pipelined: whether late products run under the loops of the next trip.
    """
    demands = chain.reads, chain.products, chain.loops
    hidden = min(chain.loops, chain.late) if pipelined else 0.0
    least = max(*(number * demand for demand in demands), sum(demands) + chain.delay - hidden)
    if alternating:
        return least
    return max(least, mean_value(demands, number, chain.delay) - hidden)


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
