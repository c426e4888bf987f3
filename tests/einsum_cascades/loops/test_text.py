"""The text of a loop tree: what is printed parses back to an equal tree; what is no tree says where and why."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_trees import mutated, random_tree

from einsum_cascades.errors import InputError
from einsum_cascades.loops.text import MOST_DEPTH, parse_tree, to_text
from einsum_cascades.loops.tree import Compute, Hold, Loop, LoopTree, Pipeline


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_what_is_printed_parses_back(seed: int, change: int) -> None:
    drawn = random_tree(seed)
    for tree in (drawn.tree, mutated(drawn, change).tree):
        assert parse_tree(to_text(tree)) == tree


def test_holds_of_one_memory_share_a_line() -> None:
    inner = Loop("M", 1, Compute("Z", "u"))
    tree = LoopTree(Hold("K", "b", Hold("V", "b", Hold("Q", "c", inner, state=True))), (("M0", 16),))
    text = "split M0 16\nkeep K, V in b\n  keep Q (state) in c\n    for M step 1\n      compute Z on u\n"
    assert to_text(tree) == text
    assert parse_tree(text) == tree


def test_comments_blank_lines_and_indents_of_any_width() -> None:
    text = (
        "# mine\n\nfor M step 1K   # keys\n        pipe\n"
        "          compute A on u\n          late 2\n               compute B on v\n"
    )
    found = parse_tree(text).body
    assert isinstance(found, Loop)
    assert (found.rank, found.tile) == ("M", 1024)
    assert isinstance(found.body, Pipeline)
    assert to_text(parse_tree(to_text(parse_tree(text)))) == to_text(parse_tree(text))


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ("", None, None, "the mapping is empty"),
        ("for M step 0\n  compute A on u", 1, 12, "a step is 0"),
        ("for M step 4", 1, 1, "indent its body"),
        ("for M step 4\ncompute A on u", 1, 1, "has no children"),
        ("seq\n  compute A on u\n compute B on u", 3, 2, "align it with its siblings"),
        ("compute A", 1, 1, "compute"),
        ("compute A on u\n  compute B on u", 2, 3, "nothing stands inside a compute"),
        ("kepe A in b\n  compute A on u", 1, 1, "did you mean 'keep'"),
        ("keep A, in b\n  compute A on u", 1, 1, "is no tensor to keep"),
        ("keep A in b (twice)\n  compute A on u", 1, 13, "is no way to keep a tensor"),
        ("late one\n  compute A on u", 1, 1, "late 1"),
    ],
)
def test_what_is_no_tree_says_where(text: str, line: int | None, column: int | None, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_tree(text)
    assert message in str(caught.value)
    where = caught.value.location
    assert (where and where.line, where and where.column) == (line, column)


def test_a_tree_too_deep_is_an_error_and_no_crash() -> None:
    deep = "".join("  " * depth + "for M step 1\n" for depth in range(MOST_DEPTH + 5))
    with pytest.raises(InputError, match="deep"):
        parse_tree(deep + "  " * (MOST_DEPTH + 5) + "compute A on u\n")
