"""A weight-stationary systolic array of R x C PEs: Y = X W, with W (R x C) in the PEs and the rows of X streaming.

    weights    a row a cycle from the top, row R-1 first, each moving on a row with every one that follows: R cycles.
               PE (r, c) shifts a shadow register, which is loaded while the active one is used.
    values     row m of X enters in one cycle; lane r passes r registers (skew), then a register per column
    sums       flow down, a register per PE; column c passes C - 1 - c registers (deskew), so a row of Y leaves at once
    swap       the first row of a tile makes the shadow registers active on its way: in PE (r, c) r + c cycles later

A row of the shadow registers shifts only once what has entered reaches it, so the next tile's weights may enter from
the very cycle in which this tile's first row does: the wave of the load runs behind the wave of the swap.

A row of X is at the output R + C - 1 registers later. A tile of M rows alone takes R + M + R + C - 1 cycles from the
first weight to the last sum; tiles follow each other max(M, R) cycles apart.

Source of the dataflow: Jouppi et al., "In-Datacenter Performance Analysis of a Tensor Processing Unit", ISCA 2017.
"""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib.wiring import Component, In, Out

from hw_models.simulator.rtl.lanes import delayed, lane, packed


class WeightStationary(Component):
    """The array. All lanes are packed into one port, lane 0 lowest, two's complement.

    Ports:
        weights, load: a row of C weights to load; it is taken if ``load_ready``.
        values, step, first: a row of R values, of which a tile's first one is marked; it is taken if ``step_ready``,
            which a first one is only when its tile's weights are all there.
        sums, valid: a row of C sums.

    Args:
        rows, columns: of PEs, each at least 1.
        value_bits, weight_bits: of signed numbers.
    """

    def __init__(self, rows: int, columns: int, value_bits: int = 8, weight_bits: int = 8) -> None:
        self.rows, self.columns = rows, columns
        self.value_bits, self.weight_bits = value_bits, weight_bits
        self.sum_bits = value_bits + weight_bits + (rows - 1).bit_length()
        super().__init__(
            {
                "weights": In(columns * weight_bits),
                "load": In(1),
                "load_ready": Out(1),
                "values": In(rows * value_bits),
                "step": In(1),
                "first": In(1),
                "step_ready": Out(1),
                "sums": Out(columns * self.sum_bits),
                "valid": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Return the array's logic."""
        m = Module()
        shift, swap = self._control(m)
        values = [delayed(m, lane(self.values, r, self.value_bits), r) for r in range(self.rows)]
        swaps: list[Value] = [delayed(m, swap, r) for r in range(self.rows)]
        sums = []
        for c in range(self.columns):
            weight = delayed(m, lane(self.weights, c, self.weight_bits), c)
            total = self._column(m, shift, weight, values, swaps)
            sums.append(delayed(m, total, self.columns - 1 - c))
            shift = delayed(m, shift, 1)
            values = [delayed(m, value, 1) for value in values]
            swaps = [delayed(m, one, 1) for one in swaps]
        m.d.comb += self.sums.eq(packed(sums))
        latency = self.rows + self.columns - 1
        m.d.comb += self.valid.eq(delayed(m, self.step & self.step_ready, latency))
        return m

    def _control(self, m: Module) -> tuple[Value, Value]:
        """Return which rows of the shadow registers shift in this cycle, and whether they are made active."""
        loaded, full, swap, take = Signal(range(self.rows)), Signal(), Signal(), Signal()
        m.d.comb += [
            swap.eq(self.step & self.first & full),
            take.eq(self.load & self.load_ready),
            self.load_ready.eq(~full | swap),
            self.step_ready.eq(~self.first | full),
        ]
        with m.If(swap):
            m.d.sync += full.eq(0)
        with m.If(take):
            last = loaded == self.rows - 1
            m.d.sync += loaded.eq(Mux(last, 0, loaded + 1))
            with m.If(last):
                m.d.sync += full.eq(1)
        shift = Signal(self.rows)
        m.d.comb += [shift[r].eq(take & (loaded >= r)) for r in range(self.rows)]
        return shift, swap

    def _column(self, m: Module, shift: Value, weight: Value, values: list[Value], swaps: list[Value]) -> Value:
        """Return what leaves a column of PEs at the bottom."""
        total: Value | None = None
        for r in range(self.rows):
            shadow, active = Signal(signed(self.weight_bits)), Signal(signed(self.weight_bits))
            used, below = Signal(signed(self.weight_bits)), Signal(signed(self.sum_bits))
            m.d.comb += used.eq(Mux(swaps[r], shadow, active))
            product = values[r] * used
            m.d.sync += [active.eq(used), below.eq(product if total is None else total + product)]
            with m.If(shift[r]):
                m.d.sync += shadow.eq(weight)
            weight, total = shadow, below
        assert total is not None
        return total
