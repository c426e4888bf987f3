"""Links of limited bandwidth on the way from the off-chip memory to an array, for a search in closed form."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from einsum_cascades.loops.arith import Number, least
from hw_models.machine import Array
from mappers.presets.layout import Way, dimensions_of
from mappers.presets.problem import Problem, lanes


class Linked(NamedTuple):
    """A link of limited bandwidth on the way from the off-chip memory to the array.

    Attributes:
        rate: bytes per second.
        inside: whether it is between the buffer and the array.
        copies: over how many instances of it the copies are spread.
        apart: numbers of the array's dimensions over which it has instances.
        alone: those beyond it where it does not multicast.
        unsummed: those over which results enter it by themselves.
    """

    rate: Number
    inside: bool
    copies: Number
    apart: tuple[int, ...] = ()
    alone: tuple[int, ...] = ()
    unsummed: tuple[int, ...] = ()

    def passing(
        self,
        has: Sequence[Sequence[bool]],
        bits: Sequence[Number],
        way: Way,
        wanted: Sequence[Any],
        results: Number,
    ) -> Any:
        """Return the bits that pass it.

        Args:
            has: of each operand, the result last, which axes it has.
            bits: of a value of each.
            wanted: values of each that all positions together ask for, each once a step.
            results: values of the result.
        """
        last, found = len(has) - 1, 0.0
        for number, (own, each, asked) in enumerate(zip(has, bits, wanted, strict=True)):
            among = self.unsummed if number == last else (*self.apart, *self.alone)
            lying = math.prod(count for axis, dim, count in way.placed if dim in among and not own[axis])
            found = found + (asked * lying + (asked - results if number == last else 0)) * each
        return found

    def seconds(self, bits: Any, way: Way) -> Any:
        """Return how long it takes for so many bits, that all its instances carry together."""
        used = math.prod(count for _, dim, count in way.placed if dim in self.apart)
        return bits / 8 / self.rate / (self.copies * used)


def links_to(problem: Problem, array: Array, instances: Number) -> Iterator[Linked]:
    """Yield the links of limited bandwidth on the way to an array."""
    path, numbers = problem.machine.path(array.name), range(len(dimensions_of(problem, array)))
    place_of = {node.name: place for place, node in enumerate(path)}
    buffer = place_of[problem.parts.buffer.name]
    places = [place_of[name.split(".")[0]] for name, _ in dimensions_of(problem, array)]
    for place, node in enumerate(path):
        rate = node.link.bandwidth_bytes_per_s
        if rate is None:
            continue
        above = [d for n in path[: min(place, buffer + 1)] for d in n.dimensions]
        yield Linked(
            rate,
            place > buffer,
            least(instances, lanes(above)),
            apart=tuple(n for n in numbers if places[n] < place),
            alone=tuple(n for n in numbers if places[n] >= place and not path[places[n]].link.multicast),
            unsummed=tuple(n for n in numbers if places[n] <= place or not path[places[n]].link.reduction),
        )
