"""Where tensors lie in an off-chip memory that has banks and rows, and which runs of bytes a visit touches.

Each tensor is laid out with its last rank innermost, the instances outermost, one tensor after another. Of ranks that a
visit touches whole, those inside are one run with the first that it does not. Visits follow one another through the
tensor, and begin again at its end.
"""

from __future__ import annotations

from collections import Counter
from math import prod
from typing import Any, Final

import numpy as np

from einsum_cascades.loops.sites import Site
from hw_models.machine import Machine
from hw_models.simulator.off_chip import off_chip
from hw_models.simulator.timed.control import Table
from hw_models.simulator.timed.ports import Port
from hw_models.simulator.timed.ragged import Ragged
from hw_models.simulator.timed.visits import Visits
from hw_models.spatial.activity import value_bits

ALIGNED: Final = 1 << 20
"""Bytes at whose multiples tensors begin."""


class Layout:
    """The runs of all visits; there are none if the memory is bandwidth and latency alone."""

    def __init__(self, visits: Visits, machine: Machine) -> None:
        self.visits, self.machine, self.space = visits, machine, visits.space
        self.rows, self.runs = Ragged(5), list[int]()
        self.timed = machine.root.timing is not None
        self.model = off_chip(machine.root, float(machine.frequency_hz)) if self.timed else None
        self.places: dict[str, tuple[int, int, int]] = {}
        begin = 0
        for number, (tensor, ranks) in enumerate(self.space.cascade.ranks_of.items()):
            size = max(-(-int(self.space.values(ranks)) * self._bits(tensor) // 8), 1)
            self.places[tensor] = number, begin, size
            begin += -(-size // ALIGNED) * ALIGNED

    def add(self, table: Table, sites: tuple[Site, ...], port: Port, *, out: bool) -> None:
        """Add what visits transfer over a port."""
        rows = []
        if self.timed and port.node == self.machine.root.name:
            found: dict[str, list[tuple[int, int, int]]] = {}
            for number, (at, first) in enumerate(table):
                moved: Counter[tuple[str, int]] = Counter()
                for place, site in enumerate(sites):
                    for row in self.visits.moved(site, at, first):
                        if row.node == port.node and row.action in port.actions and row.out == out:
                            moved[row.tensor, place] += int(row.count * row.part)
                for (tensor, place), count in moved.items():
                    kept = found.setdefault(tensor, [(0, 0, 0)] * table.size)
                    kept[number] = self._run(sites[place], at, tensor, count)
            for tensor, runs in found.items():
                which, begin, size = self.places[tensor]
                rows.append((len(self.runs), which, begin, size, int(out)))
                self.runs += [n for run in runs for n in run]
        self.rows.add(rows)

    def _run(self, site: Site, at: Any, tensor: str, count: int) -> tuple[int, int, int]:
        """Runs, bytes of each, and from one to the next."""
        bits, along = self._bits(tensor), 1
        sides = self.visits.covered(site, at, tensor)
        stride = prod(size for _, size in sides)
        for place, (touched, size) in reversed(list(enumerate(sides))):
            along *= touched
            if touched < size:
                stride = prod(n for _, n in sides[place:])
                break
        along = max(1, min(along, count))
        runs = -(-count // along)
        return runs if count else 0, -(-along * bits // 8), -(-max(stride, along) * bits // 8)

    def _bits(self, tensor: str) -> int:
        return int(value_bits(tensor, self.space.cascade, self.machine))

    def arrays(self) -> dict[str, Any]:
        """Return the arrays that a run reads."""
        names = "runs_from runs_table runs_tensor runs_base runs_size runs_write"
        found = dict(zip(names.split(), self.rows.arrays(), strict=True))
        found["runs"] = np.array(self.runs, np.int64)
        found["dram"] = np.zeros(0, np.int64) if self.model is None else self.model.params
        return found

    @property
    def banks(self) -> Any:
        """The state of the memory before it is used."""
        return np.zeros(1, np.int64) if self.model is None else self.model.state()
