"""Sizes of this machine's data caches, as the operating system tells them.

Linux: ``/sys/devices/system/cpu/cpu0/cache``; macOS: ``sysctl hw``; elsewhere ``sysconf`` where it knows them. A level
that nobody tells gets the smallest size common in machines of the last ten years, so that a tile chosen from it
still fits.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

_SYSFS = Path("/sys/devices/system/cpu/cpu0/cache")
_SYSCTL = {1: ("hw.perflevel0.l1dcachesize", "hw.l1dcachesize"), 2: ("hw.perflevel0.l2cachesize", "hw.l2cachesize")}
_SYSCONF = {1: "SC_LEVEL1_DCACHE_SIZE", 2: "SC_LEVEL2_CACHE_SIZE", 3: "SC_LEVEL3_CACHE_SIZE"}


@dataclass(frozen=True)
class Caches:
    """Sizes of the data caches that one core sees.

    Attributes:
        l1_bytes: first level, private.
        l2_bytes: second level.
        l3_bytes: last level, shared by cores; 0 where there is none.
    """

    l1_bytes: int = 32 * 1024
    l2_bytes: int = 256 * 1024
    l3_bytes: int = 0


@lru_cache(maxsize=1)
def machine_caches() -> Caches:
    """Return the caches of the machine that this process runs on; read once."""
    return caches_from(_from_sysfs(_SYSFS) or _from_sysctl() or _from_sysconf())


def caches_from(levels: dict[int, int]) -> Caches:
    """Return the caches with the sizes given per level in bytes, and the default where one is absent or zero."""
    known = {f"l{level}_bytes": size for level, size in levels.items() if size > 0 and level in (1, 2, 3)}
    return Caches(**known)


def _from_sysfs(folder: Path) -> dict[int, int]:
    """Data and unified caches of Linux's cache folder of a CPU."""
    levels = {}
    for index in sorted(folder.glob("index*")):
        try:
            kind = (index / "type").read_text().strip()
            level = int((index / "level").read_text())
            size = _bytes((index / "size").read_text().strip())
        except (OSError, ValueError):
            continue
        if kind in ("Data", "Unified"):
            levels[level] = size
    return levels


def _bytes(text: str) -> int:
    """A size such as ``48K`` or ``32M`` in bytes."""
    units = {"K": 1024, "M": 1024**2, "G": 1024**3}
    return int(text[:-1]) * units[text[-1]] if text[-1:] in units else int(text)


def _from_sysctl() -> dict[int, int]:
    if sys.platform != "darwin":
        return {}
    levels = {}
    for level, names in _SYSCTL.items():
        for name in names:
            found = subprocess.run(["sysctl", "-n", name], capture_output=True, text=True, check=False).stdout.strip()
            if found.isdigit():
                levels.setdefault(level, int(found))
    return levels


def _from_sysconf() -> dict[int, int]:
    names = getattr(os, "sysconf_names", {})
    return {level: os.sysconf(name) for level, name in _SYSCONF.items() if name in names}
