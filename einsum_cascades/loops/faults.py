"""Errors that point at a node of a tree."""

from __future__ import annotations

from einsum_cascades.errors import InputError, Location
from einsum_cascades.loops.tree import Node


def place_of(node: Node) -> Location | None:
    """Return where in a text a node stands, if it came from one."""
    return getattr(node, "location", None)


def wrong(node: Node, message: str, hint: str = "") -> InputError:
    """Return an error at a node, which is quoted where it came from no text."""
    from einsum_cascades.loops.text import line

    location = place_of(node)
    return InputError(message if location else f"at '{line(node)}': {message}", location=location, hint=hint)
