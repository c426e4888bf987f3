"""Points that share all names: one cascade, machine, mapper, model and accounting; numbers as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from einsum_cascades.errors import InputError
from einsum_cascades.yaml_source import Node
from fusemax.sweep.batches import BATCHED, Points, evaluate_batch
from fusemax.sweep.conditions import Column
from fusemax.sweep.machines import SpatialGroup
from fusemax.sweep.names import CHOICES, WORKLOAD, machine_keys, schema_of
from fusemax.sweep.pointwise import Choice, evaluate_point
from fusemax.sweep.results import FLOATS, TEXTS, WHOLES, Results
from fusemax.sweep.spec import Sweep
from fusemax.sweep.workloads import WorkloadGroup
from hw_models.accounting import accounting_named
from hw_models.batched import batch_area_mm2
from hw_models.load import Machine, machine_of
from hw_models.spatial_file import ArchitectureSpec

Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True)
class Group:
    """A group of points.

    Attributes:
        names: names and flags by axis.
        numbers: numbers by axis, a value per point.
        count: how many points.
        file: the machine's file.
        spatial: the machine, if it is a spatial array.
    """

    names: Mapping[str, Any]
    numbers: Mapping[str, Array]
    count: int
    choice: Choice
    workload: WorkloadGroup
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
        if schema_of(file) is ArchitectureSpec:
            fixed = {key: value for key, value in names.items() if key in keys}
            spatial = SpatialGroup.of(file, fixed, machine_numbers)
        choice = Choice(
            cascade,
            names["mapper"],
            accounting_named(names["accounting"]),
            names.get("dtype"),
            names.get("causal", False),
        )
        sizes = {key: column for key, column in numbers.items() if key not in keys}
        workload = WorkloadGroup(cascade, resources.models.get(names.get("model", "")), sizes)
        return cls(names, numbers, count, choice, workload, file, spatial)

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
        return batch_area_mm2(self.spatial.architecture)

    def machine(self, point: int) -> Machine:
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
        """Evaluate some of the points.

        Args:
            points: which points of the group.
            where: where all points of the group stand in the results.
        """
        if self.spatial is not None and not self.choice.causal and self.choice.mapper in BATCHED:
            size = BATCHED[self.choice.mapper].block
            for first in range(0, len(points), size):
                block = points[first : first + size]
                self._batch(block, where[block], results)
            return
        for point in points.tolist():
            self._point(point, where[point : point + 1], results)

    def _batch(self, points: Array, where: Array, results: Results) -> None:
        """Evaluate points together, in 64-bit integers where they hold every count."""
        try:
            together = self._points(points, object if self._huge else np.int64)
            wide = together.wide()
            if not wide.any():
                evaluate_batch(together, where, results)
                return
            for part, whole in ((~wide, np.int64), (wide, object)):
                if part.any():
                    evaluate_batch(self._points(points[part], whole), where[part], results)
        except InputError as error:
            results.fail(where, error.message)

    @cached_property
    def _huge(self) -> bool:
        """Whether the number of PEs alone may pass 64 bits."""
        sides = ("array_2d.rows", "array_2d.columns", "array_1d.rows", "array_1d.columns")
        return any(float(self.numbers[key].max()) > 2.0**30 for key in sides if key in self.numbers)

    def _points(self, points: Array, whole: type) -> Points:
        """Return some of the points, whole numbers of a type."""
        assert self.spatial is not None
        columns = {key: _shared(column[points], whole) for key, column in self.numbers.items()}
        spatial = self.spatial.take({key: columns[key] for key in self.spatial.columns})
        sizes, instances = self.workload.sizes({key: columns[key] for key in self.workload.columns})
        return Points(self.choice, spatial, sizes, instances, len(points))

    def _point(self, point: int, where: Array, results: Results) -> None:
        try:
            machine = self.machine(point)
            row = evaluate_point(self.choice, machine, self.workload.at(point, machine.value_bytes))
        except InputError as error:
            results.fail(where, error.message)
        else:
            results.fill(where, {name: row[name] for name in (*FLOATS, *WHOLES, *TEXTS[1:])})


def _shared(column: Array, whole: type) -> Any:
    """Return the number that all points share, if they do, else the column; whole numbers of a type."""
    if (column == column[0]).all():
        return column[0].item()
    return column.astype(whole) if column.dtype.kind == "i" else column
