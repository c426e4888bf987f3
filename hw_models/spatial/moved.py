"""Sums of values of several widths: as integers no larger than the number of values asks for.

Bits would be 16 times as many as values, and pass 64 bits that much earlier where sizes are arrays. Bytes are exact:

    bytes = Σ over widths w of values · ⌊w / 8⌋  +  ⌈ Σ values · (w mod 8) / 8 ⌉
"""

from __future__ import annotations

from typing import Any

from einsum_cascades.loops.arith import Number


class Moved:
    """Values that are moved, by their width."""

    def __init__(self) -> None:
        self._found: dict[Any, tuple[Number, Number]] = {}

    def add(self, width: Number, count: Number) -> None:
        """Add so many values of a width in bits."""
        key = width if isinstance(width, int) else id(width)
        self._found[key] = (width, self._found[key][1] + count if key in self._found else count)

    @property
    def bits(self) -> Number:
        """All of them in bits, as a float."""
        found: Number = 0.0
        for width, count in self._found.values():
            found = found + real(count) * width
        return found

    @property
    def bytes(self) -> Number:
        """All of them in bytes, rounded up."""
        whole: Number = 0
        rest: Number = 0
        for width, count in self._found.values():
            whole = whole + count * (width // 8)
            if not isinstance(width, int) or width % 8:
                rest = rest + count * (width % 8)
        return whole if isinstance(rest, int) and rest == 0 else whole + -(-rest // 8)


def real(number: Number) -> Number:
    """Return a count as a float, correctly rounded."""
    return number.astype(float) if hasattr(number, "astype") else float(number)
