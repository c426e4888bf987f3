"""The file of a CPU: its schema, the CPU that it describes, and how one is written.

Rates of matrix products are a table in a text block, one line per size: rows, columns, depth, flops per second.
"""

from __future__ import annotations

import json
from itertools import product
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from einsum_cascades.schema import ByteRate, Bytes, Flag, Rate, Section, Size, Text, fault_at
from hw_models.cpu.machine import Cpu, Level
from hw_models.cpu.product_rates import ProductRates, Sizes

RATES: Final = ("add", "sub", "mul", "div", "max", "min", "neg", "exp", "log", "sqrt", "tanh", "sigmoid", "transpose")
"""What a file states; operators of the table beside these (comparisons, choices) go at the rate of ``max``."""
LEVELS: Final = ("L1", "L2", "L3", "memory")
Seconds = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]
Fraction = Annotated[float, Field(strict=True, gt=0, le=1, allow_inf_nan=False)]


class CacheSpec(Section):
    """A cache; bandwidths are those of reading it. All its bytes are usable unless the file says otherwise."""

    bytes: Bytes = Field(description="Capacity, bytes.")
    usable_bytes: Bytes | None = Field(default=None, description="Of which a run can use, bytes; all if not given.")
    shared: Flag = Field(default=False, description="Whether all threads share it.")
    thread_bytes_per_s: ByteRate = Field(description="Bandwidth of reading by one thread, bytes per second.")
    total_bytes_per_s: ByteRate = Field(description="Bandwidth of reading by all threads, bytes per second.")
    operand_bytes_per_s: ByteRate = Field(
        default=1e18, description="What operands of matrix products wait for beside their arithmetic, bytes per second."
    )


class MemorySpec(Section):
    """The memory."""

    thread_bytes_per_s: ByteRate = Field(description="Bandwidth of reading by one thread, bytes per second.")
    total_bytes_per_s: ByteRate = Field(description="Bandwidth of reading by all threads, bytes per second.")
    operand_bytes_per_s: ByteRate = Field(
        default=1e18, description="What operands of matrix products wait for beside their arithmetic, bytes per second."
    )


class LevelsSpec(Section):
    """The memory hierarchy, nearest first."""

    L1: CacheSpec = Field(description="First-level data cache.")
    L2: CacheSpec | None = Field(default=None, description="Second-level cache.")
    L3: CacheSpec | None = Field(default=None, description="Third-level cache.")
    memory: MemorySpec = Field(description="The memory.")


class OperatorsSpec(Section):
    """Operations per second of one thread in a vectorised loop; ``transpose`` counts values."""

    add: Rate = Field(description="Additions per second.")
    sub: Rate = Field(description="Subtractions per second.")
    mul: Rate = Field(description="Multiplications per second.")
    div: Rate = Field(description="Divisions per second.")
    max: Rate = Field(description="Maxima per second.")
    min: Rate = Field(description="Minima per second.")
    neg: Rate = Field(description="Negations per second.")
    exp: Rate = Field(description="Exponentials per second.")
    log: Rate = Field(description="Logarithms per second.")
    sqrt: Rate = Field(description="Square roots per second.")
    tanh: Rate = Field(description="Hyperbolic tangents per second.")
    sigmoid: Rate = Field(description="Sigmoids per second.")
    transpose: Rate = Field(description="Values transposed per second.")


def _products(text: str) -> str:
    try:
        parse_products(text)
    except ValueError as error:
        raise fault_at(
            "products", f"products: {error}", "lines of rows, columns, depth and flops per second"
        ) from error
    return text


class CpuSpec(Section):
    """A CPU. Values have 32 bits: its rates were measured with no others."""

    kind: Literal["cpu"] = Field(description="A CPU.")
    name: Text = Field(description="For tables.")
    title: Text | None = Field(default=None, description="The processor.")
    measured: Text | None = Field(default=None, description="How, when and with what its figures were measured.")
    threads: Size = Field(description="Threads that run at a time.")
    value_bits: Literal[32] = Field(default=32, description="Bits of a value.")
    efficiency: Fraction = Field(default=1.0, description="Speed of a thread while all are busy, of that of one alone.")
    launch_s: Seconds = Field(default=0.0, description="Overhead of one run, s.")
    task_s: Seconds = Field(default=0.0, description="Overhead of one task of a thread, s.")
    levels: LevelsSpec = Field(description="The memory hierarchy, nearest first.")
    operators: OperatorsSpec = Field(description="Operations per second of one thread.")
    products: Annotated[str, Field(strict=True, max_length=100_000), AfterValidator(_products)] = Field(
        description="Rates of matrix products of one thread: lines of rows, columns, depth and flops per second."
    )


