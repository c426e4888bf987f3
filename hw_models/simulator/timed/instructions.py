"""What a tree is lowered to: instructions of threads, tasks, holds, forks and pipelines."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TypeAlias

from einsum_cascades.loops.sites import Site
from einsum_cascades.loops.tree import Node, Pipeline
from hw_models.simulator.timed.control import Control, Table


class Op(IntEnum):
    """Instructions: each with up to two operands."""

    END = 0
    LOOP = 1
    """LOOP control, exit."""
    NEXT = 2
    """NEXT control, body."""
    TASK = 3
    """TASK task."""
    FORK = 4
    """FORK fork."""
    LAST = 5
    """LAST control, past: go on only in the last iteration."""
    ENTER = 6
    """ENTER group of holds."""
    LEAVE = 7
    """LEAVE group of holds."""
    PUSH = 8
    """PUSH pipeline: a new epoch."""
    BEGIN = 9
    """BEGIN pipeline: holds around it that the epoch's iterations enter."""
    CLOSE = 10
    """CLOSE pipeline: holds around it that the epoch's iterations leave."""
    EMPTY = 11
    """EMPTY pipeline, first slot: epochs of late stages alone, until none is under way."""
    SEEN = 12
    """SEEN mark: count a visit."""
    DONE = 13
    """DONE signal."""
    FETCH = 14
    """FETCH hold."""
    WRITE = 15
    """WRITE hold."""
    COUNT = 16
    """COUNT group of holds, which take no time and no room that is watched."""
    PASS = 17


Code: TypeAlias = list[list[int]]


@dataclass(eq=False)
class Thread:
    """A thread: its instructions, and the one that forks it."""

    name: str
    parent: int = -1
    code: Code = field(default_factory=list)

    def emit(self, op: Op, a: int = 0, b: int = 0) -> int:
        """Append an instruction and return its place."""
        self.code.append([int(op), a, b])
        return len(self.code) - 1


@dataclass(eq=False)
class Task:
    """A leaf.

    Attributes:
        sites: its holds, then its compute.
    """

    index: int
    site: Site
    table: Table
    sites: tuple[Site, ...]
    thread: int
    path: tuple[Step, ...]


@dataclass(eq=False)
class Kept:
    """A hold around several tasks, or in a memory."""

    index: int
    site: Site
    table: Table
    path: tuple[Step, ...]
    tasks: list[Task] = field(default_factory=list)
    late: tuple[int, int] = (0, 0)
    pipe: Pipe | None = None
    """The pipeline of whose iterations it is a part."""


@dataclass(frozen=True)
class Step:
    """A node on the way from the root, with the child taken."""

    node: Node
    child: int = 0
    control: Control | None = None
    kept: Kept | None = None
    mark: int = -1


@dataclass(eq=False)
class Part:
    """A thread that a fork starts, and by how many iterations it is late in its pipeline."""

    thread: int
    late: int


@dataclass(eq=False)
class Fork:
    """Threads that run side by side."""

    index: int
    parts: list[Part]
    pipe: Pipe | None


@dataclass(eq=False)
class Pipe:
    """A pipeline with the loops and holds around it whose iterations follow each other in it."""

    index: int
    node: Pipeline
    chain: tuple[Step, ...]
    latest: int = 0
    start: int = 0
    root: Control | None = None
    kept: list[Kept] = field(default_factory=list)

    @property
    def loops(self) -> tuple[Control, ...]:
        """The loops of the chain, outermost first."""
        return tuple(step.control for step in self.chain if step.control is not None)
