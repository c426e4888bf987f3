"""Attention on GPUs: the published cascades as kernels, and a compiler of cascades like attention to fused kernels.

``attention`` runs one of ``CASCADES``; ``compiled`` turns a cascade into a ``FusedKernel``. PyTorch and Triton, which
the extra ``gpu`` brings, are imported when a kernel first runs.
"""

from __future__ import annotations

from kernels.gpu import CASCADES, FusedKernel, attention, compiled

__all__ = ["CASCADES", "FusedKernel", "attention", "compiled"]
