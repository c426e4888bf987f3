"""Points that share all names: one cascade, machine, mapper, model and accounting; numbers as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from einsum_cascades.errors import InputError
from einsum_cascades.not_a_rank import scalar_inputs
from einsum_cascades.yaml_source import Node
from fusemax.backends import BACKENDS
from fusemax.sweep.batches import BLOCK, Points, evaluate_batch, is_batched, refuse
from fusemax.sweep.conditions import Column
from fusemax.sweep.machines import SpatialGroup
from fusemax.sweep.names import CHOICES, SPATIAL, WORKLOAD, kind_of, machine_keys
from fusemax.sweep.pointwise import Choice, evaluate_point
from fusemax.sweep.results import FLOATS, TEXTS, WHOLES, Results
from fusemax.sweep.space import Sweep
from fusemax.sweep.workloads import WorkloadGroup
from hw_models.accounting import accounting_named
from hw_models.load import AnyMachine, machine_of
from hw_models.prices import node_prices

Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True)
class Group:
    """A group of points.

    Attributes:
        names: names and flags by axis.
        numbers: numbers by axis, a value per point.
        count: how many points.
        scalars: those of the numbers that are scalar inputs of the cascade, which a GPU's masks depend on.
        file: the machine's file.
        spatial: the machine, if it is a spatial array.
    """

    names: Mapping[str, Any]
    numbers: Mapping[str, Array]
    count: int
    choice: Choice
    workload: WorkloadGroup
    scalars: Mapping[str, Array]
    file: Node
    spatial: SpatialGroup | None

    @classmethod
    def of(cls, sweep: Sweep, names: Mapping[str, Any], numbers: Mapping[str, Array], count: int) -> Group:
        """Collect what the names stand for.

        Raises:
            InputError: the machine cannot have one of the values.
        """
        resources = sweep.resources
        file = resources.machines[names["arch"]]
        cascade = resources.cascades[names["cascade"]]
        keys = machine_keys(file)
        machine_numbers = {key: column for key, column in numbers.items() if key in keys}
        spatial = None
        if kind_of(file) == SPATIAL:
            fixed = {key: value for key, value in names.items() if key in keys}
            spatial = SpatialGroup.of(file, fixed, machine_numbers)
        choice = Choice(
            cascade,
            names["mapper"],
            accounting_named(names["accounting"]),
            names.get("dtype"),
            names.get("causal", False),
        )
        scalar = scalar_inputs(cascade) if kind_of(file) == "gpu" else ()
        scalars = {key: column for key, column in numbers.items() if key in scalar}
        sizes = {key: column for key, column in numbers.items() if key not in keys and key not in scalars}
        model = resources.models.get(names.get("model") or names.get("hf_config", ""))
        workload = WorkloadGroup(cascade, model, sizes)
        return cls(names, numbers, count, choice, workload, scalars, file, spatial)

    def lookup(self, name: str) -> Column | float | int | str:
        """Return what a filter's name stands for before costs are known."""
        if name in self.numbers:
            return self.numbers[name]
        if name in self.names:
            found: str | bool = self.names[name]
            return found
        if self.spatial is None:
            return np.nan
        number: Column = self.area_mm2 if name == "area_mm2" else self.spatial.number(name)
        return number

    @property
    def area_mm2(self) -> Any:
        """Chip area of each point."""
        assert self.spatial is not None
        return node_prices(self.spatial.machine).area_mm2

    def machine(self, point: int) -> AnyMachine:
        """Return the machine of one point.

        Raises:
            InputError: it cannot have the point's values.
        """
        keys = machine_keys(self.file)
        values = {key: value for key, value in self.names.items() if key in keys and key not in CHOICES}
        values |= {
            key: column[point].item() for key, column in self.numbers.items() if key in keys and key not in WORKLOAD
        }
        return machine_of(self.file, {k: str(v).lower() if isinstance(v, bool) else str(v) for k, v in values.items()})

    def evaluate(self, points: Array, where: Array, results: Results) -> None:
        """Evaluate some of the points: together where their strategy allows, else one by one.

        Args:
            points: which points of the group.
            where: where all points of the group stand in the results.
        """
        if self.spatial is None or self.choice.causal or not is_batched(self.choice.mapper):
            self._one_by_one(points, where, results)
            return
        for first in range(0, len(points), BLOCK):
            block = points[first : first + BLOCK]
            block = self._with_a_row(block, where, results)
            if not len(block):
                continue
            try:
                wide = self._points(block, floats=True).wide()
                if wide.any():
                    self._one_by_one(block[wide], where, results)
                    block = block[~wide]
                if len(block):
                    left = evaluate_batch(self._points(block), where[block], results)
                    if left.any():
                        self._one_by_one(block[left], where, results)
            except InputError as error:
                results.fail(where[block], error.message)

    def _with_a_row(self, points: Array, where: Array, results: Results) -> Array:
        """Leave out points whose buffer has no room for a row, and say so of them."""
        assert self.spatial is not None
        columns = {key: _shared(self.numbers[key][points], False) for key in self.spatial.columns}
        spatial = self.spatial.take(columns)
        fitting = np.ones(points.shape, bool)
        for name, size, fits in spatial.row_fits():
            there = np.broadcast_to(fits, points.shape)
            if not there.all():
                why = partial(_less_than_an_access, name)
                refuse(why, size, fitting & ~there, where[points], results)
                fitting = fitting & there
        found: Array = points[fitting]
        return found

    def _points(self, points: Array, *, floats: bool = False) -> Points:
        """Return some of the points; with floats for whole numbers, which may be too large for 64 bits."""
        assert self.spatial is not None
        columns = {key: _shared(column[points], floats) for key, column in self.numbers.items()}
        spatial = self.spatial.take({key: columns[key] for key in self.spatial.columns})
        sizes, instances = self.workload.sizes({key: columns[key] for key in self.workload.columns})
        return Points(self.choice, spatial, sizes, instances, len(points))

    def _one_by_one(self, points: Array, where: Array, results: Results) -> None:
        for point in points.tolist():
            place = where[point : point + 1]
            try:
                machine = self.machine(point)
                scalars = {key: column[point].item() for key, column in self.scalars.items()}
                workload = self.workload.at(point, BACKENDS[machine.kind].value_bytes(machine))
                row = evaluate_point(self.choice, machine, workload, scalars)
            except InputError as error:
                results.fail(place, error.message)
            else:
                results.fill(place, {name: row[name] for name in (*FLOATS, *WHOLES, *TEXTS[1:])})


def _shared(column: Array, floats: bool) -> Any:
    """Return the number that all points share, if they do, else the column."""
    column = column.astype(float) if floats else column
    return column[0].item() if (column == column[0]).all() else column


def _less_than_an_access(name: str, size: object) -> str:
    return f"{name} has {size} bytes, less than one access moves"
