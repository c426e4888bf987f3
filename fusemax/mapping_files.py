"""Mappings in files: a loop tree with what it maps, onto what, at which sizes.

    cascade: attention-1-pass        # a library name, or a file beside this one
    machine: fusemax-cloud
    accounting: published
    set_arch: [global_buffer.bytes=8MiB]
    sizes: {E: 64, F: 64, M: 4096, P: 4096, instances: 12}
    tree: |
      split M0 256
      for instances step 1
        ...

All but the tree may be left to the options of a command. A file that holds the text of a tree alone is read too.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Final

from einsum_cascades.errors import InputError
from einsum_cascades.files import read_text
from einsum_cascades.loops.text import parse_tree, to_text
from einsum_cascades.loops.tree import INSTANCES, LoopTree
from einsum_cascades.numbers import LARGEST
from einsum_cascades.workload import Workload
from einsum_cascades.yaml_source import Node, parse_yaml

KEYS: Final = ("cascade", "machine", "accounting", "set_arch", "sizes", "tree")
_BARE: Final = re.compile(r"(?:[ \t]*(?:#[^\n]*)?\n)*[ \t]*(?:split|for|keep|seq|par|pipe|late|last|compute)\b(?! *:)")
_PATH: Final = re.compile(r"[/\\]|\.(?:ya?ml|json)$")


@dataclass(frozen=True)
class MappingFile:
    """What a mapping's file holds; what it leaves out is empty.

    Attributes:
        name: the file.
        cascade, machine: a name, or a path.
        sizes: by rank, ``instances`` (batch times heads) among them.
    """

    name: str
    tree: LoopTree
    cascade: str = ""
    machine: str = ""
    accounting: str = ""
    set_arch: tuple[str, ...] = ()
    sizes: Mapping[str, int] | None = None

    @property
    def workload(self) -> Workload | None:
        """The workload that its sizes make, if it states some."""
        if self.sizes is None:
            return None
        ranks = {rank: size for rank, size in self.sizes.items() if rank != INSTANCES}
        return Workload(tuple(ranks.items()), 1, self.sizes.get(INSTANCES, 1))


def read_mapping(path: str | PathLike[str]) -> MappingFile:
    """Return what a mapping's file holds.

    Raises:
        InputError: it cannot be read, or is no mapping; the error points at the cause.
    """
    return parse_mapping(read_text(str(path)), str(path))


def parse_mapping(text: str, name: str = "mapping") -> MappingFile:
    """Return what the text of a mapping's file holds; files that it names lie beside it.

    Raises:
        InputError: it is no mapping; the error points at the cause.
    """
    if _BARE.match(text):
        return MappingFile(name, parse_tree(text, name))
    parts = parse_yaml(text, name).mapping(allowed=KEYS, required=("tree",))
    folder = Path(name).parent
    found: dict[str, Any] = {}
    for key in ("cascade", "machine"):
        if key in parts:
            stated = parts[key].string()
            found[key] = str(folder / stated) if _PATH.search(stated) else stated
    if "accounting" in parts:
        found["accounting"] = parts["accounting"].string()
    if "set_arch" in parts:
        found["set_arch"] = tuple(item.string() for item in parts["set_arch"].sequence())
    if "sizes" in parts:
        sizes = parts["sizes"].mapping()
        found["sizes"] = {rank: size.integer(minimum=1, maximum=LARGEST**2) for rank, size in sizes.items()}
    return MappingFile(name, _tree(parts["tree"], name), **found)


def _tree(node: Node, name: str) -> LoopTree:
    """Parse a tree where it stands in its file, so that errors point there."""
    text = node.string()
    first = len(text) - len(text.lstrip())
    line_start = text.rfind("\n", 0, first) + 1
    place = node.place(first)
    line, column = place.line - text.count("\n", 0, first), place.column - (first - line_start)
    return parse_tree(text, name, max(1, line), max(1, column))


def mapping_text(
    tree: LoopTree,
    *,
    cascade: str,
    machine: str,
    accounting: str = "",
    set_arch: tuple[str, ...] = (),
    sizes: Mapping[str, int] | None = None,
) -> str:
    """Return the text of a mapping's file, which reads back to the same."""
    lines = [f"cascade: {_quoted(cascade)}", f"machine: {_quoted(machine)}"]
    lines += [f"accounting: {_quoted(accounting)}"] if accounting else []
    lines += [f"set_arch: [{', '.join(map(_quoted, set_arch))}]"] if set_arch else []
    if sizes:
        lines.append("sizes: {" + ", ".join(f"{rank}: {size}" for rank, size in sizes.items()) + "}")
    lines.append("tree: |")
    lines += [f"  {line}" for line in to_text(tree).splitlines()]
    return "\n".join(lines) + "\n"


def beside(stated: str, file: Path | None) -> str:
    """Return a name as it is, and a path as seen from the folder of the file that is to name it."""
    if not (_PATH.search(stated) or os.path.exists(stated)):
        return stated
    try:
        seen = os.path.relpath(stated, file.parent if file else os.curdir)
    except ValueError:  # another drive
        return os.path.abspath(stated)
    return seen if _PATH.search(seen) else os.path.join(os.curdir, seen)


def stated(file: MappingFile, what: str, option: str) -> str:
    """Return the name of the cascade or the machine that a mapping's file says.

    Raises:
        InputError: it says none, or there is no file.
    """
    if not (value := str(getattr(file, what))):
        of = f"'{file.name}' says no {what}" if file.name else f"the {what} is missing"
        raise InputError(of, hint=f"give {option} NAME" + f", or add '{what}: NAME' to the file" * bool(file.name))
    return value


def _quoted(text: str) -> str:
    """A text as YAML reads it: plain where it may be, else in quotes."""
    import json

    return text if re.fullmatch(r"[A-Za-z./][\w./-]*(?:=[\w.+-]+)?", text) else json.dumps(text, ensure_ascii=False)
