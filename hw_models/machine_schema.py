"""The sections of a spatial-array machine's file.

A file's nodes and dimensions have names of its own, so a schema is made for each file: its head, and a section for each
node with a key for each dimension. Keys are then those that overrides use: ``array_2d.rows``, ``global_buffer.bytes``.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable
from functools import cache, lru_cache
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
    create_model,
)

from einsum_cascades.numbers import LARGEST
from einsum_cascades.schema import ByteRate, Bytes, Flag, Rate, Section, Size, Text, unknown_name
from einsum_cascades.sizes import PATTERNS, Unit
from hw_models.components import dram_presets, logic_table
from hw_models.machine import Cells, Overlap, Table

NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}")
"""What nodes and dimensions may be called."""
_REFERENCE: Final = re.compile(r"[A-Za-z]\w{0,99}(?:\.[A-Za-z]\w{0,99}){1,4}")
PORTS: Final = "ports"
"""What a bandwidth is that follows from ports, width and clock."""


class Reference(str):
    """The dotted key of the number that stands in this one's place, such as ``array_2d.columns``."""

    __slots__ = ()


def _refers(pattern: re.Pattern[str]) -> WrapValidator:
    """Return what lets references through, so that limits are checked of the numbers that stand there."""

    def read(value: object, handler: ValidatorFunctionWrapHandler) -> object:
        if isinstance(value, str) and pattern.fullmatch(value.strip()):
            return Reference(value.strip())
        return handler(value)

    return WrapValidator(read)


def _schema(unit: Unit | None, least: int, pattern: re.Pattern[str]) -> WithJsonSchema:
    texts = [pattern.pattern] if unit is None else [PATTERNS[unit], pattern.pattern]
    number = {"type": "integer", "minimum": least, "maximum": LARGEST}
    return WithJsonSchema({"anyOf": [number, *({"type": "string", "pattern": f"^{text}$"} for text in texts)]})


def _words(value: object) -> object:
    return tuple(re.findall(r"[^\s,]+", value)) if isinstance(value, str) else value


def _component(name: str) -> str:
    known = sorted(logic_table().keys() - {"dram"})
    if name not in known:
        raise unknown_name("component", known)
    return name


def _preset(name: str) -> str:
    if name not in dram_presets():
        raise unknown_name("timing", dram_presets())
    return name


def _named(value: object) -> object:
    return {"preset": value} if isinstance(value, str) else value


def _rate(value: object, handler: ValidatorFunctionWrapHandler) -> object:
    return value if value == PORTS else handler(value)


def _written_rate() -> WithJsonSchema:
    text = {"type": "string", "pattern": f"^(?:{PATTERNS['bytes']}(?:/s)?|{PORTS})$"}
    return WithJsonSchema({"anyOf": [{"type": "number", "minimum": 1, "maximum": 1e18}, text]})


Count: TypeAlias = Annotated[Size, _refers(_REFERENCE), _schema("count", 1, _REFERENCE)]
"""A count, or the key of one: ``256``, ``8K``, ``array_2d.columns``."""
Capacity: TypeAlias = Annotated[Bytes, _refers(_REFERENCE), _schema("bytes", 1, _REFERENCE)]
"""A number of bytes, or the key of one."""
Skew: TypeAlias = Annotated[int, Field(strict=True, ge=0, le=LARGEST), _refers(NAME), _schema(None, 0, NAME)]
"""A number of cycles, 0 among them, or the name of a dimension of the array."""
Bits: TypeAlias = Annotated[int, Field(strict=True, ge=1, le=64)]
Cost: TypeAlias = Annotated[float, Field(strict=True, ge=0, le=1e18, allow_inf_nan=False)]
Cycles: TypeAlias = Annotated[int, Field(strict=True, ge=0, le=LARGEST)]
PortRate: TypeAlias = Annotated[ByteRate, WrapValidator(_rate), _written_rate()]
"""Bytes per second, or ``ports``."""
Names: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(_words)]
"""Names: a list, or words in a text."""


