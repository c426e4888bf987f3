"""What commands print: tables for people, JSON for programs, both on standard output."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fusemax.units import byte_size, quantity

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = [
    "byte_size",
    "percent",
    "progress",
    "quantity",
    "say",
    "shares",
    "show",
    "status_line",
    "table",
    "width",
    "write",
    "write_json",
]

_UNBOUNDED = 100_000


def write(text: str) -> None:
    """Write text as it is."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")


def say(text: str) -> None:
    """Write sentences: wrapped where a width is known, that is on a terminal or where ``COLUMNS`` is set."""
    from fusemax.cli.layout import GLUE, glued, wrapped

    if sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdigit():
        text = wrapped(glued(text), width(), hanging=2).plain
    write(text.replace(GLUE, " "))


def show(*views: Table) -> None:
    """Write tables as wide as the screen, 80 columns in a pipe: coloured on a terminal, and never cut."""
    from fusemax.cli.layout import GLUE, fitted

    console = _console()
    columns = console.width
    console.width = _UNBOUNDED
    with console.capture() as captured:
        for view in views:
            for part in fitted(view, columns):
                console.print(part)
    write("\n".join(line.rstrip() for line in captured.get().replace(GLUE, " ").splitlines()))


def table(title: str = "", *, header: bool = True) -> Table:
    """Return an empty table, to be filled and given to ``show``; columns justified right hold figures."""
    from rich import box
    from rich.table import Table

    return Table(
        title=title or None,
        title_justify="left",
        title_style="bold",
        caption_justify="left",
        caption_style="italic",
        box=box.SIMPLE_HEAD if header else None,
        show_header=header,
        padding=(0, 1, 0, 0) if header else (0, 1),
        pad_edge=not header,
    )


def width() -> int:
    """Return how many columns the screen has: what ``COLUMNS`` says, or the terminal, or 80 in a pipe."""
    return _console().width


def write_json(data: Mapping[str, Any]) -> None:
    """Write one JSON object; floats read back exactly, those that are no number become null."""
    write(json.dumps(_plain(data), indent=2, ensure_ascii=False, allow_nan=False))


def percent(fraction: float) -> str:
    """Return a fraction as a percentage with one digit: ``99.3 %``."""
    return f"{100 * fraction:.1f} %"


@contextmanager
def progress(total: int) -> Iterator[Callable[[str], None]]:
    """Show a progress bar on standard error, if that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda label: bar.update(task, advance=1, description=label)


@contextmanager
def shares() -> Iterator[Callable[[str, float], None]]:
    """Show what runs and what part of it is done, on standard error, if that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda what, share: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        under_way = {"": bar.add_task("starting", total=None)}

        def tell(what: str, share: float) -> None:
            if what not in under_way:
                for done in under_way.values():
                    bar.remove_task(done)
                under_way.clear()
                under_way[what] = bar.add_task(what, total=1.0)
            bar.update(under_way[what], completed=share)

        yield tell


@contextmanager
def status_line() -> Iterator[Callable[[str], None] | None]:
    """Show one line that changes, on standard error; None if that is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.status import Status
    from rich.text import Text

    with Status("", console=Console(stderr=True)) as line:
        yield lambda text: line.update(Text(text))


def _console() -> Console:
    from rich.console import Console

    return Console(file=sys.stdout, highlight=False)


def _plain(value: Any) -> Any:
    """Return plain data: missing values as null, NumPy's numbers as Python's."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    if hasattr(value, "item"):
        return _plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return None if value != value else str(value)
