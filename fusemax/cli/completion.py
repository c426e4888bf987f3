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
    "search",
    "cpu-tiles",
    "gpu-tiles",
)
OBJECTIVES: Final = ("latency", "energy", "edp", "pareto")
ACCOUNTINGS: Final = ("published", "physical")
SCHEMAS: Final = ("machine", "spatial-array", "cpu", "gpu", "model", "cascade", "mapping", "sweep")
TABLES: Final = ("accelergy", "cacti", "hwcomponents", "technology")
FIGURES: Final = ("png", "pdf", "svg")
DTYPES: Final = ("bfloat16", "float16", "int16", "float8", "int8", "float32", "float64")

Completer = Callable[[str], list[str]]


def matching(incomplete: str, names: Iterable[str]) -> list[str]:
    """Return the names that begin with what was typed; those written in lower case if it is."""
    known = list(names)
    return [n for n in known if n.startswith(incomplete)] or [
        n.lower() for n in known if n.lower().startswith(incomplete)
    ]


def _place(folder: str) -> Path:
    """Return where a folder lies: the rooms stand beside one another, and ``fusemax`` is beside or around them."""
    room, _, inside = folder.partition("/")
    return (Path(__file__).parents[1] if room == "fusemax" else _ROOMS / room) / inside


def packaged_file(folder: str, name: str) -> Path | None:
    """Return the file of a name in one of the package's folders, if it has one."""
    path = _place(folder) / f"{name.lower()}.yaml"
    return path if folder and re.fullmatch(r"[\w-]+", name) and path.is_file() else None


def _packaged(folder: str) -> list[str]:
    """The names that the files of a folder give themselves, or else those of the files."""
    found = ((path.stem, _NAME.search(path.read_text(encoding="utf-8"))) for path in _place(folder).glob("*.yaml"))
    return sorted(own[1] if own and own[1].lower() == stem.lower() else stem for stem, own in found)


def _local(suffixes: Iterable[str] = _FILES) -> list[str]:
    return sorted(path.name for path in Path().iterdir() if path.suffix in suffixes and path.is_file())


def _named_files(folder: str) -> Completer:
    def complete(incomplete: str) -> list[str]:
        try:
            return matching(incomplete, [*_packaged(folder), *_local()])
        except (OSError, UnicodeError):
            return []

    return complete


cascades: Final = _named_files("einsum_cascades/library")
architectures: Final = _named_files("hw_models/machines")
models: Final = _named_files("einsum_cascades/models")
studies: Final = _named_files("fusemax/studies")


def configs(incomplete: str) -> list[str]:
    """Return the JSON files here that begin with what was typed."""
    try:
        return matching(incomplete, _local((".json",)))
    except OSError:
        return []


def figures(incomplete: str) -> list[str]:
    """Return the formats of figures that begin with what was typed; of a list with commas the last is completed."""
    done, comma, last = incomplete.rpartition(",")
    return [f"{done}{comma}{name}" for name in matching(last, FIGURES)]


def mappers(incomplete: str) -> list[str]:
    """Return the mappers that begin with what was typed."""
    return matching(incomplete, MAPPERS)


def schemas(incomplete: str) -> list[str]:
    """Return the kinds of files with a schema that begin with what was typed."""
    return matching(incomplete, SCHEMAS)


def citable(incomplete: str) -> list[str]:
    """Return what can be cited that begins with what was typed: all names that come with the package."""
    folders = ("einsum_cascades/library", "hw_models/machines", "einsum_cascades/models")
    try:
        packaged = [name for folder in folders for name in _packaged(folder)]
        return matching(incomplete, [*packaged, *TABLES, *MAPPERS, *_local()])
    except (OSError, UnicodeError):
        return []


def accountings(incomplete: str) -> list[str]:
    """Return the accountings that begin with what was typed."""
    return matching(incomplete, ACCOUNTINGS)


def objectives(incomplete: str) -> list[str]:
    """Return the objectives that begin with what was typed."""
    return matching(incomplete, OBJECTIVES)


def dtypes(incomplete: str) -> list[str]:
    """Return the types of values that begin with what was typed."""
    return matching(incomplete, DTYPES)
