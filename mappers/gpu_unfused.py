"""Attention as PyTorch's *math* backend runs it: kernel after kernel, all scores through the memory, in 32 bits.

    Q, K, V to 32 bits; Q and K times the root of the scale; QK = Q K; under a causal mask a mask of all scores is made
    and added; softmax; rows of nothing but minus infinity are looked for (a comparison, a reduction) and replaced by
    zeros; AV = A V; AV and A to 16 bits

Nothing is skipped under a mask, and the mask is read for every instance. Matrix products are the library's, 128×128
results a block where there are so many, on the vector lanes; the other kernels take what they move over the memory's
bandwidth, unless the L2 cache holds it between them.
Source: PyTorch, ``aten/src/ATen/native/transformers/attention.cpp``, ``_scaled_dot_product_attention_math``, and
``SoftMax.cpp``, ``_safe_softmax``.
"""

from __future__ import annotations

from typing import Final

from einsum_cascades.workload import Workload
from hw_models.gpu.activity import Block, GpuActivity, Kernel, Product, Transfer, Trip
from hw_models.gpu.machine import Gpu
from mappers.gpu_mapping import GpuMapping

SINGLE_BYTES: Final = 4
FLAG_BYTES: Final = 1
TILE: Final = 128


def gpu_unfused(workload: Workload, gpu: Gpu, *, causal: bool = False) -> GpuMapping:
    """Map an attention onto kernels that hand everything on through the memory.

    Raises:
        InputError: the workload is no attention: it lacks one of E, F, M, P.
    """
    e, f, m, p = (workload.size(rank) for rank in "EFMP")
    instances = workload.instances
    queries, keys, values, results = (instances * n for n in (p * e, m * e, m * f, p * f))
    scores = instances * p * m
    half, single = gpu.value_bytes, SINGLE_BYTES
    kernels = [_elementwise("convert", n, half, single, gpu) for n in (queries, keys, values)]
    kernels += [_elementwise("scale", n, single, single, gpu) for n in (queries, keys)]
    kernels.append(_product("QK", instances, p, m, e))
    if causal:
        mask = p * m
        kernels += [_elementwise("mask", mask, *sizes, gpu) for sizes in ((0, FLAG_BYTES), (FLAG_BYTES, single))]
        cached = mask * single <= gpu.l2.bytes // 2
        kernels.append(_elementwise("mask", scores, single if cached else 2 * single, single, gpu))
    kernels.append(_elementwise("softmax", scores, single, single, gpu))
    kernels.append(_elementwise("empty rows", scores, single, FLAG_BYTES, gpu))
    kernels.append(_elementwise("empty rows", scores, FLAG_BYTES, 0, gpu))
    kernels.append(_elementwise("empty rows", scores, single, single, gpu))
    kernels.append(_product("AV", instances, p, f, m))
    kernels.append(_elementwise("convert", results, single, half, gpu))
    kernels.append(_elementwise("convert", scores, single, half, gpu))
    live = single * (queries + keys + values + scores + results)
    return GpuMapping("gpu-unfused", "math", (), GpuActivity(tuple(kernels), live, 3))


def _elementwise(name: str, number: int, read_bytes: int, written_bytes: int, gpu: Gpu) -> Kernel:
    """A kernel that reads and writes values once; what the one before wrote lies in the L2 cache if it fits there."""
    moved = number * (read_bytes + written_bytes)
    cached = moved <= gpu.l2.bytes // 2
    per_sm = -(-moved // gpu.sms)
    block = Block((Trip(transfers=(Transfer(name, "L2", per_sm),)),))
    blocks = ((block, gpu.sms),)
    return Kernel(name, blocks, 1, "vector", 1, 1, "free", False, "dynamic", False, 0, 0 if cached else moved)


def _product(name: str, instances: int, rows: int, columns: int, depth: int) -> Kernel:
    """A matrix product of 32-bit values per instance."""
    height, width = min(rows, TILE), min(columns, TILE)
    operands = Transfer(name, "L2", SINGLE_BYTES * (height + width) * depth)
    written = Transfer(name, "HBM", SINGLE_BYTES * height * width)
    block = Block((Trip((Product(name, height, width, depth),), 0, (operands,)), Trip(transfers=(written,))))
    number = -(-rows // height) * -(-columns // width)
    moved = SINGLE_BYTES * instances * (rows * columns + (rows + columns) * depth)
    return Kernel(
        *(name, ((block, number),), instances, "vector", 1, 1, "alternating", False, "dynamic", False, 0, moved)
    )