def parse_products(text: str) -> ProductRates:
    """Return the rates of a text block.

    Raises:
        ValueError: a line is not four numbers, or a size of the grid is missing.
    """
    table: dict[Sizes, float] = {}
    for line in text.splitlines():
        fields = line.split()
        if not fields or line.lstrip().startswith("#"):
            continue
        try:
            rows, columns, depth = (int(field) for field in fields[:3])
            (rate,) = (float(field) for field in fields[3:])
        except ValueError:
            raise ValueError(f"'{line.strip()[:60]}' is not three sizes and a rate") from None
        if min(rows, columns, depth) < 1 or max(rows, columns, depth) > 2**30 or not 1 <= rate <= 1e18:
            raise ValueError(f"'{line.strip()[:60]}' has a size or rate below 1 or too large")
        table[rows, columns, depth] = rate
    return ProductRates.of(table)


def cpu_of(spec: CpuSpec) -> Cpu:
    """Return the CPU that a checked file describes."""
    levels = []
    for name in LEVELS:
        level: CacheSpec | MemorySpec | None = getattr(spec.levels, name)
        if level is None:
            continue
        rates = level.thread_bytes_per_s, level.total_bytes_per_s, level.operand_bytes_per_s
        if isinstance(level, CacheSpec):
            levels.append(Level(name, level.bytes, level.usable_bytes or level.bytes, level.shared, *rates))
        else:
            levels.append(Level(name, None, None, True, *rates))
    return Cpu(
        name=spec.name,
        threads=spec.threads,
        levels=tuple(levels),
        products=parse_products(spec.products),
        operators=tuple((name, getattr(spec.operators, name)) for name in RATES),
        efficiency=spec.efficiency,
        launch_s=spec.launch_s,
        task_s=spec.task_s,
        value_bytes=spec.value_bits // 8,
        title=spec.title or "",
        measured=spec.measured or "",
    )


def cpu_text(cpu: Cpu) -> str:
    """Return the file of a CPU: reading it gives the same CPU."""
    rates = cpu.products
    points = product(rates.rows, rates.columns, rates.depths)
    lines = [
        "kind: cpu",
        f"name: {json.dumps(cpu.name)}",
        *([f"title: {json.dumps(cpu.title)}"] if cpu.title else []),
        *([f"measured: {json.dumps(cpu.measured)}"] if cpu.measured else []),
        f"threads: {cpu.threads}",
        f"value_bits: {8 * cpu.value_bytes}",
        f"efficiency: {cpu.efficiency!r}          # speed of a thread while all are busy, of one alone",
        f"launch_s: {cpu.launch_s!r}             # overhead of one run",
        f"task_s: {cpu.task_s!r}               # overhead of one task of a thread",
        "levels:              # bandwidths of reading; operand: what matrix products wait for beside their arithmetic",
        *(line for level in cpu.levels for line in _level_lines(level)),
        "operators:           # operations per second of one thread",
        *(f"  {name}: {_rate(rate)}" for name, rate in cpu.operators),
        "products: |          # of one thread: rows, columns, depth, flops per second",
        *(f"  {m} {n} {k} {_rate(rate)}" for (m, n, k), rate in zip(points, rates.flops_per_s, strict=True)),
    ]
    return "\n".join(lines) + "\n"


def _level_lines(level: Level) -> list[str]:
    lines = [f"  {level.name}:"]
    if level.bytes is not None:
        lines += [f"    bytes: {level.bytes}", f"    usable_bytes: {level.usable_bytes}"]
        lines += [f"    shared: {str(level.shared).lower()}"]
    for key in ("thread", "total", "operand"):
        lines.append(f"    {key}_bytes_per_s: {_rate(getattr(level, f'{key}_bytes_per_s'))}")
    return lines


def _rate(rate: float) -> str:
    """A rate in YAML: whole numbers up to 1e15 are written out, others by their shortest form."""
    return str(int(rate)) if rate == int(rate) and rate < 1e15 else repr(rate)
