"""What FLAT's options cost with a fused tile that differs from point to point: cycles, traffic, room in the buffer."""

from __future__ import annotations

from functools import cached_property
from itertools import product as combinations_of
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from mappers.batched.nest import home_values
from mappers.batched.values import Values
from mappers.capacity import most
from mappers.contraction import Product
from mappers.flat_nest import STATIONARY, FlatProblem
from mappers.mapping import NestShape
from mappers.phases import phase_cycles

Array: TypeAlias = npt.NDArray[Any]


def free_tensors(problem: FlatProblem, product: Product) -> tuple[str, ...]:
    """Return the operands of a product that may be held in the buffer or not, whatever phases hand on."""
    return tuple(o.tensor for o in product.operands if o.tensor not in problem.intermediates)


def held_flags(count: int) -> list[tuple[bool, ...]]:
    """Return the sets of held tensors in the order of the search."""
    return list(combinations_of((False, True), repeat=count))


class FusedTile:
    """What the options of each product cost with a fused tile, which differs from point to point."""

    def __init__(self, problem: FlatProblem, fused: Array) -> None:
        self.problem, self.fused = problem, fused
        self.free = sorted({t for product in problem.products for t in free_tensors(problem, product)})
        self._values = Values({})
        self._known: dict[Any, Any] = {}

    @cached_property
    def cycles(self) -> list[list[Array]]:
        """Cycles of each product, by stationary operand."""
        problem = self.problem
        per_point = phase_cycles((("mac", 1),), problem.architecture.array_2d, problem.accounting)
        return [[self._cycles(product, s) * per_point for s in STATIONARY] for product in problem.products]

    @cached_property
    def fewest_cycles(self) -> Any:
        """A bound on the cycles of all products."""
        return sum(np.minimum(np.minimum(*each[:2]), each[2]) for each in self.cycles)

    def _layout(self, product: Product, stationary: str, *, held: bool) -> tuple[NestShape, tuple[Any, ...]]:
        key = ("layout", product.name, stationary, held)
        if key not in self._known:
            on_chip = frozenset(o.tensor for o in product.operands) if held else frozenset[str]()
            shape, keys = self.problem.layout(product, stationary, on_chip)
            new = {k: self.problem.extent(k, self.fused) for k in keys if k not in self._values.extents}  # type: ignore[arg-type]
            self._values.extend(new)
            self._known[key] = shape, keys
        found: tuple[NestShape, tuple[Any, ...]] = self._known[key]
        return found

    def _each(self, value: Any) -> Array:
        return np.broadcast_to(np.asarray(value), self.fused.shape)

    def _cycles(self, product: Product, stationary: str) -> Array:
        shape, keys = self._layout(product, stationary, held=False)
        time = [k for k, spatial in zip(keys, shape.spatial, strict=True) if not spatial]
        return self._each(self._values[self._values.product(time)])

    def _side(self, place: int, stationary: int, operand: int, held: bool) -> Array:
        """DRAM values of one operand of a product."""
        key = ("side", place, stationary, operand, held)
        if key not in self._known:
            shape, keys = self._layout(self.problem.products[place], STATIONARY[stationary], held=held)
            nest = shape.compiled
            self._known[key] = self._each(home_values(self._values, nest.chains[operand], nest, keys))
        found: Array = self._known[key]
        return found

    def _least_side(self, place: int, operand: int, held: bool) -> Array:
        key = ("least", place, operand, held)
        if key not in self._known:
            sides = [self._side(place, s, operand, held) for s in range(len(STATIONARY))]
            self._known[key] = np.minimum(np.minimum(sides[0], sides[1]), sides[2])
        found: Array = self._known[key]
        return found

    def fewest(self, tensor: str, held: bool) -> Any:
        """A bound on the DRAM values of a free tensor, held or not, in all products."""
        places = [
            (place, i)
            for place, product in enumerate(self.problem.products)
            for i, operand in enumerate(product.operands)
            if operand.tensor == tensor
        ]
        return sum(self._least_side(place, i, held) for place, i in places)

    def handed_on(self, between: bool) -> Any:
        """A bound on the DRAM values of the tensors that phases hand on."""
        return sum(
            self._least_side(place, i, between)
            for place, product in enumerate(self.problem.products)
            for i, operand in enumerate(product.operands)
            if operand.tensor in self.problem.intermediates
        )

    def moved(self, place: int, held: frozenset[str], between: bool, some: Array) -> list[Array]:
        """DRAM values of a product at some points, by stationary operand."""
        product, handed_on = self.problem.products[place], self.problem.intermediates
        on = [between if o.tensor in handed_on else o.tensor in held for o in product.operands]
        return [
            sum(self._side(place, s, i, held)[some] for i, held in enumerate(on))  # type: ignore[misc]
            for s in range(len(STATIONARY))
        ]

    def place_of(self, product: Product, held: frozenset[str]) -> int:
        """The place of a set of held tensors in the order of the search."""
        return held_flags(len(free := free_tensors(self.problem, product))).index(tuple(t in held for t in free))

    def fitting(self, between: bool) -> dict[frozenset[str], Array]:
        """Whether each set of held tensors fits the buffer, smaller sets first."""
        key = ("fitting", between)
        if key in self._known:
            found: dict[frozenset[str], Array] = self._known[key]
            return found
        shared, base = 0, sum(self.problem.fibers_from_outside)
        more: dict[str, Any] = {}
        if "places" not in self._known:
            self._known["places"] = self.problem.places(self.fused)  # type: ignore[arg-type]
        for tensor, on, off, hands_on in self._known["places"]:
            if hands_on:
                shared = most(shared, on) if between else 0
            elif tensor in self.problem.intermediates:
                base = base + (on if between else off)
            else:
                base = base + off
                more[tensor] = more.get(tensor, 0) + (on - off)
        room = self.problem.architecture.global_buffer.bytes // self.problem.value_bytes - (base + shared)
        taken: dict[frozenset[str], Any] = {frozenset(): 0}
        for tensor in self.free:
            taken |= {held | {tensor}: number + more[tensor] for held, number in taken.items()}
        ordered = sorted(taken, key=len)
        fits = {held: self._each(taken[held] <= room) for held in ordered}
        self._known[key] = fits
        return fits

    def ever_held(self, between: bool) -> dict[str, Array]:
        """Whether each free tensor fits the buffer by itself, and ("") whether anything does."""
        fits = self.fitting(between)
        return {"": fits[frozenset()]} | {tensor: fits[frozenset({tensor})] for tensor in self.free}


class Undominated:
    """Whether the search considers an option of a product: none that holds strictly less is as good."""

    def __init__(self, tile: FusedTile, place: int, between: bool) -> None:
        self.tile, self.place, self.between = tile, place, between
        product = tile.problem.products[place]
        self.free = free_tensors(tile.problem, product)
        self.flags = held_flags(len(self.free))

    def of(self, stationary: int, chosen: int, some: Array) -> Array:
        """Return it for a stationary operand and a set of held tensors, at some points."""
        cycles = [c[some] for c in self.tile.cycles[self.place]]
        mine = self._moved(chosen, some)[stationary]
        kept = np.ones(len(some), bool)
        for other, flags in enumerate(self.flags):
            if other != chosen and all(a <= b for a, b in zip(flags, self.flags[chosen], strict=True)):
                theirs = self._moved(other, some)
                for s in range(len(STATIONARY)):
                    kept &= ~((cycles[s] <= cycles[stationary]) & (theirs[s] <= mine))
        return kept

    def _moved(self, chosen: int, some: Array) -> list[Array]:
        held = frozenset(t for t, on in zip(self.free, self.flags[chosen], strict=True) if on)
        return self.tile.moved(self.place, held, self.between, some)