class BitsSpec(Section):
    """Bits of values by what they are; further keys are tensors by name."""

    inputs: Bits | None = Field(default=None, description="Bits of a value of an input; value_bits if not given.")
    accumulators: Bits | None = Field(
        default=None, description="Bits of an intermediate value and of a register; value_bits if not given."
    )
    outputs: Bits | None = Field(default=None, description="Bits of a value of a result; value_bits if not given.")


class HeadSpec(Section):
    """A machine: a tree of memories and arrays."""

    kind: Literal["spatial-array"] = Field(default="spatial-array", description="A spatial array.")
    name: Text = Field(description="For tables.")
    title: Text | None = Field(default=None, description="What it is, in a line.")
    citation: Text | None = Field(default=None, description="Where its figures come from.")
    frequency_hz: Rate = Field(description="Clock of arrays and memories on chip, Hz.")
    technology_nm: Size = Field(default=45, description="Process node of energies and areas, nm.")
    value_bits: Bits = Field(default=16, description="Bits of a value, unless bits says otherwise.")
    bits: BitsSpec = Field(default=BitsSpec(), description="Bits of values by role, or of a tensor by its name.")
    overlap: Overlap = Field(
        default="phase", description="What overlaps: traffic and computation of each phase, or of the whole run."
    )


class LinkSpec(Section):
    """The link to the node's parent."""

    multicast: Flag = Field(default=True, description="Whether one read serves all instances that want the value.")
    reduction: Flag = Field(default=True, description="Whether results are summed on their way out.")
    bandwidth_bytes_per_s: ByteRate | None = Field(
        default=None, description="Bandwidth of the whole link, bytes per second; without limit if not given."
    )
    hop_j_per_byte: Cost = Field(default=0.0, description="Energy of a byte moved to a neighbour on the mesh, J.")
    mesh: Names = Field(default=(), description="Dimensions that are laid out as a mesh.")


class FileCostSpec(Section):
    """What is stated of a memory's cost, in place of the component tables."""

    read_j: Cost | None = Field(default=None, description="Energy of one read access, J.")
    write_j: Cost | None = Field(default=None, description="Energy of one write access, J.")
    leak_w: Cost | None = Field(default=None, description="Leakage of one instance, W.")
    area_mm2: Cost | None = Field(default=None, description="Area of one instance, mm².")


class MemorySpec(FileCostSpec):
    """A memory; all figures are those of one instance."""

    bytes: Capacity | None = Field(default=None, description="Capacity, bytes; without limit if not given.")
    row_values: Count | None = Field(default=None, description="Values of an input's bits that one access moves.")
    width_bits: Count | None = Field(default=None, description="Bits that one access moves, in place of row_values.")
    bandwidth_bytes_per_s: PortRate | None = Field(
        default=None,
        description="Bandwidth that reads and writes share, bytes per second, or 'ports': an access a cycle and port; "
        "without limit if not given.",
    )
    read_bytes_per_s: ByteRate | None = Field(default=None, description="Bandwidth of reads alone, bytes per second.")
    write_bytes_per_s: ByteRate | None = Field(default=None, description="Bandwidth of writes alone, bytes per second.")
    double_buffered: Flag = Field(
        default=False, description="Whether what is refilled takes its room twice, to be refilled while it is used."
    )
    banks: Count = Field(default=1, description="Number of banks.")
    ports: Count = Field(default=1, description="Ports, each of which reads or writes.")
    table: Table = Field(default="accelergy", description="The component table that prices it.")
    cells: Cells = Field(default="sram", description="What the table prices: an SRAM or a register file.")
    component: Literal["dram"] | None = Field(
        default=None, description="The off-chip component that prices it, in place of the table."
    )
    priced_as: Text | None = Field(
        default=None, description="The array whose register file prices an access, in place of the table."
    )
    energy_j_per_byte: Cost | None = Field(
        default=None, description="Energy of a byte read or written, J, in place of the table's."
    )
    link: LinkSpec = Field(default=LinkSpec(), description="The link to its parent.")


