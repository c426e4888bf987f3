"""The table of mapping strategies: a strategy is one function from a cascade on a machine to a mapping."""

from __future__ import annotations

from typing import Protocol

from einsum_cascades.errors import unknown
from einsum_cascades.ir import Cascade
from einsum_cascades.workload import Workload
from hw_models.accounting import Accounting
from hw_models.architecture import Architecture
from mappers.flat import flat, flat_searched
from mappers.fusemax_interleaved import fusemax_interleaved
from mappers.fusemax_serial import fusemax_serial
from mappers.mapping import Mapping
from mappers.unfused import unfused


class Strategy(Protocol):
    """What every strategy file offers."""

    def __call__(
        self, cascade: Cascade, workload: Workload, architecture: Architecture, accounting: Accounting
    ) -> Mapping:
        """Return the mapping, or raise InputError if there is none."""
        ...


STRATEGIES: dict[str, Strategy] = {
    "unfused": unfused,
    "flat": flat,
    "flat-searched": flat_searched,
    "fusemax-serial": fusemax_serial,
    "fusemax-interleaved": fusemax_interleaved,
}


def strategy_named(name: str) -> Strategy:
    """Return a strategy by name.

    Raises:
        InputError: no strategy has that name.
    """
    if name not in STRATEGIES:
        raise unknown("mapper", name, STRATEGIES)
    return STRATEGIES[name]
