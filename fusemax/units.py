"""Figures with their units, as people read them."""

from __future__ import annotations

import math
from typing import Final

_PREFIXES: Final = ("", "k", "M", "G", "T", "P", "E", "Z", "Y", "R", "Q")
_BINARY: Final = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi")
_SMALL: Final = ("", "m", "µ", "n", "p", "f")


def quantity(value: float, unit: str) -> str:
    """Return a figure with four digits and a prefix: ``13.39 ms``; bytes have binary ones, ``16 MiB``."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g} {unit}"
    step, prefixes, small = (1024, _BINARY, ("",)) if unit == "B" else (1000, _PREFIXES, _SMALL)
    scaled, prefix = float(value), 0
    while abs(float(f"{scaled:.4g}")) >= step and prefix < len(prefixes) - 1:
        scaled, prefix = scaled / step, prefix + 1
    while prefix <= 0 and abs(scaled) < 1 and prefix > 1 - len(small):
        scaled, prefix = scaled * step, prefix - 1
    name = prefixes[prefix] if prefix >= 0 else small[-prefix]
    return f"{scaled:.4g} {name}{unit}"


def byte_size(count: int) -> str:
    """Return a number of bytes for people, and exactly: ``36 GiB (38,654,705,664 bytes)``."""
    return f"{quantity(count, 'B')} ({count:,} bytes)" if count >= 1024 else f"{count:,} bytes"