class TimingSpec(Section):
    """Timing of the off-chip memory; times are in cycles of its command clock, and those not given are the preset's."""

    preset: Annotated[Text, AfterValidator(_preset)] | None = Field(
        default=None, description="A memory whose timing is known, such as hbm2."
    )
    clock_hz: Rate | None = Field(
        default=None, description="Clock of commands, Hz; of the bandwidth if that is given, which it follows."
    )
    channels: Size | None = Field(
        default=None, description="Channels; if not given, as many as the bandwidth takes, else the preset's."
    )
    groups: Size | None = Field(default=None, description="Bank groups of a channel.")
    banks: Size | None = Field(default=None, description="Banks of a group.")
    row_bytes: Bytes | None = Field(default=None, description="Bytes of a bank's row.")
    burst_bytes: Bytes | None = Field(default=None, description="Bytes of a burst.")
    t_bl: Size | None = Field(default=None, description="Data bus: a burst.")
    t_ccd_l: Size | None = Field(default=None, description="Column command to column command, in a group.")
    t_cl: Size | None = Field(default=None, description="Read to its first data.")
    t_cwl: Size | None = Field(default=None, description="Write to its first data.")
    t_rcd: Size | None = Field(default=None, description="Activation to column command.")
    t_rp: Size | None = Field(default=None, description="Precharge to activation.")
    t_ras: Size | None = Field(default=None, description="Activation to precharge.")
    t_rrd_s: Size | None = Field(default=None, description="Activation to activation, of any groups.")
    t_rrd_l: Size | None = Field(default=None, description="Activation to activation, in a group.")
    t_faw: Cycles | None = Field(default=None, description="Window of at most four activations; 0: no limit.")
    t_rtp: Size | None = Field(default=None, description="Read to precharge.")
    t_wr: Size | None = Field(default=None, description="End of written data to precharge.")
    t_wtr_s: Cycles | None = Field(default=None, description="End of written data to read, of any groups.")
    t_wtr_l: Cycles | None = Field(default=None, description="End of written data to read, in a group.")
    t_rtw: Size | None = Field(default=None, description="Read to write.")
    t_rfc: Size | None = Field(default=None, description="A refresh.")
    t_refi: Cycles | None = Field(default=None, description="Refresh to refresh; 0: no refresh.")


def _timing_schema() -> WithJsonSchema:
    section = TimingSpec.model_json_schema()
    return WithJsonSchema({"anyOf": [{"type": "string", "enum": list(dram_presets())}, section]})


Timing: TypeAlias = Annotated[TimingSpec, BeforeValidator(_named), _timing_schema()]
"""A preset's name, or a mapping of figures."""


class HomeSpec(MemorySpec):
    """The off-chip memory; what it has more than others is for the timed simulation."""

    latency_s: Cost = Field(default=0.0, description="Latency of an access, s, in timed simulations.")
    timing: Timing = Field(
        default=TimingSpec(),
        description="Timing, in timed simulations: that of a memory by name, such as hbm2, or figures; bandwidth and "
        "latency alone if not given.",
    )


class UnitSpec(Section):
    """How a PE does one class of work."""

    component: Annotated[Text, AfterValidator(_component)] = Field(
        description="The component of the table that does it."
    )
    actions: Count = Field(default=1, description="How often one operation uses the component.")
    cycles: Count | None = Field(default=None, description="Cycles of one operation; as many as actions if not given.")
    depth: Count = Field(default=1, description="Cycles until the first result leaves the pipeline.")
    energy_j: Cost | None = Field(default=None, description="Energy of one operation, J; the table's if not given.")
    area_mm2: Cost | None = Field(default=None, description="Area of one instance, mm²; the table's if not given.")


class UnitsSpec(Section):
    """What a PE can do."""

    mac: UnitSpec | None = Field(default=None, description="Multiply and accumulate.")
    add: UnitSpec | None = Field(default=None, description="Add, subtract.")
    max: UnitSpec | None = Field(default=None, description="Maximum, minimum, comparison, choice.")
    exp: UnitSpec | None = Field(default=None, description="Exponential and other transcendental functions.")
    divide: UnitSpec | None = Field(default=None, description="Divide.")


