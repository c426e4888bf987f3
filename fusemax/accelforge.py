"""Workload, machine and mapping as the YAML that AccelForge reads, as far as its format carries them.

    workload.yaml   ranks, bits, Einsums and how they access tensors
    arch.yaml       memories, and each array as a memory of registers and a compute below it; of several branches all
                    but the last are forks
    mapping.yaml    storage, temporal and spatial loops, sequences, computes

What it does not carry is told: an Einsum has no operator there, so a maximum and a product differ in name only; ranks
are neither iterative nor split; loop trees have no lateness, no last iteration and no branches side by side.

Source of the format: T. Andrulis, M. Gilbert et al., AccelForge, https://github.com/Accelergy-Project/accelforge.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from einsum_cascades.ir import Cascade, Var
from einsum_cascades.loops.sites import Plan
from einsum_cascades.loops.tree import (
    INSTANCES,
    Compute,
    Hold,
    Last,
    Late,
    Loop,
    Node,
    Parallel,
    Pipeline,
    Sequential,
    children,
    nodes,
)
from fusemax.evaluated import SpatialEvaluation
from fusemax.tables import check_folder, write_atomically
from hw_models.machine import Array, Machine, Memory
from hw_models.prices import NodePrice, node_prices

_LARGE: Final = "inf"


class Tagged(dict[str, Any]):
    """A mapping with a YAML tag, which says what kind of node it is."""

    def __init__(self, tag: str, **keys: Any) -> None:
        super().__init__(keys)
        self.tag = tag


def export(found: SpatialEvaluation, folder: Path) -> tuple[list[Path], list[str]]:
    """Write an evaluation's workload, machine and mapping.

    Returns:
        The files, and what they do not carry.

    Raises:
        InputError: the folder cannot be written to.
    """
    plan = found.activity.plan
    check_folder(folder)
    told = list(_of_machine(found.architecture))
    texts = {"arch": _arch(found.architecture)}
    if refused := [*_of_cascade(plan.space.cascade), *_of_tree(plan)]:
        told += [f"workload and mapping are not written: {text}" for text in refused]
    else:
        told += _of_work(plan)
        texts |= {"workload": _workload(found), "mapping": _mapping(plan)}
    files = []
    for name, tree in texts.items():
        path = folder / f"{name}.yaml"
        write_atomically(path, "".join(f"{line}\n" for line in _lines({name: tree})).encode())
        files.append(path)
    return files, told


def _of_cascade(cascade: Cascade) -> Iterator[str]:
    if cascade.iterative_ranks:
        yield f"rank {', '.join(cascade.iterative_ranks)} is iterative"
    for partition in cascade.partitions:
        yield f"rank {partition.rank} is split into {', '.join(partition.parts)}"
    for einsum in cascade.einsums:
        if not all(isinstance(s, Var) and not s.shift for a in (*einsum.inputs, einsum.output) for s in a.subscripts):
            yield f"{einsum.name} has subscripts that are no ranks"


def _of_tree(plan: Plan) -> Iterator[str]:
    names = {Late: "late", Last: "last", Parallel: "par", Pipeline: "pipe"}
    found = {type(node) for node in nodes(plan.tree.body)}
    for kind, name in names.items():
        if kind in found:
            yield f"the mapping has '{name}'"
    for node in nodes(plan.tree.body):
        if isinstance(node, Hold) and (node.part != 1 or node.place is not None):
            yield f"{node.tensor} is kept in part, or in place of another tensor"
        if isinstance(node, Loop) and node.rank == INSTANCES and node.over is not None:
            yield f"{INSTANCES} lie over {node.over}"


def _of_machine(machine: Machine) -> Iterator[str]:
    for array in machine.arrays:
        classes = [work for work, _ in array.units]
        if len(classes) > 1:
            yield f"the units of {array.name} apart: a compute has the energy and the cycle of one {_main(array)}"
    for node in machine.nodes:
        if isinstance(node, Memory) and node.double_buffered:
            yield f"the double buffering of {node.name}"
        if node.link.mesh or node.link.bandwidth_bytes_per_s is not None:
            yield f"the link to {node.name}"
        if not (node.link.multicast and node.link.reduction):
            yield f"that the link to {node.name} does not multicast or reduce"
    for array in machine.arrays:
        if array.fill_cycles or array.drain_cycles:
            yield f"the fill and drain of {array.name}"


def _of_work(plan: Plan) -> Iterator[str]:
    plain = [s.name for s in plan.space.steps.values() if s.einsum.reduced_ranks and len(s.einsum.inputs) == 2]
    if other := [name for name in plan.space.steps if name not in plain]:
        yield f"the operators of {', '.join(other)}"
    if any(isinstance(node, Hold) and node.double for node in nodes(plan.tree.body)):
        yield "which tensors are held twice"


def _workload(found: SpatialEvaluation) -> dict[str, Any]:
    space = found.activity.plan.space
    einsums = []
    for step in space.steps.values():
        accesses = [(operand, False) for operand in step.inputs] + [(step.output, True)]
        listed = [
            {"name": operand.tensor, "projection": {rank: rank.lower() for rank in operand.ranks}}
            | ({"output": True} if output else {})
            for operand, output in accesses
        ]
        einsums.append({"name": step.name, "tensor_accesses": listed})
    tensors = dict.fromkeys(access["name"] for einsum in einsums for access in einsum["tensor_accesses"])  # type: ignore[index]
    return {
        "rank_sizes": {rank: size for rank, size in space.sizes.items() if rank != INSTANCES},
        "n_instances": space.sizes[INSTANCES],
        "bits_per_value": {tensor: found.activity.bits(tensor) for tensor in tensors},
        "einsums": einsums,
    }


def _mapping(plan: Plan) -> dict[str, Any]:
    home = Tagged("Storage", tensors=sorted(plan.at_home), component=plan.levels.home)
    return {"nodes": [home, *_nodes(plan.tree.body, plan, {})]}


def _nodes(node: Node, plan: Plan, cut: dict[str, Any]) -> list[Any]:
    """Return a subtree as a list of nodes, each around those after it.

    Args:
        cut: the tile of each rank that the loops around leave.
    """
    registers = {level.name for level in plan.levels.levels if level.computes}
    if isinstance(node, Compute):
        step = plan.space.steps[node.einsum]
        left = [Tagged("Temporal", rank_variable=r.lower(), tile_shape=1) for r in step.ranks if cut.get(r) != 1]
        return [*left, Tagged("Compute", einsum=node.einsum, component=node.unit)]
    if isinstance(node, Hold):
        memory = f"{node.memory}_registers" if node.memory in registers else node.memory
        return [Tagged("Storage", tensors=[node.tensor], component=memory), *_nodes(node.body, plan, cut)]
    if isinstance(node, Sequential):
        parts = [Tagged("Nested", nodes=_nodes(child, plan, dict(cut))) for child in children(node)]
        return [Tagged("Sequential", nodes=parts)]
    assert isinstance(node, Loop)
    inner = _nodes(node.body, plan, cut | {node.rank: node.tile})
    if node.rank == INSTANCES:  # the workload's n_instances
        return inner
    if node.over is None:
        return [Tagged("Temporal", rank_variable=node.rank.lower(), tile_shape=node.tile), *inner]
    component, _, name = node.over.rpartition(".")
    component = f"{component}_registers" if component in registers else component
    loop = Tagged("Spatial", rank_variable=node.rank.lower(), tile_shape=node.tile, name=name, component=component)
    return [loop, *inner]


def _arch(machine: Machine) -> dict[str, Any]:
    return {"nodes": _branch(machine, machine.root.name)}


def _branch(machine: Machine, name: str) -> list[Any]:
    """Return a node and all that hangs below it: of several branches all but the last are forks."""
    node, price = machine.node(name), node_prices(machine).nodes[name]
    below = [_branch(machine, child.name) for child in machine.nodes if child.parent == name]
    own = [_memory(node, price, machine)] if isinstance(node, Memory) else _array(node, price, machine)
    forks = [Tagged("Fork", nodes=branch) for branch in below[:-1]]
    return [*own, *forks, *(below[-1] if below else [])]


def _memory(memory: Memory, price: NodePrice, machine: Machine) -> Tagged:
    shared, reads, writes = memory.rates
    return _held(
        memory.name,
        _LARGE if memory.bytes is None else 8 * memory.bytes,
        memory.dimensions,
        price,
        machine.instances(memory.name),
        (shared or reads, shared or writes),
    )


def _held(
    name: str, bits: Any, dimensions: tuple[tuple[str, Any], ...], price: NodePrice, count: int, rates: tuple[Any, Any]
) -> Tagged:
    """Return a memory; actions are of one bit."""
    energies = (price.read_j_per_bit, price.write_j_per_bit)
    actions = [
        {"name": action, "energy": float(energy), "throughput": _LARGE if rate is None else 8 * rate}
        for action, energy, rate in zip(("read", "write"), energies, rates, strict=True)
    ]
    spatial = [{"name": dimension, "fanout": length} for dimension, length in dimensions]
    return Tagged(
        "Memory",
        name=name,
        **({"spatial": spatial} if spatial else {}),
        size=bits,
        area=float(price.area_mm2) * 1e-6 / count,
        leak_power=float(price.leak_w) / count,
        tensors={"may_keep": "All"},
        actions=actions,
    )


def _array(array: Array, price: NodePrice, machine: Machine) -> list[Tagged]:
    bits = machine.role_bits["accumulators"]
    room = _LARGE if array.registers is None else array.registers * bits
    main = _main(array)
    energy = float(node_prices(machine).operations[array.name, main])
    rate = machine.frequency_hz / array.unit_of[main].cycles
    count = machine.instances(array.name)
    registers = _held(f"{array.name}_registers", room, array.dimensions, price, count, (None, None))
    action = {"name": "compute", "energy": energy, "throughput": rate}
    return [registers, Tagged("Compute", name=array.name, area=0, leak_power=0, actions=[action])]


def _main(array: Array) -> Any:
    """The work that stands for all of an array's: multiply-accumulates if it does them."""
    return "mac" if array.offers(("mac",)) else array.units[0][0]


def _lines(value: Any, indent: str = "") -> Iterator[str]:
    """Yield the YAML of nested mappings and lists; what holds no further ones stands on one line."""
    for key, item in value.items():
        if isinstance(item, list) and any(isinstance(part, dict) for part in item):
            yield f"{indent}{key}:"
            for part in item:
                if any(isinstance(inner, list | dict) for inner in part.values()):
                    yield f"{indent}- !{part.tag}" if isinstance(part, Tagged) else f"{indent}-"
                    yield from _lines(part, indent + "  ")
                else:
                    yield f"{indent}- {_flow(part)}"
        elif isinstance(item, dict) and any(isinstance(inner, list | dict) for inner in item.values()):
            yield f"{indent}{key}:"
            yield from _lines(item, indent + "  ")
        else:
            yield f"{indent}{key}: {_flow(item)}"


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        tag = f"!{value.tag} " if isinstance(value, Tagged) else ""
        return tag + "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if value == _LARGE or (isinstance(value, str) and value.isidentifier()):
        return str(value)
    return json.dumps(value)
