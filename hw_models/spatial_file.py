"""The file of a spatial-array machine: its schema, and the architecture it describes.

What a file leaves out is derived: a row of the global buffer holds a value for each column of the 2D array, the
1D array has as many lanes as the 2D array has columns, and one operation of a unit takes as many cycles as it
uses its component. Energies and areas of memories that it does not state come from the component tables. Overrides come
first, so these follow them.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from einsum_cascades.errors import InputError
from einsum_cascades.operators import WORK_CLASSES, WorkClass
from einsum_cascades.schema import ByteRate, Bytes, Flag, Rate, Section, Size, Text, fault_at, unknown_name
from hw_models.activity import ArrayName
from hw_models.architecture import Architecture, Array, Memory, MemoryTable, StatedCost, Unit
from hw_models.components import check_technology, logic_table, scale

Cost = Annotated[float, Field(strict=True, ge=0, le=1e18, allow_inf_nan=False)]


def _component(name: str) -> str:
    known = sorted(logic_table().keys() - {"dram"})
    if name not in known:
        raise unknown_name("component", known)
    return name


class CostSpec(Section):
    """What is stated of a memory's cost, in place of the component tables."""

    read_j: Cost | None = Field(default=None, description="Energy of one read access, J.")
    write_j: Cost | None = Field(default=None, description="Energy of one write access, J.")
    leak_w: Cost | None = Field(default=None, description="Leakage of one instance, W.")
    area_mm2: Cost | None = Field(default=None, description="Area of one instance, mm².")

    def stated(self) -> StatedCost:
        """Return the cost as the architecture holds it."""
        return StatedCost(self.read_j, self.write_j, self.leak_w, self.area_mm2)


class UnitSpec(Section):
    """How a PE does one class of work."""

    component: Annotated[Text, AfterValidator(_component)] = Field(
        description="The component of the table that does it."
    )
    actions: Size = Field(default=1, description="How often one operation uses the component.")
    cycles: Size | None = Field(default=None, description="Cycles of one operation; as many as actions if not given.")


class UnitsSpec(Section):
    """What a PE can do."""

    mac: UnitSpec | None = Field(default=None, description="Multiply and accumulate.")
    add: UnitSpec | None = Field(default=None, description="Add, subtract.")
    max: UnitSpec | None = Field(default=None, description="Maximum, minimum, comparison, choice.")
    exp: UnitSpec | None = Field(default=None, description="Exponential and other transcendental functions.")
    divide: UnitSpec | None = Field(default=None, description="Divide.")


class Array2dSpec(Section):
    """The two-dimensional array."""

    rows: Size = Field(description="Rows of PEs.")
    columns: Size = Field(description="Columns of PEs.")
    registers: Size = Field(description="Values that the register file of a PE holds.")
    register_file: CostSpec = Field(default=CostSpec(), description="Costs of a register file, where they are known.")
    units: UnitsSpec = Field(description="What a PE can do.")


class Array1dSpec(Section):
    """The one-dimensional array."""

    rows: Size = Field(default=1, description="Rows of PEs.")
    columns: Size | None = Field(default=None, description="Lanes; as many as the 2D array has columns if not given.")
    registers: Size = Field(description="Values that the register file of a PE holds.")
    register_file: CostSpec = Field(default=CostSpec(), description="Costs of a register file, where they are known.")
    units: UnitsSpec = Field(description="What a PE can do.")


class BufferSpec(CostSpec):
    """The global buffer."""

    bytes: Bytes = Field(description="Capacity, bytes.")
    row_values: Size | None = Field(
        default=None, description="Values that one access moves; one for each column of the 2D array if not given."
    )
    banks: Size = Field(default=32, description="Number of banks.")
    ports: Size = Field(default=4, description="Ports, each of which reads or writes.")
    table: MemoryTable = Field(default="accelergy", description="The component table that prices it.")


class DramSpec(Section):
    """The off-chip memory."""

    bandwidth_bytes_per_s: ByteRate = Field(description="Bandwidth, bytes per second.")
    energy_j_per_byte: Cost | None = Field(
        default=None, description="Energy of a byte read or written, J; the component table's if not given."
    )


class ArchitectureSpec(Section):
    """A machine. Values have 16 bits: the component tables characterise no other units."""

    kind: Literal["spatial-array"] = Field(default="spatial-array", description="A spatial array.")
    name: Text = Field(description="For tables.")
    title: Text | None = Field(default=None, description="What it is, in a line.")
    citation: Text | None = Field(default=None, description="Where its figures come from.")
    frequency_hz: Rate = Field(description="Clock of arrays and buffer, Hz.")
    technology_nm: Size = Field(default=45, description="Process node of energies and areas, nm.")
    value_bits: Literal[16] = Field(default=16, description="Bits of a value.")
    staging: Flag = Field(
        default=False, description="Whether registers between the arrays pass values from one to the other."
    )
    dram: DramSpec = Field(description="The off-chip memory.")
    global_buffer: BufferSpec = Field(description="The buffer that both arrays share.")
    array_2d: Array2dSpec = Field(description="The two-dimensional array.")
    array_1d: Array1dSpec = Field(description="The one-dimensional array.")

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

    @model_validator(mode="after")
    def _the_node_has_prices(self) -> Self:
        try:
            scale(self.technology_nm)
            if self.global_buffer.table != "accelergy":
                check_technology(self.technology_nm)
        except InputError as error:
            raise fault_at("technology_nm", error.message, error.hint) from None
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
        global_buffer=Memory(
            "global_buffer", buffer.bytes, row, buffer.banks, buffer.ports, buffer.table, buffer.stated()
        ),
        frequency_hz=spec.frequency_hz,
        bandwidth_bytes_per_s=spec.dram.bandwidth_bytes_per_s,
        staging=spec.staging,
        technology_nm=spec.technology_nm,
        value_bytes=spec.value_bits // 8,
        dram_j_per_byte=spec.dram.energy_j_per_byte,
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
    return Array(name, spec.rows, columns, spec.registers, tuple(units), register_file=spec.register_file.stated())
