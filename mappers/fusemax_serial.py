"""FuseMax's loop nest with tiles one after another (the published configurations ``cascade`` and ``architecture``)."""

from __future__ import annotations

from einsum_cascades.ir import Cascade
from einsum_cascades.workload import Workload
from hw_models.accounting import Accounting
from hw_models.architecture import Architecture
from mappers.fused_plan import best_fused
from mappers.mapping import Mapping


def fusemax_serial(cascade: Cascade, workload: Workload, architecture: Architecture, accounting: Accounting) -> Mapping:
    """Map a cascade tile by tile (Nayak et al., MICRO 2024, section V).

    Raises:
        InputError: the cascade cannot be fused on this machine.
    """
    return best_fused("fusemax-serial", cascade, workload, architecture, accounting, interleaved=False)
