"""How every command ends: unusable input is one message and status 2, never a traceback."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Any

import typer
from typer.core import TyperGroup

from einsum_cascades.errors import InputError

UNUSABLE = 2
INTERRUPTED = 130
BROKEN_PIPE = 141  # what a shell reports for a program that writes to a reader who has left


class Commands(TyperGroup):
    """The group of all commands."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command and turn what stops it into a message and an exit status."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except InputError as error:
            _complain(str(error))
            raise typer.Exit(UNUSABLE) from None
        except (RecursionError, MemoryError):
            _complain("the input is too large or too deeply nested to be worked on")
            raise typer.Exit(UNUSABLE) from None
        except KeyboardInterrupt:
            _complain("interrupted")
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            _drop_output()
            raise typer.Exit(BROKEN_PIPE) from None
        except OSError as error:
            _drop_output()
            _complain(": ".join(str(part) for part in (error.strerror or error, error.filename) if part))
            raise typer.Exit(UNUSABLE) from None
        return result


def _complain(message: str) -> None:
    shown = "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in message)
    typer.echo(f"error: {shown}", err=True)


def _drop_output() -> None:
    """Send what is still buffered nowhere, so that closing the stream raises no second error."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
