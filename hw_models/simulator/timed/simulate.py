"""Runs a loop tree on a machine in cycles: the one way into the timed simulator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from einsum_cascades.loops.sites import Plan
from einsum_cascades.loops.space import Space
from einsum_cascades.loops.tree import Compute, LoopTree, Node, Parallel, Pipeline, Sequential
from hw_models.accounting import Accounting
from hw_models.machine import Machine
from hw_models.simulator.recording import Recording
from hw_models.simulator.timed.program import Build
from hw_models.simulator.timed.result import Recorder, Timed, result_of
from hw_models.simulator.timed.run import Run

EVENTS = 1 << 18
"""Tasks, transfers and changes between two chunks of a recording."""


def simulate_timed(
    tree: LoopTree,
    space: Space,
    machine: Machine,
    accounting: Accounting,
    *,
    every: bool = False,
    record: Callable[[Recording], None] | None = None,
    progress: Callable[[float], None] | None = None,
) -> Timed:
    """Run a loop tree whose legality has been checked.

    Args:
        accounting: which cycles a point takes (``hw_models.spatial.work``).
        every: whether each task is run one by one, and not what is proven to repeat others left out.
        record: is given what ran, in chunks, in order.
        progress: is given the part of the work that is done, from 0 to 1.

    Raises:
        InputError: an array has no unit for an Einsum's work, or the mapping waits for itself.
    """
    plan = Plan(LoopTree(_anew(tree.body), tree.split), space, machine.levels)
    run = Run(Build(plan, machine, accounting), every, EVENTS if record is not None else 0)
    recorder = Recorder(run)
    last: Recording | None = None
    for events in run.go(progress):
        if record is not None:
            if last is not None:
                record(last)
            last = recorder.chunk(events, complete=False)
    if record is not None and last is not None:
        record(replace(last, complete=True))
    return result_of(run)


def _anew(node: Node) -> Node:
    """A tree none of whose nodes stands in two places."""
    if isinstance(node, Compute):
        return replace(node)
    if isinstance(node, Sequential | Parallel | Pipeline):
        return type(node)(tuple(_anew(child) for child in node.children))
    return replace(node, body=_anew(node.body))
