"""Ways of products that are added up one by one, and which of them are kept: those that no other makes idle."""

from __future__ import annotations

from typing import NamedTuple, TypeVar

from mappers.presets.flat_tree import Layout

MOST_COMBINATIONS = 64
"""Combinations of products kept at a time."""


class Option(NamedTuple):
    """One way for a product, at one fused tile."""

    cycles: int
    bits: int
    room: int
    layout: Layout
    place: tuple[tuple[str, str], ...]


class Combination(NamedTuple):
    """Options chosen for the first products: their sums, and what they say."""

    cycles: int
    bits: int
    room: int
    layouts: tuple[tuple[str, Layout], ...]
    place: tuple[tuple[str, str], ...]


Way = TypeVar("Way", Option, Combination)


def pareto(found: list[Way]) -> list[Way]:
    """Those that no other equals or betters in cycles, bits and room."""
    kept: list[Way] = []
    for one in sorted(found, key=lambda o: o[:3]):
        if not any(k.bits <= one.bits and k.room <= one.room for k in kept):
            kept.append(one)
    return kept


def thinned(found: list[Combination]) -> list[Combination]:
    """At most so many, an even selection by traffic with both ends."""
    if len(found) <= MOST_COMBINATIONS:
        return found
    ordered = sorted(found, key=lambda one: (one.bits, one.cycles, one.room))
    last = len(ordered) - 1
    chosen = {round(i * last / (MOST_COMBINATIONS - 3)) for i in range(MOST_COMBINATIONS - 2)}
    ends = [min(ordered, key=lambda one: (one.cycles, one.bits)), min(ordered, key=lambda one: (one.room, one.bits))]
    return list(dict.fromkeys([ordered[i] for i in sorted(chosen)] + ends))
