"""What the extras bring, and what to say where one is needed and is not installed."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from einsum_cascades.errors import InputError

PACKAGES: Final = {
    "cluster": ("distributed",),
    "components": ("hwcomponents_cacti",),
    "gpu": ("torch", "triton"),
    "kernels": ("llvmlite", "numba"),
    "report": ("moocore", "plotly", "pyarrow"),
    "rtl": ("amaranth",),
    "sweep": ("pyarrow", "scipy"),
}
"""Each extra's packages, as they are imported."""
_INSTALLED: Final = __name__.startswith("fusemax.")
"""Whether this is a wheel's copy, which stands inside ``fusemax``: otherwise it is a clone."""


def lacking(extra: str) -> tuple[str, ...]:
    """Return the packages of an extra that cannot be imported."""
    return tuple(package for package in PACKAGES[extra] if not _is_there(package))


def require(extra: str, what: str) -> None:
    """Check that an extra is installed.

    Args:
        extra: its name.
        what: what needs it, as a sentence begins: ``a sweep``.

    Raises:
        InputError: it is not, or not whole.
    """
    if missing := lacking(extra):
        packages = " and ".join(filter(None, (", ".join(missing[:-1]), missing[-1])))
        raise InputError(
            f"{what} needs {packages}, which the extra '{extra}' brings", hint=f"install it: {installation(extra)}"
        )


def installation(extra: str) -> str:
    """Return the command that installs an extra: from the index, or from the clone that is being run."""
    if _INSTALLED:
        return f"pip install 'fusemax[{extra}]'"
    root = Path(__file__).parents[1]
    return f"{sys.executable} -m pip install -e '{root}[{extra}]'"


def _is_there(package: str) -> bool:
    if package in sys.modules:
        return sys.modules[package] is not None
    return find_spec(package) is not None
