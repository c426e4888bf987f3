"""A frame: one shape of trees, with its choices one after another.

A *box* of a frame fixes the first choices; the values of the next one cut it into smaller boxes, and a box that fixes
all is one tree. What the values are, what no tree of a box is better than, and the tree are functions of the segment
and the box alone, so that anyone can go through a space again.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from einsum_cascades.loops.tree import LoopTree
from mappers.search.figures import Figures
from mappers.search.segment import Segment

Value = str | int
"""What a choice is made of: a name or a number."""


class Box(NamedTuple):
    """Trees of one frame that agree in the first choices.

    Attributes:
        frame: its name.
        choices: the values, in the order in which they are chosen.
    """

    frame: str
    choices: tuple[Value, ...] = ()

    def with_value(self, value: Value) -> Box:
        """Return the box in which one more choice is made."""
        return Box(self.frame, (*self.choices, value))


class Frame(Protocol):
    """What a file of this folder offers."""

    name: str

    def values(self, segment: Segment, box: Box) -> tuple[Value, ...] | None:
        """Return what the next choice of a box may be, the likely best first; None if there is none left.

        Raises:
            InputError: the frame has no tree for the segment.
        """
        ...

    def floor(self, segment: Segment, box: Box) -> Figures:
        """Return what no tree of a box is better than."""
        ...

    def tree(self, segment: Segment, box: Box) -> LoopTree:
        """Return the tree of a box that makes all choices.

        Raises:
            InputError: there is none.
        """
        ...
