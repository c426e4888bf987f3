"""Studies: sweeps that come with the package, one YAML file each, and what each of them concludes."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from einsum_cascades import named_files

_FOLDER: Final = Path(__file__).parent


def study_names() -> tuple[str, ...]:
    """Return the names of the studies that come with the package."""
    return named_files.names(_FOLDER)


def study_path(name_or_path: str | Path) -> Path:
    """Return the file of a study by name, or a path as it is.

    Raises:
        InputError: no such study or file.
    """
    return named_files.find("study", str(name_or_path), _FOLDER)
