"""Energy of an activity: every access and every operation at its node's price, by node and class of work.

    memory, registers   bits moved · price of a bit (``hw_models.prices``); what goes on to the next memory out is read
                        too, where the accounting says so
    link                bytes · hops · energy of a hop
    operations          number · price of one, by class of work; arrays that are clocked pay for idle PEs as well
    leakage             leakage of the chip · latency

Counts are summed as exact integers before they are priced. Where the published evaluation and the hardware part ways,
``Accounting`` corrects after the count: one register file of an array for all, first reads of a sum that a wrapped
product counts, accesses to a spilled part at the buffer as well, exponentials on a unit of their own in tiles.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from einsum_cascades.loops.arith import Number
from einsum_cascades.loops.counts import Row
from einsum_cascades.operators import WORK_CLASSES
from hw_models.accounting import Accounting
from hw_models.machine import Array, Machine
from hw_models.prices import Prices, node_prices
from hw_models.spatial.activity import WITHIN_POINT, Activity
from hw_models.spatial.moved import Moved, real

LEAKAGE = "leakage"


@dataclass(frozen=True)
class Energy:
    """Energy in joules by node, by class of work, and of leakage."""

    parts_j: dict[str, Number]

    @property
    def total_j(self) -> Number:
        """All parts together, in joules."""
        found: Number = 0.0
        for part in self.parts_j.values():
            found = found + part
        return found


def energy(activity: Activity, accounting: Accounting, latency_s: Number) -> Energy:
    """Return what an activity costs in energy.

    Raises:
        InputError: a component has no price.
    """
    machine = activity.machine
    prices = node_prices(machine)
    parts = _moved_j(activity, accounting, prices)
    for kind, joules in _operations_j(activity, accounting, prices, latency_s).items():
        parts[kind] = joules
    parts[LEAKAGE] = prices.leak_w * latency_s if accounting.leakage else 0.0
    return Energy(parts)


def _moved_j(activity: Activity, accounting: Accounting, prices: Prices) -> dict[str, Number]:
    reads: dict[str, Moved] = {node.name: Moved() for node in activity.machine.nodes}
    writes = {node.name: Moved() for node in activity.machine.nodes}
    hops: dict[str, Number] = {}
    sent: dict[tuple[str, str, int], Number] = {}
    for row in activity.rows:
        width = _width(row, activity)
        if row.action == "sent":
            sent[row.node, row.tensor, row.site] = row.count
        elif row.action == "delivered":
            link = activity.machine.node(row.node).link
            if link.mesh:
                value_bytes = real(width) / 8
                entered = real(sent[row.node, row.tensor, row.site]) * value_bytes
                joules = link.energy_j(real(row.count) * value_bytes, entered)
                hops[row.node] = hops.get(row.node, 0.0) + joules
        elif row.action == "read" or (row.action == "drain" and accounting.drain_reads):
            reads[row.node].add(width, row.count)
        elif row.action in ("fill", "update"):
            writes[row.node].add(width, row.count)
            if row.action == "update":
                reads[row.node].add(width, _wrapped(row, activity, accounting))
        elif row.action.startswith("spilled") and accounting.spilled_accesses_in_buffer:
            (reads if row.action == "spilled read" else writes)[row.node].add(width, row.count)
    found: dict[str, Number] = {}
    for node in activity.machine.nodes:
        price = prices.nodes[node.name]
        joules = reads[node.name].bits * price.read_j_per_bit + writes[node.name].bits * price.write_j_per_bit
        if isinstance(node, Array) and not accounting.all_register_files:
            joules = joules / real(activity.machine.instances(node.name))
        found[node.name] = joules + hops.get(node.name, 0.0)
    return found


def _width(row: Row, activity: Activity) -> Number:
    if row.tensor == WITHIN_POINT:
        return activity.machine.role_bits["accumulators"]
    return activity.bits(row.tensor)


def _wrapped(row: Row, activity: Activity, accounting: Accounting) -> Number:
    """First reads of a sum in the buffer that the published evaluation charges although nothing is there."""
    root = activity.machine.root.name
    if accounting.partition_size_bits is None or row.hold < 0 or activity.machine.node(row.node).parent != root:
        return 0
    hold = activity.plan.sites[row.hold]
    around = activity.plan.sites[row.site].holds
    near = next(h for h in reversed(around) if h.unit == hold.unit)  # its tile is the one that the evaluation takes
    tile = activity.measure.region(near, activity.plan.operand_of(hold).ranks)
    return row.begun - accounting.free_first_reads(row.begun, tile)


def _operations_j(activity: Activity, accounting: Accounting, prices: Prices, latency_s: Number) -> dict[str, Number]:
    """Joules by class of work, all arrays together."""
    work: dict[tuple[str, Any], Number] = {}
    for task in activity.tasks.values():
        unit = activity.machine.array(task.array).unit_of
        for kind, number in task.operations.items():
            if (
                kind == "exp"
                and task.tile
                and unit[kind].component == "exp"
                and not accounting.exp_unit_energy_in_tiles
            ):
                continue
            work[task.array, kind] = work.get((task.array, kind), 0) + number
    joules: dict[str, Number] = dict.fromkeys(WORK_CLASSES, 0.0)
    for array, kind in sorted(work):
        joules[kind] = joules[kind] + real(work[array, kind]) * prices.operations[array, kind] * _idle(
            array, activity, latency_s
        )
    return joules


def _idle(array: str, activity: Activity, latency_s: Number) -> Number:
    """By how much idle PEs raise the energy of those that work: 1 where they are gated."""
    if not activity.machine.array(array).clocked:
        return 1.0
    tasks = [task for task in activity.tasks.values() if task.array == array]
    cycles: Number = 0
    useful: Number = 0
    for task in tasks:
        cycles, useful = cycles + task.cycles, useful + task.pe_cycles
    return real(activity.machine.instances(array)) * real(cycles) / real(useful)


__all__ = ["Energy", "Machine", "energy"]
