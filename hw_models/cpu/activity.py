"""What a mapped cascade makes a CPU do: tasks for its threads, each a row of steps with plain counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Product(NamedTuple):
    """Matrix products of one shape, rows×depth by depth×columns.

    Attributes:
        einsum: whose work it is.
        calls: how many there are.
    """

    einsum: str
    rows: int
    columns: int
    depth: int
    calls: int = 1


class Vector(NamedTuple):
    """Operations of a vectorised loop: so many of one operator of the table, or values that are transposed."""

    einsum: str
    operator: str
    operations: int


class Transfer(NamedTuple):
    """Bytes of a tensor that are read from or written to a level of the memory hierarchy."""

    tensor: str
    level: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Step:
    """Work whose vector operations overlap with its transfers.

    Attributes:
        products: matrix products.
        vectors: vector operations.
        copied: transfers that are waited for: operands of products, and what is transposed.
        streamed: transfers of the vector operations' operands and results, under these operations.
        times: how often a task repeats the step.
    """

    products: tuple[Product, ...] = ()
    vectors: tuple[Vector, ...] = ()
    copied: tuple[Transfer, ...] = ()
    streamed: tuple[Transfer, ...] = ()
    times: int = 1


@dataclass(frozen=True, slots=True)
class Task:
    """What one thread does without waiting for another: the steps, one after another."""

    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class CpuActivity:
    """Everything that a mapped cascade does.

    Attributes:
        tasks: of one instance of the cascade, in order, as (task, how many of it in a row).
        instances: independent instances, whose tasks follow each other.
        threads: threads that share the tasks; the next free one gets the next.
        live_bytes: bytes that the threads' working tiles take together.
        dram_bytes: traffic to and from the memory.
        passes: passes over the row rank.
    """

    tasks: tuple[tuple[Task, int], ...]
    instances: int
    threads: int
    live_bytes: int
    dram_bytes: int
    passes: int
