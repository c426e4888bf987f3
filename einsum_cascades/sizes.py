"""Sizes as people write them: ``8K`` tokens, ``256KiB``; the one place that knows the suffixes.

A count (a length, a number of heads, of rows) may end in K, M, G or T, each 1024 times the one before: a context of
``8K`` tokens has 8192. A number of bytes may end in these too, in B, in KiB, MiB, GiB or TiB (the same powers of 1024),
or in kB, MB, GB or TB, the SI's powers of 1000 that results are printed in. Any number may be written ``65_536``,
``2**16`` or ``1.5M``, as long as it is a whole one.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final, Literal

from einsum_cascades.errors import InputError

Unit = Literal["count", "bytes"]

_BINARY: Final = {"K": 2**10, "k": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_BYTES: Final = {
    "B": 1,
    **{f"{letter}iB": 2 ** (10 * power) for power, letter in enumerate("KMGT", 1)},
    **{f"{letter}B": 1000**power for power, letter in enumerate("kMGT", 1)},
    "KB": 1000,
}
SUFFIXES: Final[dict[Unit, dict[str, int]]] = {"count": _BINARY, "bytes": _BINARY | _BYTES}
"""What each suffix stands for."""
PATTERNS: Final[dict[Unit, str]] = {
    unit: r"(?:2\*\*[0-9]{1,3}|[0-9](?:_?[0-9]){0,99}(?:\.[0-9]{1,30})?\s*(?:" + "|".join(known) + r")?)"
    for unit, known in SUFFIXES.items()
}
"""Regular expressions that match what is read, for schemas and grammars."""
EXPECTED: Final[dict[Unit, str]] = {
    "count": "a whole number from 1 to 2^50 is expected, such as 8192, 8K or 2**13 (K, M, G, T: powers of 1024)",
    "bytes": "a whole number of bytes from 1 to 2^50 is expected, such as 262144, 256KiB or 2**18 "
    "(K, KiB, M, MiB, G, GiB: powers of 1024; kB, MB, GB: powers of 1000)",
}
"""What would be right, for hints."""

_SIZE: Final = re.compile(
    r"2\*\*(?P<exponent>[0-9]{1,3})"
    r"|(?P<digits>-?[0-9](?:_?[0-9]){0,99})(?P<fraction>\.[0-9]{1,30})?\s*(?P<suffix>[A-Za-z]{1,10})?"
)


def read_size(text: str, unit: Unit = "count") -> int:
    """Return a whole number: a count, or a number of bytes. Whether it is too small or too large is the caller's.

    Args:
        text: such as ``65536``, ``65_536``, ``2**16``, ``64K``; for bytes also ``256KiB`` and ``1GB``.
        unit: what is counted, which says the suffixes that there are.

    Raises:
        InputError: it is no such number.
    """
    noun = "size" if unit == "count" else "number of bytes"
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise InputError(f"'{text[:60]}' is no {noun}", hint=EXPECTED[unit])
    if match["exponent"]:
        return 1 << int(match["exponent"])
    suffix = match["suffix"] or ""
    if suffix and suffix not in SUFFIXES[unit]:
        raise InputError(f"'{text[:60]}' is no {noun}: '{suffix}' is no suffix of one", hint=EXPECTED[unit])
    number = Fraction(match["digits"].replace("_", "") + (match["fraction"] or ""))
    number *= SUFFIXES[unit][suffix] if suffix else 1
    if number.denominator != 1:
        raise InputError(f"'{text[:60]}' is no {noun}: it is no whole number", hint=EXPECTED[unit])
    return number.numerator


def as_size(value: int | str, what: str, unit: Unit = "count") -> int:
    """Return a number as it is, and text as ``read_size`` reads it.

    Args:
        what: what to call it in an error, such as ``seq_len``.

    Raises:
        InputError: the text is no such number.
    """
    if not isinstance(value, str):
        return value
    try:
        return read_size(value, unit)
    except InputError as error:
        raise InputError(f"{what}: {error.message}", hint=error.hint) from None