class ArraySpec(Section):
    """An array of processing elements."""

    registers: Count | None = Field(
        default=None, description="Values that the register file of a PE holds; without limit if not given."
    )
    register_file: FileCostSpec = Field(default=FileCostSpec(), description="Costs of a register file, where known.")
    units: UnitsSpec = Field(description="What a PE can do.")
    fill: Skew = Field(default=0, description="Cycles until values have reached all PEs, or a dimension of the array.")
    drain: Skew = Field(default=0, description="Cycles until results have left all PEs, or a dimension of the array.")
    clocked: Flag = Field(default=False, description="Whether idle PEs use as much energy as those that work.")
    link: LinkSpec = Field(default=LinkSpec(), description="The link to its parent.")


_SECTIONS: Final[dict[str, type[Section]]] = {"memory": HomeSpec, "array": ArraySpec}
NODE_KINDS: Final = tuple(_SECTIONS)
_PARENT: Final[Any] = (Text | None, Field(default=None, description="The memory that it takes values from."))
Layout: TypeAlias = tuple[tuple[str, str, tuple[str, ...]], ...]
"""(name, kind, dimensions) of each node."""


def reserved(kind: str) -> frozenset[str]:
    """Return what dimensions of a node of a kind cannot be called; with kind ``""``, what nodes cannot be called."""
    own = {*_SECTIONS[kind].model_fields, "kind", "in", "dimensions"} if kind else {*HeadSpec.model_fields, "nodes"}
    return frozenset({*own, *dir(BaseModel)})


@lru_cache(maxsize=256)
def section_of(layout: Layout, homes: Container[str], tensors: Iterable[str] = ()) -> type[HeadSpec]:
    """Return the schema of files with these nodes, those named off chip, and with bits of these tensors."""
    fields: dict[str, Any] = {}
    for name, kind, dimensions in layout:
        own: dict[str, Any] = {d: (Count, Field(description=f"Length of dimension {d}.")) for d in dimensions}
        base = MemorySpec if kind == "memory" and name not in homes else _SECTIONS[kind]
        placed = create_model(f"{name} placed", __base__=Section, **own, **{"in": _PARENT})
        node = create_model(name, __base__=(base, placed), __doc__=base.__doc__)
        fields[name] = (node, Field(description=f"{(base.__doc__ or '').rstrip('.')}."))
    if tensors:
        own = {t: (Bits | None, Field(default=None, description=f"Bits of {t}.")) for t in tensors}
        bits = create_model("Bits", __base__=BitsSpec, **own)
        fields["bits"] = (bits, Field(default=bits(), description=HeadSpec.model_fields["bits"].description))
    return create_model("Machine", __base__=HeadSpec, **fields)


@cache
def file_section() -> type[Section]:
    """Return the shape of any machine's file, for its JSON schema: nodes, dimensions and tensors have any name."""
    lengths: Any = (dict[str, Count], Field(default={}, description="Length of each dimension of its fan-out."))
    nodes = [
        create_model(
            f"{kind.title()}Node",
            __base__=base,
            __doc__=MemorySpec.__doc__ if kind == "memory" else base.__doc__,
            **{"kind": (Literal[kind], Field(description="What it is.")), "in": _PARENT, "dimensions": lengths},
        )
        for kind, base in _SECTIONS.items()
    ]
    node: Any = Annotated[nodes[0] | nodes[1], Field(discriminator="kind")]
    return create_model(
        "SpatialArray",
        __base__=HeadSpec,
        __doc__=HeadSpec.__doc__,
        bits=(dict[str, Bits], Field(default={}, description=HeadSpec.model_fields["bits"].description)),
        nodes=(dict[str, node], Field(description="Memories and arrays by name; the one without 'in' is off chip.")),
    )
