"""How often a kernel visits the elements of K, V and its scores, and how much memory it works in: by running it.

The kernel's own `query_tile`, the Python source that is compiled, runs here on arrays that know which rows of K, of V
or of the workspace they show. Every operation on tiles visits all elements of the arrays that it is given. Visits in
one step of one loop over tiles of keys count once: the step does all that it does while its tile is at hand. The
operations themselves are the compiled ones, so the result is the kernel's, to the last bit.

Visits of each element of K, of V, and of the scores of a query are passes over them (Nayak et al., "FuseMax", MICRO
2024, section 3).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import numpy as np

from kernels.cpu import tile_operations
from kernels.cpu.attention import Floats, prepare
from kernels.cpu.query_ranges import query_range, tasks


@dataclass(frozen=True)
class Counts:
    """What a run of a kernel did.

    Attributes:
        result: what it computed.
        key_passes: visits of an element of K by one query tile, the most there are.
        value_passes: the same for V.
        score_passes: the same for QK, whatever the kernel calls it after changing it in place.
        workspace_bytes: bytes of the workspace that a query tile wrote or read, the most there are.
        allocated_bytes: bytes of workspace that each thread of the kernel has.
    """

    result: Floats
    key_passes: int
    value_passes: int
    score_passes: int
    workspace_bytes: int
    allocated_bytes: int


def counted_attention(
    q: Any, k: Any, v: Any, *, cascade: str = "attention-1-pass", causal: bool = False, scale: float = 1.0
) -> Counts:
    """Run a kernel on one thread and count; arguments as `attention.attention`.

    Raises:
        InputError: as `attention.attention`.
    """
    call, (q, k, v, out), result = prepare(q, k, v, cascade, 1, None)
    tiles, words = call.tiles, np.empty(call.workspace_words, dtype=np.float32)
    rows = call.workspace_words // tiles.width
    found = []
    for task in range(tasks(q, tiles.queries)):
        head, start, end, seen, width = query_range(task, q, k, bool(causal), tiles.queries, tiles.keys_per_row)
        visits = _Visits(k.shape[1], rows, tiles.keys_per_row)
        visits.watch(call.module.query_tile)(
            q[head, start:end],
            _Rows(k[head], "K", 0),
            _Rows(v[head], "V", 0),
            out[head, start:end],
            np.float32(scale),
            seen,
            tiles.keys,
            tiles.product_keys,
            tiles.keys_per_row,
            _Rows(words[: rows * width].reshape(rows, width), "workspace", 0),
        )
        used = np.count_nonzero(visits.counts["workspace"]) * width * words.itemsize
        found.append([visits.most("K"), visits.most("V"), visits.most("QK"), used])
    key_passes, value_passes, score_passes, used = np.max(found, axis=0).tolist()
    return Counts(result, key_passes, value_passes, score_passes, used, words.nbytes)


@dataclass(frozen=True)
class _Rows:
    """Some rows of a tensor, from ``first`` on."""

    array: Any
    tensor: str
    first: int

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.array.shape)

    def __getitem__(self, rows: slice) -> _Rows:
        return _Rows(self.array[rows], self.tensor, self.first + rows.indices(len(self.array))[0])

    @property
    def indices(self) -> slice:
        return slice(self.first, self.first + len(self.array))


class _Visits:
    """Visits of each row of K, V and the workspace, and of the scores of each key, by one query tile."""

    def __init__(self, keys: int, workspace_rows: int, keys_per_row: int) -> None:
        sizes = {"K": keys, "V": keys, "QK": keys, "workspace": workspace_rows}
        self.counts = {tensor: np.zeros(size, dtype=np.int64) for tensor, size in sizes.items()}
        self.last = {tensor: np.full(size, -1) for tensor, size in sizes.items()}
        self.keys_of_row = np.full((workspace_rows, keys_per_row), -1)
        self.step = 0

    def most(self, tensor: str) -> int:
        """The most visits of an element."""
        return int(self.counts[tensor].max())

    def watch(self, query_tile: Any) -> Callable[..., None]:
        """The Python source of a compiled function, its loops and its operations on tiles watched."""
        watched: dict[str, Callable[..., Any]] = {"range": self.steps}
        known = vars(tile_operations)
        for name, value in query_tile.py_func.__globals__.items():
            if callable(value) and known.get(name) is value:
                watched[name] = self.operation(name, value)
        return FunctionType(query_tile.py_func.__code__, query_tile.py_func.__globals__ | watched)

    def steps(self, *bounds: int) -> Iterator[int]:
        """A range each of whose values is a step, as is what follows it."""
        for value in range(*bounds):
            self.step += 1
            yield value
        self.step += 1

    def operation(self, name: str, run: Any) -> Callable[..., Any]:
        """An operation that counts its visits before it runs."""

        def counting(*arguments: Any) -> Any:
            if name == "score":
                keys, scores = arguments[0], arguments[2]
                places = self.keys_of_row[scores.indices]
                places.flat[: len(keys.array)] = np.arange(keys.indices.start, keys.indices.stop)
            for argument in arguments:
                if isinstance(argument, _Rows):
                    self.visit(argument)
            return run(*(a.array if isinstance(a, _Rows) else a for a in arguments))

        return counting

    def visit(self, rows: _Rows) -> None:
        """Count a visit of each row, and of the scores that it holds."""
        places = np.arange(rows.indices.start, rows.indices.stop)
        self.count(rows.tensor, places)
        if rows.tensor == "workspace":
            keys = self.keys_of_row[places]
            self.count("QK", keys[keys >= 0])

    def count(self, tensor: str, places: Any) -> None:
        """Count a visit of elements that this step has not visited yet."""
        self.counts[tensor][places] += self.last[tensor][places] != self.step
        self.last[tensor][places] = self.step
