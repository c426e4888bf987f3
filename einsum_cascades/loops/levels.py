"""The memories of a machine as a loop tree sees them: a tree of levels with their fan-out, and nothing of hardware."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

from einsum_cascades.errors import unknown
from einsum_cascades.loops.arith import Number


@dataclass(frozen=True)
class Level:
    """One memory: the registers of an array are one too, under the array's name.

    Attributes:
        name: such as ``global_buffer``.
        parent: the memory further out; None for the outermost, which is every tensor's home.
        dimensions: (name, length) of the fan-out: so many instances for each instance of the parent.
        multicast: whether one read of the parent can serve all instances that want the same value.
        reduction: whether results of instances that differ only in reduced ranks are summed on their way out.
        capacity_bits: of one instance; None is without limit.
        computes: whether units that Einsums run on stand at each instance.
        double_buffered: whether what is refilled takes room twice, so that it is refilled while it is used.
    """

    name: str
    parent: str | None = None
    dimensions: tuple[tuple[str, Number], ...] = ()
    multicast: bool = True
    reduction: bool = True
    capacity_bits: Number | None = None
    computes: bool = False
    double_buffered: bool = False


@dataclass(frozen=True)
class Levels:
    """All levels of a machine, parents before children; the first is the home of inputs and results."""

    levels: tuple[Level, ...]
    _by_name: dict[str, Level] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {level.name: level for level in self.levels})

    def __getitem__(self, name: str) -> Level:
        """Return a level by name.

        Raises:
            InputError: there is none of that name.
        """
        if name not in self._by_name:
            raise unknown("memory", name, self._by_name)
        return self._by_name[name]

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    @property
    def home(self) -> str:
        """The outermost memory."""
        return self.levels[0].name

    @cached_property
    def _paths(self) -> dict[str, tuple[str, ...]]:
        found: dict[str, tuple[str, ...]] = {}
        for level in self.levels:
            found[level.name] = (*(found[level.parent] if level.parent else ()), level.name)
        return found

    def path(self, name: str) -> tuple[str, ...]:
        """Return the names of the levels from the outermost one to this one."""
        return self._paths[name]

    def between(self, outer: str, inner: str) -> tuple[Level, ...]:
        """Return the levels below ``outer`` on the way to ``inner``, which comes last."""
        path = self.path(inner)
        return tuple(self._by_name[name] for name in path[path.index(outer) + 1 :])

    def inside(self, inner: str, outer: str) -> bool:
        """Whether ``inner`` hangs below ``outer`` (or is it)."""
        return outer in self.path(inner)

    @cached_property
    def dimensions(self) -> dict[str, Number]:
        """Lengths of all dimensions by full name, such as ``array_2d.rows``."""
        return {f"{level.name}.{name}": size for level in self.levels for name, size in level.dimensions}

    def fan_out(self, name: str) -> frozenset[str]:
        """Return the full names of the dimensions over which a level has instances, those of its parents included."""
        return self._fans[name]

    @cached_property
    def _fans(self) -> dict[str, frozenset[str]]:
        return {
            level.name: frozenset(own for above in self.path(level.name) for own in _own(self._by_name[above]))
            for level in self.levels
        }

    def instances(self, name: str) -> Number:
        """Return how many instances a level has in all."""
        found: Number = 1
        for dimension in sorted(self.fan_out(name)):
            found = found * self.dimensions[dimension]
        return found


def _own(level: Level) -> Iterable[str]:
    return (f"{level.name}.{name}" for name, _ in level.dimensions)
