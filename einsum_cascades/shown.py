"""Values that say in a line what they are, and in a notebook in a small table."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from html import escape
from typing import TypeAlias

Facts: TypeAlias = Sequence[tuple[str, str]]
_IN_A_LINE = 4


class Shown:
    """A value whose ``repr`` is a line, whatever it holds; dataclasses of it are declared with ``repr=False``."""

    @abstractmethod
    def shown(self) -> tuple[str, Facts]:
        """Return what the value is in a few words, and facts with their names, those that matter most first."""

    def __repr__(self) -> str:
        title, facts = self.shown()
        line = ", ".join(f"{name} {fact}" for name, fact in facts[:_IN_A_LINE])
        return f"<{type(self).__name__} {title}{': ' * bool(line)}{line}>"

    def _repr_html_(self) -> str:
        title, facts = self.shown()
        rows = "".join(
            f'<tr><th style="text-align: left">{escape(name)}</th><td style="text-align: left">{escape(fact)}</td></tr>'
            for name, fact in facts
        )
        return f"<table><caption>{escape(title)}</caption>{rows}</table>"
