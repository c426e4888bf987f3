"""How every command ends: unusable input is one message and status 2, a signal says what is kept; no tracebacks."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import typer
from typer.core import TyperGroup

from einsum_cascades.errors import InputError, JoinedInputError
from fusemax.cli.signals import catch_signals, farewell

UNUSABLE = 2
BROKEN_PIPE = 141  # what a shell reports for a program that writes to a reader who has left


class Commands(TyperGroup):
    """The group of all commands."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command and turn what stops it into a message and an exit status."""
        as_json = "--json" in (*ctx._protected_args, *ctx.args)
        with _output():
            return self._run(ctx, as_json)

    def _run(self, ctx: Any, as_json: bool) -> Any:
        try:
            return super().invoke(ctx)
        except InputError as error:
            if as_json:
                typer.echo(json.dumps(_as_dict(error), ensure_ascii=False), err=True)
            else:
                _complain(str(error))
            raise typer.Exit(UNUSABLE) from None
        except (RecursionError, MemoryError):
            _complain("the input is too large or too deeply nested to be worked on")
            raise typer.Exit(UNUSABLE) from None
        except KeyboardInterrupt as error:
            raise _stopped(error) from None


def run_commands(commands: typer.Typer) -> None:
    """Run the command line of this process, and end it."""
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    if sys.stdout is None:
        _complain("standard output is closed")
        sys.exit(UNUSABLE)
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="backslashreplace")  # text that a terminal cannot show is escaped
    catch_signals()
    try:
        with _output():
            commands(prog_name="fusemax")
    except typer.Exit as end:
        sys.exit(end.exit_code)
    except KeyboardInterrupt as error:  # before a command is found
        sys.exit(_stopped(error).exit_code)


@contextmanager
def _output() -> Iterator[None]:
    """Flush what was printed; a reader who has left, or a full disk, is one status or message."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        _drop_output()
        raise typer.Exit(BROKEN_PIPE) from None
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # so Rich and Typer end where they print help
            raise typer.Exit(BROKEN_PIPE) from None
        raise
    except OSError as error:
        _drop_output()
        _complain(": ".join(str(part) for part in (error.strerror or error, error.filename) if part))
        raise typer.Exit(UNUSABLE) from None


def _stopped(error: KeyboardInterrupt) -> typer.Exit:
    said, status = farewell(error)
    typer.echo(said, err=True)
    return typer.Exit(status)


def _as_dict(error: InputError) -> dict[str, Any]:
    """Return an error for programs; one of several faults has them all under ``faults``."""
    where = str(error.location) if error.location else None
    found = {"error": error.message, "where": where, "hint": error.hint or None}
    faults = {"faults": [_as_dict(fault) for fault in error.faults]} if isinstance(error, JoinedInputError) else {}
    return found | faults


def _complain(message: str) -> None:
    shown = "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in message)
    typer.echo(f"error: {shown}", err=True)


def _drop_output() -> None:
    """Send what is still buffered nowhere, so that closing the stream raises no second error."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
