"""The bandwidths of a machine: of its memories, shared by reads and writes or of each, and of its links."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from hw_models.machine import Machine, Memory
from hw_models.simulator.timed import codes

READS: Final = ("read", "drain")
WRITES: Final = ("fill", "update")


@dataclass(frozen=True)
class Port:
    """A bandwidth.

    Attributes:
        name: the memory, with what of it; or the link to a node.
        node: whose accesses it carries.
        actions: which of them.
        only: dimensions of the instances that have one each.
        bits_per_tick: how fast it is.
    """

    name: str
    kind: str
    node: str
    actions: tuple[str, ...]
    only: frozenset[str]
    bits_per_tick: Fraction


def ports_of(machine: Machine) -> tuple[Port, ...]:
    """Return the bandwidths that a machine states."""
    found = []

    def add(name: str, kind: str, node: str, actions: tuple[str, ...], rate: Any, at: str) -> None:
        if rate is not None:
            speed = Fraction(rate) * 8 / Fraction(machine.frequency_hz) / codes.TICKS
            found.append(Port(name, kind, node, actions, machine.levels.fan_out(at), speed))

    for node in machine.nodes:
        if isinstance(node, Memory):
            shared, reads, writes = node.rates
            add(node.name, "port", node.name, READS + WRITES, shared, node.name)
            add(f"{node.name} reads", "port", node.name, READS, reads, node.name)
            add(f"{node.name} writes", "port", node.name, WRITES, writes, node.name)
        if node.parent is not None:
            add(f"{node.name} link", "link", node.name, ("sent",), node.link.bandwidth_bytes_per_s, node.parent)
    return tuple(found)
