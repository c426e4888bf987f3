"""Einsums one after another on tiles of ranks that all of them have: what one hands to the next stays in the buffer.

    for columns: keep inputs, results and what passes between Einsums in the buffer
      seq: of each Einsum, for a rank that it streams over: keep what comes or goes by then { steps { registers { array

Choices, one after another:

    buffer    how many memories further out than the nearest one it is
    columns   up to two ranks that all Einsums have and none reduces, the outermost first, whose smallest tiles have
              room where all is streamed on the fastest arrays
    array     of each Einsum
    stream    of each Einsum, a rank, or none: what it reads from off chip, or leaves there, passes the buffer in steps
              of that rank, again for each tile; without, it stays for as long as the loops around do not change it
    trips     of the first of two columns, how many tiles there are; for n the smallest tile that makes n

The last column has as few tiles as fit: fewer fetch nothing more often. Tiles are whole steps of the array, so that no
number of them wastes steps. An Einsum lies over its array in the way of fewest steps, and adds up in registers.
"""

from __future__ import annotations

from einsum_cascades.errors import InputError
from einsum_cascades.loops.tree import LoopTree
from mappers.search.figures import Figures
from mappers.search.floors import Loads
from mappers.search.frames.block_choices import Block, block_of, columns_of
from mappers.search.frames.block_tree import BlockTree
from mappers.search.frames.frame import Box, Value
from mappers.search.segment import Segment


class BlockFrame:
    """Trees of Einsums one after another on common tiles."""

    name = "block"

    def values(self, segment: Segment, box: Box) -> tuple[Value, ...] | None:
        """Return what the next choice of a box may be."""
        block = block_of(segment)
        place, count = len(box.choices), len(block.steps)
        if place == 0:
            return tuple(range(segment.problem.parts.buffers))
        if place == 1:
            return tuple(columns for columns in block.columns if _roomy(block, box.with_value(columns)))
        if place < 2 + count:
            return block.arrays(block.steps[place - 2])
        if place < 2 + 2 * count:
            return block.streams(block.steps[place - 2 - count], columns_of(box))
        columns = columns_of(box)
        if len(columns) == 2 and place == 2 + 2 * count:
            return BlockTree(block, box).trips()
        return None

    def floor(self, segment: Segment, box: Box) -> Figures:
        """Return what no tree of a box is better than: its Einsums' cycles one after another, and what is fetched."""
        block = block_of(segment)
        count = len(block.steps)
        chosen = box.choices[2 : 2 + count]
        cycles = 0.0
        for place, step in enumerate(block.steps):
            loads: Loads = segment.floors.loads[step.output.tensor]
            cycles += loads[str(chosen[place])] if place < len(chosen) else min(loads.values(), default=0.0)
        arrays = {step.output.tensor: str(array) for step, array in zip(block.steps, chosen, strict=False)}
        return segment.floors.with_choices(segment, cycles, block.refetched(box), arrays)

    def tree(self, segment: Segment, box: Box) -> LoopTree:
        """Return the tree of a box that makes all choices."""
        return BlockTree(block_of(segment), box).fitting()


def _roomy(block: Block, box: Box) -> bool:
    """Whether the smallest tiles of columns have room, where all is streamed on the fastest arrays."""
    columns = columns_of(box)
    arrays = [block.arrays(step)[0] for step in block.steps]
    streams = [block.streams(step, columns)[0] for step in block.steps]
    tree = BlockTree(block, Box(box.frame, (*box.choices, *arrays, *streams)))
    try:
        tree.check({rank: tree.tiles(rank)[-1] for rank in columns})
    except InputError:
        return False
    return True
