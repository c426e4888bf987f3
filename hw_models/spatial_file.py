"""The file of a spatial-array machine: its schema, and the architecture it describes.

What a file leaves out is derived: a row of the global buffer holds a value for each column of the 2D array, the
1D array has as many lanes as the 2D array has columns, and one operation of a unit takes as many cycles as it
uses its component. Overrides come first, so these follow them.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, model_validator

from einsum_cascades.operators import WORK_CLASSES, WorkClass
from einsum_cascades.schema import Flag, Rate, Section, Size, Text, fault_at, unknown_name
from hw_models.activity import ArrayName
from hw_models.architecture import Architecture, Array, Memory, Unit
from hw_models.components import logic_table


def _component(name: str) -> str:
    known = sorted(logic_table().keys() - {"dram"})
    if name not in known:
        raise unknown_name("component", known)
    return name


class UnitSpec(Section):
    """How a PE does one class of work."""

    component: Annotated[Text, AfterValidator(_component)]
    actions: Size = 1
    cycles: Size | None = None


class UnitsSpec(Section):
    """What a PE can do."""

    mac: UnitSpec | None = None
    add: UnitSpec | None = None
    max: UnitSpec | None = None
    exp: UnitSpec | None = None
    divide: UnitSpec | None = None


class Array2dSpec(Section):
    """The two-dimensional array."""

    rows: Size
    columns: Size
    registers: Size
    units: UnitsSpec


class Array1dSpec(Section):
    """The one-dimensional array."""

    rows: Size = 1
    columns: Size | None = None
    registers: Size
    units: UnitsSpec


class BufferSpec(Section):
    """The global buffer."""

    bytes: Size
    row_values: Size | None = None
    banks: Size = 32
    ports: Size = 4


class DramSpec(Section):
    """The off-chip memory."""

    bandwidth_bytes_per_s: Rate


class ArchitectureSpec(Section):
    """A machine. Values have 16 bits: the component tables characterise no other units."""

    kind: Literal["spatial-array"] = "spatial-array"
    name: Text
    title: Text | None = None
    citation: Text | None = None
    frequency_hz: Rate
    technology_nm: Size = 45
    value_bits: Literal[16] = 16
    staging: Flag = False
    dram: DramSpec
    global_buffer: BufferSpec
    array_2d: Array2dSpec
    array_1d: Array1dSpec

    @model_validator(mode="after")
    def _a_row_fits(self) -> Self:
        row = self.global_buffer.row_values or self.array_2d.columns
        row_bytes = row * self.value_bits // 8
        if self.global_buffer.bytes < row_bytes:
            raise fault_at(
                "global_buffer.bytes",
                f"the global buffer has {self.global_buffer.bytes} bytes, less than one row",
                f"a row of {row} values has {row_bytes}; global_buffer.row_values sets a shorter one",
            )
        return self


def architecture_of(spec: ArchitectureSpec) -> Architecture:
    """Return the architecture that a checked file describes."""
    columns = spec.array_2d.columns
    buffer = spec.global_buffer
    row = columns if buffer.row_values is None else buffer.row_values
    lanes = columns if spec.array_1d.columns is None else spec.array_1d.columns
    return Architecture(
        name=spec.name,
        array_2d=_array("array_2d", spec.array_2d, columns),
        array_1d=_array("array_1d", spec.array_1d, lanes),
        global_buffer=Memory("global_buffer", buffer.bytes, row, buffer.banks, buffer.ports),
        frequency_hz=spec.frequency_hz,
        bandwidth_bytes_per_s=spec.dram.bandwidth_bytes_per_s,
        staging=spec.staging,
        technology_nm=spec.technology_nm,
        value_bytes=spec.value_bits // 8,
        title=spec.title or "",
        citation=spec.citation or "",
    )


def _array(name: ArrayName, spec: Array2dSpec | Array1dSpec, columns: int) -> Array:
    units: list[tuple[WorkClass, Unit]] = []
    for work in WORK_CLASSES:
        unit: UnitSpec | None = getattr(spec.units, work)
        if unit is not None:
            cycles = unit.actions if unit.cycles is None else unit.cycles
            units.append((work, Unit(unit.component, unit.actions, cycles)))
    return Array(name, spec.rows, columns, spec.registers, tuple(units))
