"""The file of a CPU: its schema, the CPU that it describes, and how one is written.

Rates of matrix products are a table in a text block, one line per size: rows, columns, depth, flops per second.
"""

from __future__ import annotations

import json
from itertools import product
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from einsum_cascades.schema import Flag, Rate, Section, Size, Text, fault_at
from hw_models.cpu.machine import Cpu, Level
from hw_models.cpu.product_rates import ProductRates, Sizes

RATES: Final = ("add", "sub", "mul", "div", "max", "min", "neg", "exp", "log", "sqrt", "tanh", "sigmoid", "transpose")
"""What a file states; operators of the table beside these (comparisons, choices) go at the rate of ``max``."""
LEVELS: Final = ("L1", "L2", "L3", "memory")
Seconds = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]
Fraction = Annotated[float, Field(strict=True, gt=0, le=1, allow_inf_nan=False)]


class CacheSpec(Section):
    """A cache; bandwidths are those of reading it. All its bytes are usable unless the file says otherwise."""

    bytes: Size
    usable_bytes: Size | None = None
    shared: Flag = False
    thread_bytes_per_s: Rate
    total_bytes_per_s: Rate
    operand_bytes_per_s: Rate = 1e18


class MemorySpec(Section):
    """The memory."""

    thread_bytes_per_s: Rate
    total_bytes_per_s: Rate
    operand_bytes_per_s: Rate = 1e18


class LevelsSpec(Section):
    """The memory hierarchy, nearest first."""

    L1: CacheSpec
    L2: CacheSpec | None = None
    L3: CacheSpec | None = None
    memory: MemorySpec


class OperatorsSpec(Section):
    """Operations per second of one thread in a vectorised loop; ``transpose`` counts values."""

    add: Rate
    sub: Rate
    mul: Rate
    div: Rate
    max: Rate
    min: Rate
    neg: Rate
    exp: Rate
    log: Rate
    sqrt: Rate
    tanh: Rate
    sigmoid: Rate
    transpose: Rate


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

    kind: Literal["cpu"]
    name: Text
    title: Text | None = None
    measured: Text | None = None
    threads: Size
    value_bits: Literal[32] = 32
    efficiency: Fraction = 1.0
    launch_s: Seconds = 0.0
    task_s: Seconds = 0.0
    levels: LevelsSpec
    operators: OperatorsSpec
    products: Annotated[str, Field(strict=True, max_length=100_000), AfterValidator(_products)]


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
