"""What commands print: tables for people, JSON for programs, both on standard output."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

_PREFIXES = ("", "k", "M", "G", "T", "P", "E", "Z", "Y", "R", "Q")
_SMALL = ("", "m", "µ", "n", "p", "f")


def write(text: str) -> None:
    """Write text as it is."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")


def show(*views: RenderableType) -> None:
    """Write tables and other rich text: coloured on a terminal, plain elsewhere."""
    console = _console()
    with console.capture() as captured:
        for view in views:
            console.print(view)
    write("\n".join(line.rstrip() for line in captured.get().splitlines()))


def table() -> Table:
    """Return an empty table as all commands print them: a line under the headings and none at the sides."""
    from rich import box
    from rich.table import Table

    return Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)


def write_json(data: Mapping[str, Any]) -> None:
    """Write one JSON object; floats read back exactly, those that are no number become null."""
    write(json.dumps(_plain(data), indent=2, ensure_ascii=False, allow_nan=False))


def quantity(value: float, unit: str) -> str:
    """Return a figure with four digits and an SI prefix: ``13.39 ms``."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g} {unit}"
    scaled, prefix = float(value), 0
    while abs(float(f"{scaled:.4g}")) >= 1000 and prefix < len(_PREFIXES) - 1:
        scaled, prefix = scaled / 1000, prefix + 1
    while prefix <= 0 and abs(scaled) < 1 and prefix > 1 - len(_SMALL):
        scaled, prefix = scaled * 1000, prefix - 1
    name = _PREFIXES[prefix] if prefix >= 0 else _SMALL[-prefix]
    return f"{scaled:.4g} {name}{unit}"


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
