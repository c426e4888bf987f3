"""A sweep as it is known to all that runs it: axes, how points are made of them, conditions, and its canonical text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Literal

from fusemax.sweep.axes import Axis, written
from fusemax.sweep.conditions import Condition
from fusemax.sweep.names import Resources

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Samples:
    """Points that are drawn: how, how many, and the seed."""

    method: Literal["sobol", "random"]
    count: int
    seed: int

    def __str__(self) -> str:
        return f"{{{self.method}: {self.count}, seed: {self.seed}}}"


@dataclass(frozen=True)
class Sweep:
    """A sweep: point ``i`` has the same values wherever and whenever it is evaluated.

    Attributes:
        axes: in the order written, defaults last.
        zips: axes that move together.
        samples: None for the product.
        filters: conditions that the points kept hold.
        files: files that names of axes stand for, and the SHA-256 digests of their texts.
        areas: chip areas in mm² of the machines whose area filters ask for.
        resources: what names stand for.
    """

    axes: tuple[Axis, ...]
    zips: tuple[tuple[str, ...], ...]
    samples: Samples | None
    filters: tuple[Condition, ...]
    files: tuple[tuple[str, str], ...] = ()
    title: str = ""
    areas: tuple[tuple[str, float], ...] = ()
    resources: Resources = field(default=Resources({}, {}, {}), compare=False, repr=False)

    @cached_property
    def groups(self) -> tuple[tuple[Axis, ...], ...]:
        """The axes, those that move together in one group, which stands where its first axis does."""
        zipped = {name: names for names in self.zips for name in names}
        groups: dict[tuple[str, ...], list[Axis]] = {}
        for axis in self.axes:
            groups.setdefault(zipped.get(axis.name, (axis.name,)), []).append(axis)
        return tuple(map(tuple, groups.values()))

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """How many steps each group of the product takes; none for a sampled sweep."""
        return () if self.samples else tuple(_count(g) for g in self.groups)

    @property
    def points(self) -> int:
        """Number of points before filters: their indices are 0 to ``points`` - 1."""
        return self.samples.count if self.samples else prod(self.counts)

    @property
    def seed(self) -> int | None:
        """The seed of a sampled sweep."""
        return self.samples.seed if self.samples else None

    @cached_property
    def text(self) -> str:
        """The specification as canonical YAML, defaults filled in: equal sweeps have equal texts."""
        lines = [f"title: {written(self.title)}"] if self.title else []
        lines += ["axes:", *(f"  {axis.name}: {axis.values}" for axis in self.axes)]
        if self.zips:
            lines += ["zip:", *(f"  - [{', '.join(names)}]" for names in self.zips)]
        if self.samples:
            lines.append(f"samples: {self.samples}")
        if self.filters:
            quoted = ('"' + str(f).replace("\\", "\\\\").replace('"', '\\"') + '"' for f in self.filters)
            lines += ["filter:", *(f"  - {text}" for text in quoted)]
        if self.files:
            lines += ["files:", *(f"  {written(name)}: {digest}" for name, digest in self.files)]
        return "\n".join(lines) + "\n"

    def area_of(self, machine: str) -> float:
        """Return the chip area in mm² of a spatial array named."""
        return dict(self.areas)[machine]

    @property
    def schema(self) -> pa.Schema:
        """The columns of the table of costs."""
        from fusemax.sweep.table import schema

        return schema(self.axes)


def _count(group: Iterable[Axis]) -> int:
    """How many values the axes of a group have; there are no continua where points are not sampled."""
    return next(axis.values.count for axis in group if axis.values.count is not None)
