"""One point at a time: the engine itself, for what is not evaluated in batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from einsum_cascades.errors import InputError
from einsum_cascades.ir import Cascade
from einsum_cascades.workload import Workload
from fusemax.evaluation import check_dtype, evaluate_on_cpu, evaluate_on_gpu
from fusemax.old_evaluation import evaluate_on
from hw_models.accounting import Accounting
from hw_models.architecture import Architecture
from hw_models.cpu.machine import Cpu
from hw_models.load_old import Machine

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


def evaluate_point(choice: Choice, machine: Machine, workload: Workload, scalars: Mapping[str, int]) -> Row:
    """Return the costs of a point by column.

    Args:
        scalars: values of scalar inputs, for a GPU.

    Raises:
        InputError: it has none.
    """
    if choice.dtype is not None:
        check_dtype(choice.dtype, machine)
    if isinstance(machine, Architecture):
        if choice.causal:
            raise InputError(f"cascade '{choice.cascade.name}' has no causal mask on {machine.name}")
        found = evaluate_on(choice.cascade, machine, choice.mapper, workload, choice.accounting)
        row = found.as_dict()
    elif isinstance(machine, Cpu):
        row = evaluate_on_cpu(choice.cascade, machine, choice.mapper, workload, causal=choice.causal).as_dict()
    else:
        row = evaluate_on_gpu(
            choice.cascade, machine, choice.mapper, workload, causal=choice.causal, scalars=scalars
        ).as_dict()
    for column in ("dram_bytes", "buffer_bytes"):
        if row[column] is not None and row[column] > LARGEST:
            raise InputError(f"{column} passes 2^63 - 1")
    return row
