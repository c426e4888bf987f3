"""Schedules executed value by value in a memory of fixed size: the least traffic is never above what they move.

Each value is computed once. The sizes are drawn, and the memory has just the room that the schedule takes.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from einsum_cascades.load import load_cascade, parse_cascade
from einsum_cascades.traffic import traffic_bound

SIZE = st.integers(1, 7)


class Memory:
    """What is inside, the most that ever was, and how many values came in and went out."""

    def __init__(self) -> None:
        self.inside: set[tuple[str, ...]] = set()
        self.computed: set[tuple[str, ...]] = set()
        self.most = self.moved = 0

    def load(self, name: str, *at: int) -> None:
        self.moved += 1
        self._put(name, at)

    def make(self, name: str, at: tuple[int, ...], *operands: tuple[str, ...], place: str = "") -> None:
        """Make a value, or add to it where it is there; in the place of another if one is named."""
        value = (name, *map(str, at))
        assert all(tuple(map(str, o)) in self.inside for o in operands), value
        if value in self.inside:
            return
        assert value not in self.computed, "computed twice"
        self.computed.add(value)
        if place:
            self.drop(place, *at)
        self._put(name, at)

    def store(self, name: str, *at: int) -> None:
        self.moved += 1
        self.drop(name, *at)

    def drop(self, name: str, *at: int) -> None:
        self.inside.remove((name, *map(str, at)))

    def _put(self, name: str, at: tuple[int, ...]) -> None:
        self.inside.add((name, *map(str, at)))
        self.most = max(self.most, len(self.inside))


def tiles(size: int, tile: int) -> Iterator[range]:
    for first in range(0, size, tile):
        yield range(first, min(size, first + tile))


def product(
    memory: Memory, result: str, left: str, right: str, kept: range, rows: int, summed: int, *, inner: bool
) -> None:
    """``result[row, p] = left[k, p] * right[k, row]``: ``left`` comes in row by row, ``right`` value by value.

    Args:
        inner: whether ``left`` is there already, and one row of the result is made after another.
    """
    if inner:
        for row in range(rows):
            for k in range(summed):
                memory.load(right, k, row)
                for p in kept:
                    memory.make(result, (row, p), (left, k, p), (right, k, row))
                memory.drop(right, k, row)
            for p in kept:
                memory.store(result, row, p)
        return
    for k in range(summed):
        for p in kept:
            memory.load(left, k, p)
        for row in range(rows):
            memory.load(right, k, row)
            for p in kept:
                memory.make(result, (row, p), (left, k, p), (right, k, row))
            memory.drop(right, k, row)
        for p in kept:
            memory.drop(left, k, p)


def softmax(memory: Memory, kept: range, keys: int) -> None:
    """Three passes over the scores, each in the place of the last."""
    for p in kept:
        for m in range(keys):
            memory.make("GM", (p,), ("QK", m, p))
        for m in range(keys):
            memory.make("SN", (m, p), ("QK", m, p), ("GM", p), place="QK")
        memory.drop("GM", p)
        for m in range(keys):
            memory.make("SD", (p,), ("SN", m, p))
        for m in range(keys):
            memory.make("A", (m, p), ("SN", m, p), ("SD", p), place="SN")
        memory.drop("SD", p)


def attention(keys: int, queries: int, width: int, tile: int) -> Memory:
    """A tile of queries at a time: its scores stay, keys and values stream."""
    memory = Memory()
    for kept in tiles(queries, tile):
        product(memory, "QK", "Q", "K", kept, keys, width, inner=False)
        softmax(memory, kept, keys)
        product(memory, "AV", "A", "V", kept, width, keys, inner=True)
        for p in kept:
            for m in range(keys):
                memory.drop("A", m, p)
    return memory


def chain(keys: int, queries: int, width: int, tile: int) -> Memory:
    """Two products: what is between stays for a tile."""
    memory = Memory()
    for kept in tiles(queries, tile):
        product(memory, "S", "Q", "K", kept, keys, width, inner=False)
        product(memory, "O", "S", "V", kept, width, keys, inner=True)
        for p in kept:
            for m in range(keys):
                memory.drop("S", m, p)
    return memory


def twice(rows: int, width: int) -> Memory:
    """An input that a sum over it is multiplied with: it waits."""
    memory = Memory()
    for e in range(rows):
        for m in range(width):
            memory.load("X", e, m)
            memory.load("Y", e, m)
            memory.make("S", (e,), ("X", e, m), ("Y", e, m))
            memory.drop("Y", e, m)
        for m in range(width):
            memory.make("Z", (m,), ("S", e), ("X", e, m))
            memory.drop("X", e, m)
        memory.drop("S", e)
    for m in range(width):
        memory.store("Z", m)
    return memory


def streams(rows: int, width: int, tile: int) -> Memory:
    """Two inputs that are used once come value by value."""
    memory = Memory()
    for es in tiles(rows, tile):
        for m in range(width):
            for e in es:
                memory.load("X", e, m)
                memory.load("Y", e, m)
                memory.make("S", (e,), ("X", e, m), ("Y", e, m))
                memory.drop("X", e, m)
                memory.drop("Y", e, m)
        for m in range(width):
            memory.load("W", m)
            for e in es:
                memory.make("Z", (e,), ("S", e), ("W", m))
            memory.drop("W", m)
        for e in es:
            memory.drop("S", e)
            memory.store("Z", e)
    return memory


CHAIN = parse_cascade(
    "declaration: {Q: [E, P], K: [E, M], V: [F, M], S: [M, P], O: [F, P]}\n"
    "expressions: ['S[m, p] = Q[e, p] * K[e, m]', 'O[f, p] = S[m, p] * V[f, m]']"
)
TWICE = parse_cascade(
    "declaration: {X: [E, M], Y: [E, M], S: [E], Z: [M]}\n"
    "expressions: ['S[e] = X[e, m] * Y[e, m]', 'Z[m] = S[e] * X[e, m]']"
)
STREAMS = parse_cascade(
    "declaration: {X: [E, M], Y: [E, M], W: [M], S: [E], Z: [E]}\n"
    "expressions: ['S[e] = X[e, m] * Y[e, m]', 'Z[e] = S[e] * W[m]']"
)


def least(cascade: str, sizes: dict[str, int], memory: Memory) -> int:
    known = {"chain": CHAIN, "twice": TWICE, "streams": STREAMS}
    source = known[cascade] if cascade in known else load_cascade(cascade)
    return traffic_bound(source, sizes, memory.most, value_bytes=1).dram_bytes


@settings(max_examples=6, deadline=None)
@given(keys=SIZE, queries=SIZE, width=SIZE, tile=SIZE)
def test_tiles_of_queries(keys: int, queries: int, width: int, tile: int) -> None:
    sizes = {"M": keys, "P": queries, "E": width, "F": width}
    executed = attention(keys, queries, width, tile)
    assert least("attention-3-pass", sizes, executed) <= executed.moved
    executed = chain(keys, queries, width, tile)
    assert least("chain", sizes, executed) <= executed.moved


@settings(max_examples=15, deadline=None)
@given(rows=SIZE, width=SIZE, tile=SIZE)
def test_inputs_that_wait_or_stream(rows: int, width: int, tile: int) -> None:
    executed = twice(rows, width)
    assert least("twice", {"E": rows, "M": width}, executed) <= executed.moved
    executed = streams(rows, width, tile)
    assert least("streams", {"E": rows, "M": width}, executed) <= executed.moved


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(keys=st.integers(1, 20), queries=st.integers(1, 20), width=st.integers(1, 9), tile=st.integers(1, 9))
def test_more_tiles_of_queries(keys: int, queries: int, width: int, tile: int) -> None:
    sizes = {"M": keys, "P": queries, "E": width, "F": width}
    executed = attention(keys, queries, width, tile)
    assert least("attention-3-pass", sizes, executed) <= executed.moved
    executed = chain(keys, queries, width, tile)
    assert least("chain", sizes, executed) <= executed.moved


def test_some_attain_the_least() -> None:
    """With whole tiles nothing moves less."""
    executed = attention(16, 16, 4, 8)
    assert executed.moved == 384 == least("attention-3-pass", {"M": 16, "P": 16, "E": 4, "F": 4}, executed)
    executed = twice(4, 3)
    assert executed.moved == 27 == least("twice", {"E": 4, "M": 3}, executed)


def test_more_ranks_than_orders_are_tried_for() -> None:
    """Three Gram matrices of one tensor, with room for three values; at least what each product moves by itself."""
    cascade = parse_cascade(
        "declaration: {T: [I, J, K], U: [L, J, K], V: [I, N, K], W: [I, J, O], GI: [I, L], GJ: [J, N], GK: [K, O]}\n"
        "expressions: ['GI[i, l] = T[i, j, k] * U[l, j, k]', 'GJ[j, n] = T[i, j, k] * V[i, n, k]', "
        "'GK[k, o] = T[i, j, k] * W[i, j, o]']"
    )
    sizes = {"I": 16, "J": 16, "K": 16, "L": 8, "N": 8, "O": 8}
    compulsory = traffic_bound(cascade, sizes, 2**20).dram_bytes
    assert compulsory == 21_248 < traffic_bound(cascade, sizes, 6).dram_bytes


def test_a_block_moves_what_its_first_product_does() -> None:
    """An attention layer with its projections, seven ranks, in 64 bytes."""
    cascade = parse_cascade(
        "declaration: {X: [P, D], Y: [M, D], WQ: [H, E, D], WK: [H, E, D], WV: [H, F, D], WZ: [H, F, G], Q: [P, H, E],"
        " K: [M, H, E], V: [M, H, F], S: [H, M, P], O: [P, H, F], Z: [P, G]}\n"
        "expressions: ['Q[p, h, e] = X[p, d] * WQ[h, e, d]', 'K[m, h, e] = Y[m, d] * WK[h, e, d]', "
        "'V[m, h, f] = Y[m, d] * WV[h, f, d]', 'S[h, m, p] = Q[p, h, e] * K[m, h, e]', "
        "'O[p, h, f] = S[h, m, p] * V[m, h, f]', 'Z[p, g] = O[p, h, f] * WZ[h, f, g]']"
    )
    first = parse_cascade(
        "declaration: {X: [P, D], WQ: [H, E, D], Q: [P, H, E]}\nexpressions: ['Q[p, h, e] = X[p, d] * WQ[h, e, d]']"
    )
    sizes = {"P": 2048, "M": 2048, "D": 4096, "H": 32, "E": 128, "F": 128, "G": 4096}
    alone = traffic_bound(first, sizes, 64).dram_bytes
    assert alone <= 27_028_094_976
    assert traffic_bound(cascade, sizes, 64).dram_bytes >= 27_028_094_976
