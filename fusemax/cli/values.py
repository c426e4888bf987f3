"""Values of machines and models as people read them: the unit follows from the end of a value's name."""

from __future__ import annotations

from typing import Any, Final

from fusemax.cli.output import quantity

_UNITS: Final = (
    ("_flops_per_s", "flop/s"),
    ("bytes_per_s", "B/s"),
    ("_per_s", "/s"),
    ("_j_per_byte", "J/B"),
    ("_hz", "Hz"),
    ("_s", "s"),
    ("_j", "J"),
    ("_w", "W"),
)


def shown(key: str, value: Any) -> str:
    """Return a value with its unit.

    Args:
        key: its dotted key, such as ``global_buffer.bytes``; what stands under ``operators`` is a rate.
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if isinstance(value, tuple):
        return ", ".join(value)
    if key.endswith("bytes"):
        return quantity(value, "B")
    if key.endswith("_mm2"):
        return f"{value:,.4g} mm²"
    if key.endswith("_nm"):
        return f"{value:,} nm"
    if key.startswith("operators."):
        return quantity(value, "/s")
    for suffix, unit in _UNITS:
        if key.endswith(suffix):
            return quantity(value, unit)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
