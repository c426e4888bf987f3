"""Sizes as people write them: ``8K`` tokens, ``256KiB``; the one place that knows the suffixes.

A count (a length, a number of heads, of rows) may end in K, M, G or T, each 1024 times the one before: a context of
``8K`` tokens has 8192. A number of bytes may end in these too, in B, in KiB, MiB, GiB or TiB (the same powers of 1024),
or in kB, MB, GB or TB, the SI's powers of 1000 that results are printed in. Any number may be written ``65_536``,
``2**16`` or ``1.5M``, as long as it is a whole one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Final, Literal

from einsum_cascades.errors import InputError, quoted
from einsum_cascades.numbers import LARGEST, whole

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


def as_size(value: object, what: str, unit: Unit = "count", *, minimum: int = 1, maximum: int | None = LARGEST) -> int:
    """Return a whole number, given as one or as text that ``read_size`` reads.

    Args:
        what: what to call it in an error, such as ``seq_len``.

    Raises:
        InputError: it is no such number, or out of bounds.
    """
    if not isinstance(value, str):
        return whole(what, value, minimum, maximum)
    try:
        return whole(what, read_size(value, unit), minimum, maximum)
    except InputError as error:
        message = error.message if error.message.startswith(what) else f"{what}: {error.message}"
        raise InputError(message, hint=error.hint) from None


def as_sizes(name: str, value: object, maximum: int = LARGEST) -> dict[str, int]:
    """Return sizes by rank, each of 1 or more; none for None.

    Raises:
        InputError: they are no mapping, or one is no such number.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InputError(f"{name} is {quoted(value)}", hint="a mapping such as {'M': 4096} is expected")
    return {rank: as_size(size, f"the size of rank {rank}", maximum=maximum) for rank, size in value.items()}
