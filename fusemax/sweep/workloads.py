"""The workload of a group of points: rank sizes as arrays, by the rules of ``fusemax.workloads``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy.typing as npt

from einsum_cascades.ir import Cascade
from einsum_cascades.models import Model
from einsum_cascades.workload import Workload
from fusemax.sweep.names import WORKLOAD
from fusemax.workloads import RANK_OF, settable_ranks, workload_of

Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True)
class WorkloadGroup:
    """Workloads whose sizes vary.

    Attributes:
        model: the model, if one is named.
        columns: sizes with a value per point, by key of the workload or rank.
    """

    cascade: Cascade
    model: Model | None
    columns: Mapping[str, Array]

    def at(self, point: int, value_bytes: int) -> Workload:
        """Return the workload of one point.

        Raises:
            InputError: sizes are missing, or contradict each other.
        """
        given = {key: column[point].item() for key, column in self.columns.items()}
        known: dict[str, Any] = {key: size for key, size in given.items() if key in WORKLOAD}
        sizes = {rank: size for rank, size in given.items() if rank not in WORKLOAD}
        found = workload_of(self.cascade, model=self.model, sizes=sizes, **known)
        return Workload(found.sizes, found.batch, found.heads, value_bytes, found.name)

    def sizes(self, columns: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
        """Return the size of each rank, and the number of instances: numbers, or arrays over points.

        Args:
            columns: sizes by key of the workload or rank: arrays over the points, or numbers that all share.

        Raises:
            InputError: sizes are missing, or contradict each other.
        """
        first = self.at(0, 1)
        sizes: dict[str, Any] = dict(first.sizes)
        batch: Any = columns.get("batch", first.batch)
        heads: Any = columns.get("heads", first.heads)
        if self.model is not None and "P" not in sizes:  # its linear layers
            sizes["N"] = columns.get("batch", self.model.batch) * columns["seq_len"]
            batch = heads = 1
        elif "seq_len" in columns:
            given = {"M": columns["seq_len"], "F": columns.get("head_dim", sizes["F"])}
            sizes |= given | {rank: columns[key] for key, rank in RANK_OF.items() if key in columns}
        sizes |= {rank: columns[rank] for rank in settable_ranks(self.cascade) if rank in columns}
        return sizes, batch * heads
