"""In which counts two accounts of one run differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from einsum_cascades.loops.counts import Row

Access = tuple[str, str, str]
"""Node, tensor and action."""
ACTIONS: Final = {
    "read": "values of {tensor} read from {node}",
    "fill": "values of {tensor} filled into {node}",
    "update": "results of {tensor} written to {node}",
    "drain": "results of {tensor} leaving {node}",
    "sent": "values of {tensor} sent over the link of {node}",
    "delivered": "values of {tensor} delivered by the link of {node}",
    "spilled read": "values of {tensor} read past {node}",
    "spilled write": "values of {tensor} written past {node}",
}


@dataclass(frozen=True)
class Difference:
    """A count that the engine and a simulation do not agree on.

    Attributes:
        what: is counted, in words.
        engine, simulated: how often.
    """

    what: str
    engine: int
    simulated: int

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {"what": self.what, "engine": self.engine, "simulated": self.simulated}


def totals(rows: Iterable[Row]) -> dict[Access, int]:
    """Return how many values each access moves, over all sites of a tree."""
    found: Counter[Access] = Counter()
    for row in rows:
        found[row.node, row.tensor, row.action] += int(row.count)
    return {access: count for access, count in found.items() if count}


def of_accesses(engine: Mapping[Access, int], simulated: Mapping[Access, int]) -> list[Difference]:
    """Return the accesses that differ."""
    found = []
    for access in sorted({*engine, *simulated}):
        counts = engine.get(access, 0), simulated.get(access, 0)
        if counts[0] != counts[1]:
            node, tensor, action = access
            found.append(Difference(ACTIONS[action].format(node=node, tensor=tensor), *counts))
    return found
