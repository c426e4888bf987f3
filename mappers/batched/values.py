"""Named extents of many points, and the products of them that loop nests need, each computed once.

An extent is a number, the same for all points, or an array of 64-bit integers with a value per point. They hold every
count exactly: a bound on the counts, in floats, tells beforehand at which points they might not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from math import prod
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from hw_models.accounting import Accounting
from hw_models.batched import Number

Array: TypeAlias = npt.NDArray[Any]
Key: TypeAlias = "str | tuple[str, ...]"
"""The name of an extent."""
Handle: TypeAlias = tuple[Any, ...]
Terms: TypeAlias = Counter[Handle]
"""A sum: how often each value is added."""

ONE: Final[Handle] = ("product",)
WORD: Final = 2.0**62
"""Counts are evaluated in 64-bit integers where a bound on them stays below this."""


class Values:
    """Extents, and values made of them, by handle."""

    def __init__(self, extents: Mapping[Any, Number]) -> None:
        self.extents: dict[Key, Number] = {}
        self.extend(extents)
        self._known: dict[Handle, Any] = {ONE: 1}
        self._above_one: dict[Key, bool | None] = {}

    def extend(self, extents: Mapping[Any, Number]) -> None:
        """Name further extents."""
        self.extents.update(extents)

    def _place(self, key: Key) -> tuple[bool, Key]:
        """Where an extent stands in a product: numbers that all points share come first."""
        return isinstance(self.extents[key], np.ndarray), key

    def product(self, keys: Iterable[Key]) -> Handle:
        """Return the handle of a product of extents; those that are 1 are left out."""
        kept = [k for k in keys if self._more(k) is not False]
        return ("product", *sorted(kept, key=self._place))

    def _more(self, key: Key) -> bool | None:
        """Whether an extent is more than 1: for all points, for none, or (None) for some."""
        if key not in self._above_one:
            extent = self.extents[key]
            if isinstance(extent, np.ndarray):
                above = extent > 1
                self._above_one[key] = True if above.all() else None if above.any() else False
            else:
                self._above_one[key] = bool(extent > 1)
        return self._above_one[key]

    def moved(self, movers: Iterable[Key], steps: Iterable[Iterable[Key]], rest: Iterable[Key]) -> Handle:
        """Return the handle of how often a tile is replaced, times a product of extents.

        Args:
            movers: extents of the loops that replace the tile, innermost first.
            steps: for each of them, and last for none, the extents whose product is the number of replacements.
            rest: the extents of the product.
        """
        cases: list[tuple[Key, Handle]] = []
        rest = tuple(rest)
        counts = [tuple(s) for s in steps]
        for mover, count in zip(movers, counts, strict=False):
            more = self._more(mover)
            if more:
                counts[-1] = count
                break
            if more is None:
                cases.append((mover, self.product((*count, *rest))))
        last = self.product((*counts[-1], *rest))
        while cases and cases[-1][1] == last:
            cases.pop()
        return ("cases", tuple(cases), last) if cases else last

    def free_reads(self, size: Handle, tile: Handle, accounting: Accounting) -> Handle:
        """Return the handle of ``Accounting.free_first_reads``."""
        bits = accounting.partition_size_bits
        if bits is None:
            return size
        sizes, tiles = self[size], self[tile]
        whole = float(np.max(sizes)) * float(np.max(tiles)) < 2.0 ** min(bits - 1, 62)
        return size if whole else ("free", bits, size, tile)

    def put(self, name: str, value: Number) -> Handle:
        """Keep a value of one's own under a name."""
        self._known["own", name] = value
        return ("own", name)

    def __getitem__(self, handle: Handle) -> Any:
        """The value of a handle."""
        if handle not in self._known:
            self._known[handle] = self._computed(handle)
        return self._known[handle]

    def _computed(self, handle: Handle) -> Any:
        match handle:
            case ("product", *before, last):
                return self["product", *before] * self.extents[last]
            case ("cases", cases, last):
                found = self[last]
                for mover, count in reversed(cases):
                    found = np.where(self.extents[mover] > 1, self[count], found)
                return found
            case ("free", bits, size, tile):
                return _wrapped(self[size], self[tile], bits)
        raise KeyError(handle)

    def total(self, terms: Terms) -> Any:
        """Return the sum of terms."""
        found: Any = 0
        for handle, times in terms.items():
            if times:
                value = self[handle]
                found = found + (value if times == 1 else value * times)
        return found


def _wrapped(size: Any, tile: Any, bits: int) -> Any:
    """(size · tile mod 2^bits) / tile, rounded down."""
    if bits != 64:
        return np.asarray(size, object) * tile % (1 << bits) // tile
    with np.errstate(over="ignore"):
        word = np.asarray(size).astype(np.uint64) * np.asarray(tile).astype(np.uint64)
    return (word // np.asarray(tile).astype(np.uint64)).astype(np.int64)


def product_bound(extents: Mapping[Any, Number], keys: Iterable[Key]) -> Any:
    """Return a product of extents as a float, to see how large counts become."""
    return prod([np.asarray(extents[k], float) for k in keys], start=1.0)
