"""The link between a memory and what hangs below it: multicast, reduction, bandwidth, and the hops of a mesh.

Instances may be laid out as a mesh over some dimensions of their fan-out. A value enters at a corner and goes from
neighbour to neighbour, one dimension after another:

    to one of the N instances   mean hops h = Σ over mesh dimensions of (n - 1) / 2
    to all of them              N - 1, the edges of a tree that spans them
    to k of them                h + (k - 1) · (N - 1 - h) / (N - 1)

The first two are exact; between them hops are taken to grow linearly, so that k take fewer than k paths would.
Results that are summed on their way out take the same trees backwards.

Source: W. J. Dally, B. Towles, "Principles and Practices of Interconnection Networks", 2004, chapters 3 and 5 (mean
distance in a mesh, dimension-order routing); T. T. Ye, L. Benini, G. De Micheli, "Analysis of power consumption on
switch fabrics in network routers", DAC 2002 (energy of a transfer as a sum over its hops).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

Number: TypeAlias = Any
"""A number, or an array with a value per machine or point."""


@dataclass(frozen=True)
class Link:
    """What connects a memory with the instances of a node below it.

    Attributes:
        multicast: whether one read of the memory can serve all instances that want the value.
        reduction: whether results of several instances are summed on their way out.
        bandwidth_bytes_per_s: of the whole link, at the memory's side; None is without limit.
        hop_j_per_byte: energy of moving a byte to a neighbour on the mesh, in joules.
        mesh: (name, length) of the dimensions that are laid out as a mesh.
    """

    multicast: bool = True
    reduction: bool = True
    bandwidth_bytes_per_s: Number | None = None
    hop_j_per_byte: Number = 0.0
    mesh: tuple[tuple[str, Number], ...] = ()

    @property
    def hops(self) -> Number:
        """Mean number of hops of a value that goes to one instance."""
        return sum((n - 1) / 2 for _, n in self.mesh)

    def hops_of(self, delivered: Number, sent: Number) -> Number:
        """Return the hops of values that are sent once each and delivered to one or more instances.

        Args:
            delivered: how many values arrive, counted at each instance.
            sent: how many leave the memory; as many as are delivered if nothing is multicast.
        """
        if not self.mesh:
            return 0 * delivered
        instances: Number = 1.0
        for _, length in self.mesh:
            instances = instances * length
        more = (instances - 1 - self.hops) / np.maximum(instances - 1, 1)
        return sent * self.hops + (delivered - sent) * more

    def energy_j(self, delivered_bytes: Number, sent_bytes: Number) -> Number:
        """Return the energy of such deliveries in joules."""
        return self.hops_of(delivered_bytes, sent_bytes) * self.hop_j_per_byte
