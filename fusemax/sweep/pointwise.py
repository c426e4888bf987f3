"""One point at a time: the engine itself, for what is not evaluated in batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from einsum_cascades.errors import InputError
from einsum_cascades.ir import Cascade
from einsum_cascades.workload import Workload
from fusemax.backends import Request
from fusemax.evaluation import evaluate_request
from hw_models.accounting import Accounting
from hw_models.load import AnyMachine

Row = dict[str, Any]
LARGEST = 2**63 - 1


@dataclass(frozen=True)
class Choice:
    """What names and flags say of a point."""

    cascade: Cascade
    mapper: str
    accounting: Accounting
    dtype: str | None = None
    causal: bool = False


def evaluate_point(choice: Choice, machine: AnyMachine, workload: Workload, scalars: Mapping[str, int]) -> Row:
    """Return the costs of a point by column.

    Args:
        scalars: values of scalar inputs, for a GPU.

    Raises:
        InputError: it has none.
    """
    asked = Request(
        choice.cascade,
        machine,
        choice.mapper,
        workload,
        choice.accounting,
        causal=choice.causal,
        dtype=choice.dtype,
        scalars=tuple(scalars.items()),
    )
    row = evaluate_request(asked).as_dict()
    for column in ("dram_bytes", "buffer_bytes"):
        if row[column] is not None and row[column] > LARGEST:
            raise InputError(f"{column} passes 2^63 - 1")
    return row
