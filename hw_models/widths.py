"""How energy and area of a component follow the widths of what it works on; the table's are those of 16 bits.

    multiplier            a · b / 16²              (operands of a and b bits)
    add, max              widest operand / 16
    multiply-accumulate   its multiplier by the first law, its adder by the second, as wide as the accumulator
    exp, divide           (widest operand / 16)²

M. Horowitz, "Computing's energy problem (and what we can do about it)", ISSCC 2014, has for integers of 8 and 32 bits
0.03 and 0.1 pJ of an addition (3.3 times), 0.2 and 3.1 pJ of a multiplication (15.5 times): nearly linear, quadratic.
That areas grow likewise, and exponentials and divisions like a multiplication, is assumed: an array divider has a row
of subtractors for each digit (M. D. Ercegovac, T. Lang, "Digital Arithmetic", 2004), a polynomial multiplications.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

from hw_models.components import Logic, logic

Number: TypeAlias = Any
"""A number, or an array with a value per machine or point."""
TABLE_BITS: Final = 16
"""Width of what the components of the table work on."""
_QUADRATIC: Final = ("exp", "divide")


def energy_pj(component: str, operands: tuple[Number, Number], result: Number) -> Number:
    """Return the energy at 45 nm of one action of a component, in pJ.

    Args:
        operands: bits of the two operands; of one operand twice the same.
        result: bits of the sum that a multiply-accumulate adds to.

    Raises:
        InputError: no component has that name.
    """
    return _at(component, lambda part: part.energy_pj, operands, result)


def area_um2(component: str, operands: tuple[Number, Number], result: Number) -> Number:
    """Return the area at 45 nm of a component, in µm²; arguments and errors as of ``energy_pj``."""
    return _at(component, lambda part: part.area_um2, operands, result)


def widest(a: Number, b: Number) -> Number:
    """Return the larger of two numbers, or of two arrays at each place."""
    if isinstance(a, int | float) and isinstance(b, int | float):
        return max(a, b)
    import numpy as np

    return np.maximum(a, b)


def _at(component: str, figure: Callable[[Logic], float], operands: tuple[Number, Number], result: Number) -> Number:
    own = figure(logic(component))
    if component == "mac":
        adder = figure(logic("add"))
        more = operands[0] * operands[1] / TABLE_BITS**2 - 1  # 0 at 16 bits, where the table's figure stands as it is
        return own + (own - adder) * more + adder * (result / TABLE_BITS - 1)
    width = widest(*operands) / TABLE_BITS
    return own * width * width if component in _QUADRATIC else own * width
