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
_BINARY: Final = ("bytes", "KiB", "MiB", "GiB", "TiB")


def shown(key: str, value: Any) -> str:
    """Return a value with its unit.

    Args:
        key: its dotted key, such as ``global_buffer.bytes``; what stands under ``operators`` is a rate.
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if key.endswith("bytes"):
        return capacity(value)
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


def capacity(count: int) -> str:
    """Return a number of bytes with four digits and a power of 1024: ``16 MiB``."""
    power = min(max(count.bit_length() - 1, 0) // 10, len(_BINARY) - 1)
    return f"{count / 1024**power:,.4g} {_BINARY[power]}"
