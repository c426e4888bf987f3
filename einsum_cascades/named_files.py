"""Files that a user names: one of a folder of the package, by its stem, or any file by its path."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Final

from einsum_cascades.errors import unknown
from einsum_cascades.files import read_text
from einsum_cascades.yaml_source import Node, parse_yaml

KEYS: Final = {
    "cascade": ("declaration", "expressions", "einsum"),
    "architecture": ("nodes", "frequency_hz", "kind"),
    "model": ("heads", "head_dim", "model_dim"),
}
"""Keys by which files of each kind are told apart."""

_SUFFIXES = (".yaml", ".yml", ".json")


def names(folder: Path) -> tuple[str, ...]:
    """Return the names that a folder offers, sorted."""
    return tuple(sorted(path.stem for path in folder.glob("*.yaml")))


def find(kind: str, name_or_path: str, folder: Path) -> Path:
    """Return the file of a name in ``folder`` (upper and lower case are the same), or the path itself.

    Args:
        kind: what is looked for, for the error, such as ``architecture``.

    Raises:
        InputError: it is neither a known name nor looks like a path.
    """
    known = {name.casefold(): name for name in names(folder)}
    if (name := known.get(name_or_path.casefold())) is not None:
        return folder / f"{name}.yaml"
    looks_like_path = name_or_path.endswith(_SUFFIXES) or os.sep in name_or_path
    if looks_like_path or os.path.exists(name_or_path):
        return Path(name_or_path)
    raise unknown(kind, name_or_path, known.values())


def load(kind: str, path: Path, folder: Path) -> Node:
    """Return the YAML tree of a file; those of ``folder``, which belong to the package, are read once.

    Raises:
        InputError: the file cannot be read, is no YAML, or describes a thing of another kind.
    """
    if path.parent == folder:
        return _packaged(path)
    node = parse_yaml(read_text(path), str(path))
    check_kind(kind, node)
    return node


def check_kind(kind: str, node: Node) -> None:
    """Refuse a text that has none of the keys of its kind, but one of another kind's.

    Raises:
        InputError: it is such a text.
    """
    if not isinstance(node.value, dict) or any(key in node.value for key in KEYS[kind]):
        return
    for other, keys in KEYS.items():
        if found := next((key for key in keys if key in node.value), None):
            raise node.keys[found].error(
                f"expected {_article(kind)}, but this describes {_article(other)}",
                f"{_article(kind)} has the keys {', '.join(KEYS[kind])}",
            )


def _article(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


@lru_cache(maxsize=256)
def _packaged(path: Path) -> Node:
    return parse_yaml(read_text(path), path.name)
