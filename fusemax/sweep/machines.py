"""The machine of a group of points, whose numbers are arrays with a value per point.

A ``Machine`` of arrays follows the same rules as one of numbers, because it is derived from the file by the same function.
Machines of other kinds are read point by point.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from einsum_cascades.yaml_source import Node
from hw_models.machine import Machine
from hw_models.machine_file import SpatialFile, read_spatial

Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True)
class SpatialGroup:
    """A spatial array whose numbers vary.

    Attributes:
        file: its file, checked.
        columns: numbers with a value per point, by dotted key.
    """

    file: SpatialFile
    columns: Mapping[str, Any]

    def take(self, columns: Mapping[str, Any]) -> SpatialGroup:
        """Return the same machine with other columns of numbers: arrays, or numbers that all points share."""
        return SpatialGroup(self.file, columns)

    @classmethod
    def of(cls, node: Node, names: Mapping[str, object], columns: Mapping[str, Array]) -> SpatialGroup:
        """Read a machine's file.

        Args:
            names: names and flags that replace the file's, the same for all points.

        Raises:
            InputError: the machine cannot have one of the values.
        """
        first = {key: _text(values[0].item()) for key, values in columns.items()}
        overrides = {key: _text(value) for key, value in names.items()} | first
        return cls(read_spatial(node, overrides, whole_rows=False), columns)

    @cached_property
    def machine(self) -> Machine:
        """The machine, with an array in the place of each number that varies."""
        return self.file.machine(self.columns)

    def row_fits(self) -> list[tuple[str, Any, Any]]:
        """Return each memory with its bytes, and whether it has room for what one access moves."""
        return [
            (memory.name, memory.bytes, np.asarray(8 * memory.bytes >= memory.width_bits))
            for memory in self.machine.memories
            if memory.bytes is not None and memory.width_bits is not None
        ]

    def number(self, key: str) -> Any:
        """Return a number of the machine by its dotted key, derived where the file leaves it out."""
        found = self.file.numbers(self.columns).get(key, np.nan)
        return np.nan if found is None else found


def _text(value: object) -> str:
    """Return a value as an override states it."""
    return str(value).lower() if isinstance(value, bool) else str(value)
