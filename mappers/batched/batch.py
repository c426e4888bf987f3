"""What a strategy over arrays returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from hw_models.batched import Number
from mappers.capacity import too_small

Mask: TypeAlias = npt.NDArray[np.bool_]
Size: TypeAlias = Callable[[str], Any]
"""The size of a rank: a number, or an array over the points; it raises InputError for a rank without one."""


@dataclass(frozen=True)
class Batch:
    """Costs of many points.

    Attributes:
        costs: by column, as ``batch_cost`` gives them; they mean nothing where ``fits`` is false.
        fits: whether there is a mapping.
        capacity: bytes that were too few where there is none.
        what: the kind of mapping that does not fit.
    """

    costs: dict[str, Number]
    fits: Mask
    capacity: Number
    what: str

    def refusal(self, capacity: int) -> str:
        """Return why a point has no mapping."""
        return too_small(self.what, 0, capacity).message
