"""The machine of a group of points, whose numbers are arrays with a value per point.

An ``Architecture`` of arrays follows the same rules as one of numbers, because it is derived from the file by the same
function. Machines of other kinds are read point by point.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel

from einsum_cascades.schema import check
from einsum_cascades.yaml_source import Node
from hw_models.architecture import Architecture
from hw_models.spatial_file import ArchitectureSpec, architecture_of

Array: TypeAlias = npt.NDArray[Any]
_M = TypeVar("_M", bound=BaseModel)

AMPLE: Final = {"global_buffer.bytes": "2**50", "global_buffer.row_values": "1"}
"""A buffer with room for a row, whatever the rest: whether a point's own row fits is seen point by point."""


@dataclass(frozen=True)
class SpatialGroup:
    """A spatial array whose numbers vary.

    Attributes:
        spec: its file, checked.
        columns: numbers with a value per point, by dotted key.
    """

    spec: ArchitectureSpec
    columns: Mapping[str, Any]

    def take(self, columns: Mapping[str, Any]) -> SpatialGroup:
        """Return the same machine with other columns of numbers: arrays, or numbers that all points share."""
        return SpatialGroup(self.spec, columns)

    @classmethod
    def of(cls, node: Node, names: Mapping[str, object], columns: Mapping[str, Array]) -> SpatialGroup:
        """Read a machine's file.

        Args:
            names: names and flags that replace the file's, the same for all points.

        Raises:
            InputError: the machine cannot have one of the values.
        """
        given = check(ArchitectureSpec, node).global_buffer
        first = {key: _text(values[0].item()) for key, values in columns.items()}
        overrides = {key: _text(value) for key, value in names.items()} | first | AMPLE
        spec = check(ArchitectureSpec, node, overrides)
        buffer = {"global_buffer.bytes": given.bytes, "global_buffer.row_values": given.row_values}
        spec = _laid(spec, buffer)
        return cls(spec, columns)

    @cached_property
    def architecture(self) -> Architecture:
        """The machine, with an array in the place of each number that varies."""
        return architecture_of(_laid(self.spec, self.columns))

    @cached_property
    def row_fits(self) -> Array:
        """Whether the buffer has room for a row of its values."""
        buffer = self.architecture.global_buffer
        fits: Array = np.asarray(buffer.bytes >= buffer.row_values * self.architecture.value_bytes)
        return fits

    def number(self, key: str) -> Any:
        """Return a number of the machine by its dotted key, derived where the file leaves it out."""
        if key == "dram.bandwidth_bytes_per_s":
            return self.architecture.bandwidth_bytes_per_s
        found: Any = self.architecture
        for part in key.split("."):
            found = dict(found).get(part, np.nan) if isinstance(found, tuple) else getattr(found, part, np.nan)
        return found


def _laid(spec: _M, values: Mapping[str, Any]) -> _M:
    """Return a checked file with values laid over it, by dotted key."""
    here: dict[str, Any] = {}
    inner: dict[str, dict[str, Any]] = {}
    for key, value in values.items():
        section, _, rest = key.partition(".")
        if rest:
            inner.setdefault(section, {})[rest] = value
        else:
            here[section] = value
    for section, below in inner.items():
        here[section] = _laid(getattr(spec, section), below)
    return spec.model_copy(update=here)


def _text(value: object) -> str:
    """Return a value as an override states it."""
    return str(value).lower() if isinstance(value, bool) else str(value)
