"""Whether what a tree keeps at a time fits: every memory's peak within its capacity, registers included."""

from __future__ import annotations

from einsum_cascades.errors import InputError
from einsum_cascades.loops.arith import anywhere
from hw_models.accounting import Accounting
from hw_models.machine import Memory
from hw_models.spatial.activity import Activity


def check_fits(activity: Activity, accounting: Accounting) -> None:
    """Check that every memory has room for what it keeps; sizes may be numbers or arrays.

    Registers are left out where the accounting lets a lane's hold a fiber of any length.

    Raises:
        InputError: one has not.
    """
    machine = activity.machine
    for name, bits in activity.peak_bits.items():
        capacity = machine.levels[name].capacity_bits
        registers = not isinstance(machine.node(name), Memory)
        if capacity is None or (registers and accounting.fibers_in_registers) or not anywhere(bits > capacity):
            continue
        kept = sorted({row.tensor for row in activity.rows if row.node == name and row.action in ("fill", "update")})
        what, key = ("the registers of a PE", "registers") if registers else ("an instance", "bytes")
        raise InputError(
            f"the mapping keeps {_bytes(bits)} in {name}, of which {what} has room for {_bytes(capacity)}",
            hint=f"cut smaller tiles of {', '.join(kept) or 'what it keeps'}, keep less there, "
            f"or give it more room with --set-arch {name}.{key}=N",
        )


def _bytes(bits: object) -> str:
    most = int(bits.max() if hasattr(bits, "max") else bits)  # type: ignore[call-overload]
    return f"{-(-most // 8):,} bytes"
