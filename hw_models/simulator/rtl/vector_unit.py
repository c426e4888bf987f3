"""A vector unit of a few lanes: each cycle it does one operation of one class on every lane, three registers deep.

    maximum   y = max over the steps of a        leaves with the last step
    sum       y = sum over the steps of a        leaves with the last step
    exponent  y = 2^((a - b) / 2^F), a <= b      leaves with every step

Numbers are fixed-point with F bits of fraction. The exponential is a table of 2^F mantissas with ``ONE_BITS`` bits of
fraction, looked up by the fraction of b - a, and shifted right by its whole part.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from amaranth.hdl import Array, Const, Module, Mux, Signal, Value, signed
from amaranth.lib.wiring import Component, In, Out

from hw_models.simulator.rtl.lanes import lane, packed

DEPTH: Final = 3
"""Registers from an operand to its result."""
ONE_BITS: Final = 7
"""Bits of fraction of an exponential: 2^0 is 1 << ONE_BITS."""


class Operation(IntEnum):
    """What the lanes do in a cycle."""

    MAXIMUM = 0
    SUM = 1
    EXPONENT = 2


def mantissas(fraction_bits: int) -> tuple[int, ...]:
    """Return the table of the exponential: 2^(-i / 2^F) for each i below 2^F, with ``ONE_BITS`` of fraction."""
    steps = 1 << fraction_bits
    return tuple(round(2 ** (ONE_BITS - i / steps)) for i in range(steps))


class VectorUnit(Component):
    """The unit. All lanes are packed into one port, lane 0 lowest, two's complement.

    Ports:
        a, b, operation, step, first, last: a value per lane of each operand; of a maximum or a sum the first and the
            last step are marked. A step is always taken.
        y, valid: a value per lane.

    Args:
        lanes: at least 1.
        bits: of a signed number.
        fraction_bits: of the exponential's argument.
    """

    def __init__(self, lanes: int, bits: int = 24, fraction_bits: int = 3) -> None:
        self.lanes, self.bits, self.fraction_bits = lanes, bits, fraction_bits
        super().__init__(
            {
                "a": In(lanes * bits),
                "b": In(lanes * bits),
                "operation": In(2),
                "step": In(1),
                "first": In(1),
                "last": In(1),
                "y": Out(lanes * bits),
                "valid": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Return the unit's logic."""
        m = Module()
        read, done = Signal(5), Signal(3)
        operation, leaves = read[:2], done[0]
        m.d.sync += read.eq(packed([self.operation, self.first, self.last, self.step]))
        exponent = operation == int(Operation.EXPONENT)
        m.d.sync += done.eq(packed([read[4] & (read[3] | exponent), exponent]))
        m.d.sync += self.valid.eq(leaves)
        results = [self._lane(m, index, operation, read[2], read[4], done[1]) for index in range(self.lanes)]
        m.d.sync += self.y.eq(packed(results))
        return m

    def _lane(self, m: Module, index: int, operation: Value, first: Value, step: Value, exponent: Value) -> Value:
        """Return what a lane puts into its last register."""
        a, b, below, kept = (Signal(signed(self.bits)) for _ in range(4))
        m.d.sync += [a.eq(lane(self.a, index, self.bits)), b.eq(lane(self.b, index, self.bits)), below.eq(b - a)]
        larger = Mux(a > kept, a, kept)
        reduced = Mux(first, a, Mux(operation == int(Operation.SUM), kept + a, larger))
        with m.If(step & (operation != int(Operation.EXPONENT))):
            m.d.sync += kept.eq(reduced)
        table = Array([Const(number, ONE_BITS + 1) for number in mantissas(self.fraction_bits)])
        whole = below[self.fraction_bits : -1]
        shifted = table[below[: self.fraction_bits]] >> Mux(whole > ONE_BITS, ONE_BITS + 1, whole)[:4]
        return Mux(exponent, shifted, kept)[: self.bits]
