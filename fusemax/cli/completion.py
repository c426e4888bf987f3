"""What the Tab key offers: names that come with the package, and files of the folder where it is pressed.

A shell asks by running the command, so nothing here imports what takes long. Where no name fits what was
typed, nothing is offered, and the shell completes paths.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import einsum_cascades

_ROOMS: Final = Path(einsum_cascades.__file__).parents[1]
_FILES: Final = (".yaml", ".yml", ".json")
_NAME: Final = re.compile(r"^name: *(\S+) *$", re.MULTILINE)

MAPPERS: Final = (
    "unfused",
    "flat",
    "flat-searched",
    "fusemax-serial",
    "fusemax-interleaved",
    "cpu-tiles",
    "gpu-tiles",
)
ACCOUNTINGS: Final = ("published", "physical")
DTYPES: Final = ("bfloat16", "float16", "int16", "float8", "int8", "float32", "float64")

Completer = Callable[[str], list[str]]


def _matching(incomplete: str, names: Iterable[str]) -> list[str]:
    """The names that begin with what was typed; those written in lower case if it is."""
    known = list(names)
    return [n for n in known if n.startswith(incomplete)] or [
        n.lower() for n in known if n.lower().startswith(incomplete)
    ]


def _packaged(folder: Path) -> list[str]:
    """The names that the files of a folder give themselves, or else those of the files."""
    found = ((path.stem, _NAME.search(path.read_text(encoding="utf-8"))) for path in folder.glob("*.yaml"))
    return sorted(own[1] if own and own[1].lower() == stem.lower() else stem for stem, own in found)


def _local() -> list[str]:
    return sorted(path.name for path in Path().iterdir() if path.suffix in _FILES and path.is_file())


def _named_files(folder: Path) -> Completer:
    def complete(incomplete: str) -> list[str]:
        try:
            return _matching(incomplete, [*_packaged(folder), *_local()])
        except (OSError, UnicodeError):
            return []

    return complete


cascades: Final = _named_files(_ROOMS / "einsum_cascades" / "library")
architectures: Final = _named_files(_ROOMS / "hw_models" / "architectures")
models: Final = _named_files(_ROOMS / "einsum_cascades" / "models")
studies: Final = _named_files(Path(__file__).parents[1] / "studies")


def mappers(incomplete: str) -> list[str]:
    """Return the mappers that begin with what was typed."""
    return _matching(incomplete, MAPPERS)


def accountings(incomplete: str) -> list[str]:
    """Return the accountings that begin with what was typed."""
    return _matching(incomplete, ACCOUNTINGS)


def dtypes(incomplete: str) -> list[str]:
    """Return the types of values that begin with what was typed."""
    return _matching(incomplete, DTYPES)
