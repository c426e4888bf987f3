"""What a little more of a machine would buy: one more MiB, GB/s, or row, by the machine's own keys.

Each changed machine is searched again for a short time, and the mapping at hand is costed on it as well: the better of
the two is what the change is worth. So more room counts, which no mapping that stays as it is would use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from einsum_cascades.errors import InputError
from einsum_cascades.loops.tree import LoopTree
from fusemax.evaluation import Asked
from hw_models.load import kind_of, load_machine, read_machine_file
from hw_models.machine import Machine, Memory
from mappers.choose import outcome
from mappers.presets.problem import Problem
from mappers.search.figures import ROUNDING, Figures, Objective, objective_named
from mappers.search.search import search

MIB: Final = 2**20
GB_PER_S: Final = 1e9
LEAST_S: Final = 0.5
"""So many seconds each changed machine is searched for at least."""


@dataclass(frozen=True)
class Gain:
    """What one change of a machine buys.

    Attributes:
        key: of the machine's file, as ``--set-arch`` takes it.
        before, after: its value: bytes, bytes per second, or a number of PEs or instances.
        value: what is minimised, then; None where the changed machine has no mapping.
        change: of that value, as a fraction: -0.01 is one per cent less.
        by: ``the same mapping``, or ``another mapping``.
    """

    key: str
    before: float
    after: float
    value: float | None
    change: float | None
    by: str


@dataclass(frozen=True)
class Change:
    """A value of a machine's file, and a little more of it."""

    key: str
    before: float
    after: float


def gains(
    asked: Asked,
    problem: Problem,
    tree: LoopTree,
    objective: Objective,
    seconds: float,
    limit_s: float | None,
) -> tuple[tuple[Gain, ...], float]:
    """Return what each change buys, and for how many seconds a changed machine was searched at most.

    Args:
        tree: the best mapping at hand.
        objective: of a Pareto front the latency counts.
        seconds: that its search took; no changed machine is searched for longer.
        limit_s: seconds for all changes together; None for no limit.
    """
    if objective.name == "pareto":
        objective = objective_named("latency")
    changes = list(changes_of(asked, problem.machine))
    each_s = max(LEAST_S, seconds if limit_s is None else min(seconds, limit_s / max(1, len(changes))))
    before = _value(problem, tree, objective)
    return tuple(_gain(asked, problem, tree, objective, change, before, each_s) for change in changes), each_s


def changes_of(asked: Asked, machine: Machine) -> Iterator[Change]:
    """Yield the changes that a machine's file allows; none if the machine was given as a value."""
    if isinstance(asked.arch, Machine):
        return
    keys = kind_of(read_machine_file(asked.machine_name)).keys(read_machine_file(asked.machine_name))
    for change in _changes(machine):
        if change.key in keys:
            yield change


def _changes(machine: Machine) -> Iterator[Change]:
    for node in machine.nodes:
        rates = {"link.bandwidth_bytes_per_s": node.link.bandwidth_bytes_per_s}
        if isinstance(node, Memory):
            if node.bytes is not None and node is not machine.root:
                yield Change(f"{node.name}.bytes", int(node.bytes), int(node.bytes) + MIB)
            names = ("bandwidth_bytes_per_s", "read_bytes_per_s", "write_bytes_per_s")
            rates = dict(zip(names, node.rates, strict=True)) | rates
        for name, rate in rates.items():
            if rate is not None:
                yield Change(f"{node.name}.{name}", float(rate), float(rate) + GB_PER_S)
        for name, length in node.dimensions:
            yield Change(f"{node.name}.{name}", int(length), int(length) + 1)


def _gain(
    asked: Asked,
    problem: Problem,
    tree: LoopTree,
    objective: Objective,
    change: Change,
    before: float,
    limit_s: float,
) -> Gain:
    kept = [text for text in asked.overrides if text.partition("=")[0].strip() != change.key]
    made: list[tuple[Callable[[Problem], LoopTree], str]] = [
        (lambda _: tree, "the same mapping"),
        (lambda changed: search(changed, objective, limit_s).mappings[0].tree, "another mapping"),
    ]
    found: list[tuple[float, str]] = []
    for make, by in made:
        with suppress(InputError):
            machine = load_machine(asked.machine_name, [*kept, f"{change.key}={change.after!r}"])
            assert isinstance(machine, Machine)
            changed = replace(problem, machine=machine)
            found.append((_value(changed, make(changed), objective), by))
    if not found:
        return Gain(change.key, change.before, change.after, None, None, "no mapping")
    value, by = min(found, key=lambda pair: pair[0])
    if value >= found[0][0] * (1 - ROUNDING):
        value, by = found[0]
    return Gain(change.key, change.before, change.after, value, value / before - 1 if before else 0.0, by)


def _value(problem: Problem, tree: LoopTree, objective: Objective) -> float:
    """What a tree costs.

    Raises:
        InputError: it cannot be executed, or a memory has no room for it.
    """
    found = outcome(problem, tree)
    if not found.fits:
        raise InputError("a memory has no room for the mapping")
    return objective.value(Figures(float(found.cost.latency_s), float(found.cost.energy_j), 0))
