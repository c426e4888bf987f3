"""Groups of things that need each other, in an order that can run: recurrences together, all else alone."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from graphlib import TopologicalSorter
from typing import TypeVar

Name = TypeVar("Name", int, str)


def components(needs: Mapping[Name, Iterable[Name]]) -> list[list[Name]]:
    """Return the strongly connected components, each after those that it needs.

    Args:
        needs: by name what it needs; needs that are no key of the mapping do not count.

    Returns:
        Components, their members in the order of the mapping; where there is a choice the one comes first that has the
        earliest member.
    """
    place = {name: number for number, name in enumerate(needs)}
    reach = {name: _reached(name, needs) for name in needs}
    group_of: dict[Name, int] = {}
    groups: dict[int, list[Name]] = {}
    for name in needs:
        first = next((other for other in group_of if other in reach[name] and name in reach[other]), name)
        group_of[name] = place[first]
        groups.setdefault(place[first], []).append(name)
    sorter = TopologicalSorter(
        {
            number: {group_of[need] for name in group for need in needs[name] if need in place} - {number}
            for number, group in groups.items()
        }
    )
    sorter.prepare()
    ready: list[int] = []
    order: list[list[Name]] = []
    while sorter.is_active():
        for number in sorter.get_ready():
            heapq.heappush(ready, number)
        number = heapq.heappop(ready)
        order.append(groups[number])
        sorter.done(number)
    return order


def _reached(name: Name, needs: Mapping[Name, Iterable[Name]]) -> set[Name]:
    seen: set[Name] = set()
    waiting = [name]
    while waiting:
        for other in needs[waiting.pop()]:
            if other in needs and other not in seen:
                seen.add(other)
                waiting.append(other)
    return seen
