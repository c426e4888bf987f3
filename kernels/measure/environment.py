"""What was measured on what: the processor's name, and the versions of the software that ran."""

from __future__ import annotations

import datetime
import platform
import re
from importlib import metadata
from pathlib import Path


def processor() -> str:
    """Return the processor's name as the operating system gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name" and value.strip():
                return value.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine() or "unknown processor"


def short_name(device: str) -> str:
    """Return a device's name as a machine's: ``Intel(R) Xeon(R) Gold 6430 CPU`` is ``intel-xeon-gold-6430``."""
    words = re.sub(r"\((?:R|TM|C)\)|@.*|\b(?:CPU|Processor)\b", " ", device, flags=re.IGNORECASE)
    return "-".join(re.findall(r"[a-z0-9]+", words.lower())) or "unknown"


def same_device(one: str, other: str) -> bool:
    """Whether the names of two devices, or a name and a text that has it, are of one device."""
    first, second = short_name(one), short_name(other)
    return bool(re.search(rf"(?:^|-){first}(?:-|$)", second) or re.search(rf"(?:^|-){second}(?:-|$)", first))


def software(*packages: str) -> str:
    """Return Python's version and those of the packages that are installed, such as ``Python 3.12.1, numba 0.62.0``."""
    found = [f"Python {platform.python_version()}"]
    for package in packages:
        try:
            found.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            continue
    return ", ".join(found)


def today() -> str:
    """Return today's date, as YYYY-MM-DD."""
    return datetime.date.today().isoformat()
