"""Makes the wheel: it holds one package, ``fusemax``, and the other rooms of this repository inside it.

In the tree every room is a package at top level (``kernels``, ``mappers``, ...), and imports name it so. Those names
are too common to be put into everybody's site-packages, so the wheel gets copies in which ``kernels.x`` reads
``fusemax.kernels.x``. An editable install is the tree as it is. CONTRIBUTING.md says why it is done this way.
"""

from __future__ import annotations

import ast
import io
import re
import shutil
import tempfile
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE: Final = "fusemax"
ROOMS: Final = ("einsum_cascades", "hw_models", "kernels", "mappers")
"""The rooms that the package takes in."""
_MENTION: Final = re.compile(
    rf"(?<![\w./-])(?P<room>{'|'.join(ROOMS)})\.(?P<name>\w+)|\bfrom (?P<source>{'|'.join(ROOMS)}) import\b"
)
_FIELD: Final = re.compile(r"\{\{|\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}")
"""What is no text in an f-string: its expressions, with the formats in them."""

Edit = tuple[int, int, int, str]
"""Line from 0, first column, column after the last, and the text that stands there instead."""


class Moved:
    """Rewrites Python text for a tree in which the rooms stand inside the package.

    Args:
        root: the folder that holds the rooms: a dotted name in a string or a comment is rewritten if it is that of a
            module there or of a public name of a room.
    """

    def __init__(self, root: Path) -> None:
        self._known = frozenset(name for room in ROOMS for name in _names(root / room))

    def __call__(self, source: str) -> str:
        """Return the text with all that names a room rewritten; no line moves.

        Rewritten are imports, and names of modules in comments and in strings.
        """
        lines = source.splitlines(keepends=True)
        edits = sorted([*_imports(source, lines), *self._mentions(source, lines)], reverse=True)
        for line, first, after, text in edits:
            lines[line] = lines[line][:first] + text + lines[line][after:]
        return "".join(lines)

    def _mentions(self, source: str, lines: list[str]) -> Iterator[Edit]:
        for (line, column), text in _texts(source, lines):
            for found in _MENTION.finditer(text):
                if found["source"] or f"{found['room']}.{found['name']}" in self._known:
                    start = found.start("source" if found["source"] else "room")
                    before = text[:start]
                    place = start - before.rfind("\n") - 1 + (0 if "\n" in before else column)
                    yield line + before.count("\n"), place, place, f"{PACKAGE}."


def _texts(source: str, lines: list[str]) -> Iterator[tuple[tuple[int, int], str]]:
    """Yield comments and strings, each with its line from 0 and its column; what is no text in them is blanked."""
    depth, begin = 0, (0, 0)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        kind = tokenize.tok_name[token.type]
        if kind.endswith("STRING_START"):  # f-strings are more than one token from Python 3.12 on
            begin = begin if depth else token.start
            depth += 1
        depth -= kind.endswith("STRING_END")
        if depth or kind not in ("COMMENT", "STRING", "FSTRING_END", "TSTRING_END"):
            continue
        start = begin if kind.endswith("_END") else token.start
        text = _between(lines, start, token.end)
        if "f" in text[: len(text) - len(text.lstrip("bBfFrRtTuU"))].lower():
            text = _FIELD.sub(lambda field: re.sub(".", " ", field[0]), text)
        yield (start[0] - 1, start[1]), text


def _between(lines: list[str], start: tuple[int, int], end: tuple[int, int]) -> str:
    """Return the source between two places of tokens, whose lines count from 1."""
    part = lines[start[0] - 1 : end[0]]
    part[-1] = part[-1][: end[1]]
    part[0] = part[0][start[1] :]
    return "".join(part)


def _imports(source: str, lines: list[str]) -> Iterator[Edit]:
    """Yield what is put in the place of imports of rooms."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        line = node.lineno - 1
        start = len(lines[line].encode()[: node.col_offset].decode())
        if isinstance(node, ast.ImportFrom):
            if not node.level and _room(str(node.module)):
                yield line, start, start + len("from "), f"from {PACKAGE}."
        elif any(_room(alias.name) for alias in node.names):
            if node.end_lineno != node.lineno:
                raise ValueError(f"line {node.lineno}: an import of a room must stand on one line")
            end = len(lines[line].encode()[: node.end_col_offset].decode())
            yield line, start, end, "; ".join(part for alias in node.names for part in _imported(alias))


def _imported(alias: ast.alias) -> Iterator[str]:
    """Yield statements that do what one name of ``import`` does."""
    room = _room(alias.name)
    inside = f"{PACKAGE}.{alias.name}" if room else alias.name
    if alias.asname or not room:
        yield f"import {inside}" + (f" as {alias.asname}" if alias.asname else "")
        return
    if room != alias.name:
        yield f"import {inside}"
    yield f"from {PACKAGE} import {room}"


def _room(module: str) -> str:
    top = module.partition(".")[0]
    return top if top in ROOMS else ""


def _names(room: Path) -> Iterator[str]:
    """Yield the dotted names of what a room holds: its modules, and the names that it offers itself."""
    for path in room.iterdir():
        if path.suffix == ".py" or path.is_dir():
            yield f"{room.name}.{path.stem}"
    for node in ast.parse((room / "__init__.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            yield from (f"{room.name}.{name}" for name in ast.literal_eval(node.value))


def write_package(root: Path, target: Path) -> None:
    """Write the package, with the rooms inside it, as the wheel holds it.

    Args:
        root: the repository.
        target: the folder to be made, such as ``.../fusemax``.

    Raises:
        ValueError: the package has a module of a room's name.
    """
    moved = Moved(root)
    for room in (PACKAGE, *ROOMS):
        inside = target if room == PACKAGE else target / room
        if inside.exists():
            raise ValueError(f"{PACKAGE}/{room} would hide the room {room}")
        shutil.copytree(root / room, inside, ignore=shutil.ignore_patterns("__pycache__", "*.py[co]", ".*"))
    for path in target.rglob("*.py"):
        path.write_text(moved(path.read_text(encoding="utf-8")), encoding="utf-8")


class CustomBuildHook(BuildHookInterface[Any]):
    """What hatchling calls when a wheel is made."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Have the wheel filled from rewritten copies; an editable one is left alone."""
        if version == "editable":
            return
        self._folder = tempfile.TemporaryDirectory()
        package = Path(self._folder.name) / PACKAGE
        write_package(Path(self.root), package)
        files = (path for path in package.rglob("*") if path.is_file())
        build_data["force_include"] |= {
            str(path): path.relative_to(package.parent).as_posix() for path in sorted(files)
        }

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the copies."""
        if version != "editable":
            self._folder.cleanup()
