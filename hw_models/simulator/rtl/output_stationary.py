"""An output-stationary systolic array of R x C PEs: Y = X W, with Y (R x C) in the PEs, X and W streaming along K.

    operands   column k of X enters from the left and row k of W from the top in one cycle; lane r passes r registers,
               lane c passes c (skew), then a register per PE
    sums       PE (r, c) adds product k in cycle k + r + c; the last one takes the sum into a shadow register
    results    once the bottom PE of a column has its sum, the column's shadow registers shift down, a row a cycle: row
               R-1 leaves first. Row r shifts r times and is then free for the next tile's sum, which comes no sooner.
               Column c passes C - 1 - c registers (deskew), so a row of Y leaves at once.

A tile of K steps alone takes R + C - 2 (skew) + K + R (drain) cycles from the first operand to the last result; tiles
follow each other max(K, R) cycles apart: a last step waits until it comes R cycles after the one before.

Source of the dataflow: Kung, "Why Systolic Architectures?", IEEE Computer 15(1), 1982.
"""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib.wiring import Component, In, Out

from hw_models.simulator.rtl.lanes import delayed, lane, packed


class OutputStationary(Component):
    """The array. All lanes are packed into one port, lane 0 lowest, two's complement.

    Ports:
        values, weights, step, last: R values and C weights, of which a tile's last ones are marked; they are taken if
            ``step_ready``, which last ones are only R cycles after the last ones before.
        sums, valid: a row of C sums; of each tile, R rows, the last row first.

    Args:
        rows, columns: of PEs, each at least 1.
        value_bits, weight_bits: of signed numbers.
        longest: most steps of a tile.
    """

    def __init__(self, rows: int, columns: int, value_bits: int = 8, weight_bits: int = 8, longest: int = 64) -> None:
        self.rows, self.columns = rows, columns
        self.value_bits, self.weight_bits = value_bits, weight_bits
        self.sum_bits = value_bits + weight_bits + (longest - 1).bit_length()
        super().__init__(
            {
                "values": In(rows * value_bits),
                "weights": In(columns * weight_bits),
                "step": In(1),
                "last": In(1),
                "step_ready": Out(1),
                "sums": Out(columns * self.sum_bits),
                "valid": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Return the array's logic."""
        m = Module()
        step, first, last = self._control(m)
        values = [delayed(m, lane(self.values, r, self.value_bits), r) for r in range(self.rows)]
        tags: list[tuple[Value, ...]] = [
            tuple(delayed(m, tag, r) for tag in (step, first, last)) for r in range(self.rows)
        ]
        sums, leaving = [], step
        for c in range(self.columns):
            weight = delayed(m, lane(self.weights, c, self.weight_bits), c)
            total, leaving = self._column(m, weight, values, tags)
            sums.append(delayed(m, total, self.columns - 1 - c))
            values = [delayed(m, value, 1) for value in values]
            tags = [tuple(delayed(m, tag, 1) for tag in row) for row in tags]
        m.d.comb += [self.sums.eq(packed(sums)), self.valid.eq(leaving)]
        return m

    def _control(self, m: Module) -> tuple[Value, Value, Value]:
        """Return whether a step is taken in this cycle, and whether it is a tile's first and last."""
        step, first, last = Signal(), Signal(init=1), Signal()
        wait = Signal(range(self.rows))
        m.d.comb += [
            self.step_ready.eq(~self.last | (wait == 0)),
            step.eq(self.step & self.step_ready),
            last.eq(step & self.last),
        ]
        with m.If(step):
            m.d.sync += first.eq(self.last)
        with m.If(last):
            m.d.sync += wait.eq(self.rows - 1)
        with m.Elif(wait != 0):
            m.d.sync += wait.eq(wait - 1)
        return step, first, last

    def _column(
        self, m: Module, weight: Value, values: list[Value], tags: list[tuple[Value, ...]]
    ) -> tuple[Value, Value]:
        """Return the bottom shadow register of a column, and whether a result is in it."""
        start = Signal()
        m.d.sync += start.eq(tags[-1][2])
        shift: Value | None = None
        above: Value | None = None
        for r, (step, first, last) in enumerate(tags):
            kept, shadow = Signal(signed(self.sum_bits)), Signal(signed(self.sum_bits))
            total = Signal(signed(self.sum_bits))
            m.d.comb += total.eq(Mux(first, 0, kept) + values[r] * weight)
            with m.If(step):
                m.d.sync += kept.eq(total)
            with m.If(last):
                m.d.sync += shadow.eq(total)
            if above is not None and shift is not None:
                with m.Elif(shift):
                    m.d.sync += shadow.eq(above)
            shift = start if shift is None else start | delayed(m, shift, 1)
            weight, above = delayed(m, weight, 1), shadow
        assert above is not None
        assert shift is not None
        return above, shift
