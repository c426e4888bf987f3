"""Which instructions of a GPU's lanes an operator of the table becomes, in 32-bit arithmetic.

Powers of e are powers of two of a scaled argument, whose scaling joins the subtraction before it in one fused
multiply-addition; a division is a reciprocal and a multiplication. A sigmoid is 1 / (1 + 2**x), and a hyperbolic
tangent such a one, two of which share a reciprocal.
Source: NVIDIA, "CUDA C++ Programming Guide", arithmetic instructions: throughput of native instructions, and how the
compiler builds others from them.
"""

from __future__ import annotations

from math import ceil
from typing import Final, NamedTuple


class Instructions(NamedTuple):
    """Instructions of each pipe of a lane (``machine.Vector``)."""

    special: int | float = 0
    fma: int | float = 0
    alu: int | float = 0

    def times(self, number: int) -> Instructions:
        """So many of them, whole instructions."""
        return Instructions(ceil(self.special * number), ceil(self.fma * number), ceil(self.alu * number))

    def plus(self, other: Instructions) -> Instructions:
        """Both."""
        return Instructions(self.special + other.special, self.fma + other.fma, self.alu + other.alu)


INSTRUCTIONS: Final = {
    "add": Instructions(fma=1),
    "sub": Instructions(fma=1),
    "mul": Instructions(fma=1),
    "mac": Instructions(fma=1),
    "neg": Instructions(),
    "max": Instructions(alu=1),
    "min": Instructions(alu=1),
    "div": Instructions(special=1, fma=1),
    "mod": Instructions(special=1, fma=2, alu=1),
    "floor": Instructions(alu=1),
    "exp": Instructions(special=1),
    "log": Instructions(special=1, fma=1),
    "sqrt": Instructions(special=1, fma=1),
    "tanh": Instructions(special=1.5, fma=1.5, alu=1),
    "sigmoid": Instructions(special=2, fma=1),
    "abs": Instructions(alu=1),
    "lt": Instructions(alu=1),
    "le": Instructions(alu=1),
    "gt": Instructions(alu=1),
    "ge": Instructions(alu=1),
    "eq": Instructions(alu=1),
    "where": Instructions(alu=1),
}
"""By operator."""
CONVERT: Final = Instructions(alu=1)
"""Two 32-bit values into a pair of 16-bit ones, and its place in the operand of the next product: half each a value."""
MASK: Final = Instructions(alu=3)
"""A score's key compared with the edge of the mask and with the end of the keys, and the score kept or replaced."""
