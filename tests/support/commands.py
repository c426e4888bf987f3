"""The commands of ``fusemax`` as they are registered, and a look at a command line without running it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

import typer.main

from fusemax.cli import app


def _walked(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    yield " ".join(words), command
    for name, inner in getattr(command, "commands", {}).items():
        yield from _walked(inner, (*words, name))


COMMANDS = dict(_walked(typer.main.get_command(app)))
"""Every command and group by the words that call it; the whole by none."""


def parse(line: str) -> str:
    """Parse ``fusemax ...`` and return the command's words; what is wrong with it is raised as on the command line."""
    program, *arguments = shlex.split(line, comments=True)
    assert program == "fusemax", line
    words = max((w for w in COMMANDS if arguments[: len(w.split())] == w.split()), key=len)
    COMMANDS[words].make_context(words, arguments[len(words.split()) :])
    return words
