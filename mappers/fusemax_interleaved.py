"""FuseMax's loop nest with neighbouring tiles interleaved (the published configuration ``binding``)."""

from __future__ import annotations

from einsum_cascades.ir import Cascade
from einsum_cascades.workload import Workload
from hw_models.accounting import Accounting
from hw_models.architecture import Architecture
from mappers.fused_plan import best_fused
from mappers.mapping import Mapping


def fusemax_interleaved(
    cascade: Cascade, workload: Workload, architecture: Architecture, accounting: Accounting
) -> Mapping:
    """Map a cascade with the two arrays working on neighbouring tiles (Nayak et al., MICRO 2024, section V).

    Raises:
        InputError: the cascade cannot be fused on this machine.
    """
    return best_fused("fusemax-interleaved", cascade, workload, architecture, accounting, interleaved=True)
