"""What is computed on: rank sizes, how many independent instances (batch ranks), and bytes per value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from einsum_cascades.errors import InputError
from einsum_cascades.numbers import LARGEST, whole


@dataclass(frozen=True)
class Workload:
    """Sizes for one evaluation of a cascade.

    Attributes:
        sizes: (rank, size) pairs of the ranks that a user may set, such as E, F, M, P.
        batch, heads: the batch ranks B and H, which cascades leave unwritten.
        value_bytes: bytes per value.
        name: a model's name, for tables.
    """

    sizes: tuple[tuple[str, int], ...]
    batch: int = 1
    heads: int = 1
    value_bytes: int = 2
    name: str = ""

    def __post_init__(self) -> None:
        sizes = tuple((key, whole(f"the size of {key}", size, maximum=LARGEST**2)) for key, size in self.sizes)
        object.__setattr__(self, "sizes", sizes)
        for key in ("batch", "heads", "value_bytes"):
            object.__setattr__(self, key, whole(f"the size of {key}", getattr(self, key), maximum=LARGEST**2))

    @classmethod
    def attention(
        cls,
        *,
        batch: int,
        heads: int,
        head_dim: int,
        seq_len: int,
        value_dim: int | None = None,
        kv_len: int | None = None,
        value_bytes: int = 2,
        name: str = "",
    ) -> Workload:
        """An attention layer: E = head_dim, F = value_dim, P = seq_len (queries), M = kv_len (keys).

        Raises:
            InputError: a size is not a whole number of 1 or more.
        """
        sizes = {
            "E": head_dim,
            "F": head_dim if value_dim is None else value_dim,
            "M": seq_len if kv_len is None else kv_len,
            "P": seq_len,
        }
        return cls(tuple(sizes.items()), batch, heads, value_bytes, name)

    @property
    def instances(self) -> int:
        """B·H: how many independent copies of the cascade run."""
        return self.batch * self.heads

    def as_dict(self) -> Mapping[str, int]:
        """Rank sizes by name."""
        return dict(self.sizes)

    def size(self, rank: str) -> int:
        """Size of a rank.

        Raises:
            InputError: the workload does not give the rank's size.
        """
        for name, size in self.sizes:
            if name == rank:
                return size
        raise InputError(
            f"rank {rank} has no size",
            hint=f"give one with --set {rank}=SIZE; sizes known: " + ", ".join(f"{r}={s}" for r, s in self.sizes),
        )
