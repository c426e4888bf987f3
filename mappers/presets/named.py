"""Mappers for spatial arrays by name: presets, the search, and those that installed packages offer.

A preset is a function from a ``Problem`` to a ``LoopTree``. A package of one's own offers some by entry points of the
group ``fusemax.mappers``; in Python any function will do.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.metadata import entry_points
from typing import Final, TypeAlias

from einsum_cascades.errors import InputError, unknown
from mappers.choose import Trees
from mappers.presets.flat import flat, flat_searched
from mappers.presets.fusemax import fusemax_interleaved, fusemax_serial
from mappers.presets.problem import Problem
from mappers.presets.unfused import unfused
from mappers.search.preset import search

Preset: TypeAlias = Callable[[Problem], Trees]
GROUP: Final = "fusemax.mappers"
PRESETS: Final[dict[str, Preset]] = {
    "unfused": unfused,
    "flat": flat,
    "flat-searched": flat_searched,
    "fusemax-serial": fusemax_serial,
    "fusemax-interleaved": fusemax_interleaved,
}
SEARCHES: Final[dict[str, Preset]] = {"search": search}
"""Those that search many mappings, presets' among them; sweeps ask them point by point."""
NAMED: Final[dict[str, Preset]] = {**PRESETS, **SEARCHES}
"""All that come with the package."""

OVER_ARRAYS: Final = frozenset({"fusemax-serial", "fusemax-interleaved"})
"""Those that take problems over arrays, as sweeps have them, and return trees for all points."""
IN_PARTS: Final = {"unfused": "unfused", "flat": "FLAT", "flat-searched": "FLAT"}
"""Those that return trees for some of the points each, and what errors call their mappings."""


@cache
def offered() -> dict[str, str]:
    """Return the presets that installed packages offer: by name, where each comes from."""
    return {entry.name: entry.value for entry in entry_points(group=GROUP) if entry.name not in NAMED}


def preset_names() -> tuple[str, ...]:
    """Return the names of all mappers for spatial arrays."""
    return (*NAMED, *offered())


def preset_named(name: str) -> Preset:
    """Return a mapper by name.

    Raises:
        InputError: there is none of that name, or the package that offers it cannot be loaded.
    """
    if name in NAMED:
        return NAMED[name]
    if name not in offered():
        raise unknown("mapper", name, preset_names())
    for entry in entry_points(group=GROUP, name=name):
        try:
            found: Preset = entry.load()
        except Exception as error:
            raise InputError(f"the mapper '{name}' ({entry.value}) cannot be loaded: {error}") from error
        return found
    raise unknown("mapper", name, preset_names())
