"""The file of a GPU: its schema, the GPU that it describes, and how one is written."""

from __future__ import annotations

import json
from typing import Annotated, Final, Literal

from pydantic import Field

from einsum_cascades.schema import ByteRate, Bytes, Rate, Section, Size, Text
from hw_models.gpu.machine import Gpu, Store, Tensor, Vector

Seconds = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]
VECTOR_RATES: Final = ("special_per_s", "fma_per_s", "alu_per_s", "product_flops_per_s")


class TensorSpec(Section):
    """The tensor units; a GPU without ``warpgroup_flops_per_s`` multiplies warp by warp only."""

    warpgroup_flops_per_s: Rate | None = Field(
        default=None, description="Sustained by products of warp groups, flop/s."
    )
    warp_flops_per_s: Rate = Field(description="Sustained by products of single warps, flop/s.")
    latency_s: Seconds = Field(description="From a product's start to its result, s.")
    clock: Annotated[float, Field(strict=True, ge=0.5, le=1)] = Field(
        default=1.0, description="The clock while they work, of that at which the other units were measured."
    )


class VectorSpec(Section):
    """The vector lanes and the special-function units."""

    special_per_s: Rate = Field(description="Special functions, such as exponentials, per second.")
    fma_per_s: Rate = Field(description="Fused multiply-adds per second.")
    alu_per_s: Rate = Field(description="Other operations, such as maxima, per second.")
    product_flops_per_s: Rate = Field(description="Matrix products of 32-bit values, flop/s.")
    latency_s: Seconds = Field(description="From an operation's start to its result, s.")


class SharedSpec(Section):
    """Shared memory: bytes of one SM, bandwidth of all."""

    bytes: Bytes = Field(description="Capacity of one SM's, bytes.")
    bytes_per_s: ByteRate = Field(description="Bandwidth of all, bytes per second.")


class StoreSpec(Section):
    """A memory that all SMs share."""

    bytes: Bytes = Field(description="Capacity, bytes.")
    bytes_per_s: ByteRate = Field(description="Bandwidth of reading, bytes per second.")
    latency_s: Seconds = Field(description="From a request to its answer, s.")


class SmSpec(Section):
    """What an SM holds."""

    registers: Size = Field(description="32-bit registers.")
    threads: Size = Field(description="Threads resident at a time.")
    blocks: Size = Field(description="Thread blocks resident at a time.")


class GpuSpec(Section):
    """A GPU. Values have 16 bits: its tensor rates are those of such operands."""

    kind: Literal["gpu"] = Field(description="A GPU.")
    name: Text = Field(description="For tables.")
    device: Text | None = Field(default=None, description="A word of the device's name, by which measurements find it.")
    title: Text | None = Field(default=None, description="What it is, in a line.")
    measured: Text | None = Field(default=None, description="How, when and with what its figures were measured.")
    citation: Text | None = Field(default=None, description="Where its other figures come from.")
    sms: Size = Field(description="Streaming multiprocessors.")
    value_bits: Literal[16] = Field(default=16, description="Bits of a value.")
    launch_s: Seconds = Field(description="A kernel that does nothing, s.")
    block_s: Seconds = Field(description="From a thread block to the next in its place, s.")
    sm: SmSpec = Field(description="What a multiprocessor holds.")
    tensor: TensorSpec = Field(description="The tensor units of all multiprocessors.")
    vector: VectorSpec = Field(description="The vector lanes of all multiprocessors.")
    shared: SharedSpec = Field(description="Shared memory.")
    l2: StoreSpec = Field(description="The L2 cache.")
    hbm: StoreSpec = Field(description="The memory.")


def gpu_of(spec: GpuSpec) -> Gpu:
    """Return the GPU that a checked file describes."""
    return Gpu(
        name=spec.name,
        sms=spec.sms,
        tensor=Tensor(**spec.tensor.model_dump()),
        vector=Vector(**spec.vector.model_dump()),
        registers=spec.sm.registers,
        threads=spec.sm.threads,
        blocks=spec.sm.blocks,
        shared_bytes=spec.shared.bytes,
        shared_bytes_per_s=spec.shared.bytes_per_s,
        l2=Store("L2", **spec.l2.model_dump()),
        hbm=Store("HBM", **spec.hbm.model_dump()),
        launch_s=spec.launch_s,
        block_s=spec.block_s,
        value_bytes=spec.value_bits // 8,
        device=spec.device or "",
        title=spec.title or "",
        measured=spec.measured or "",
        citation=spec.citation or "",
    )


def gpu_text(gpu: Gpu) -> str:
    """Return the file of a GPU: reading it gives the same GPU."""
    group = gpu.tensor.warpgroup_flops_per_s
    texts = [(key, getattr(gpu, key)) for key in ("name", "device", "title", "measured", "citation")]
    lines = [
        "kind: gpu",
        *(f"{key}: {json.dumps(text)}" for key, text in texts if text),
        f"sms: {gpu.sms}",
        f"launch_s: {gpu.launch_s!r}         # a kernel that does nothing",
        f"block_s: {gpu.block_s!r}          # from a thread block to the next in its place",
        f"sm: {{registers: {gpu.registers}, threads: {gpu.threads}, blocks: {gpu.blocks}}}",
        "tensor:              # flops per second of all SMs, sustained; bfloat16 operands",
        *([f"  warpgroup_flops_per_s: {_rate(group)}"] if group is not None else []),
        f"  warp_flops_per_s: {_rate(gpu.tensor.warp_flops_per_s)}",
        f"  latency_s: {gpu.tensor.latency_s!r}",
        f"  clock: {gpu.tensor.clock!r}           # while they work, of that at which the other units were measured",
        "vector:              # lane operations per second of all SMs; flops of 32-bit matrix products",
        *(f"  {key}: {_rate(getattr(gpu.vector, key))}" for key in VECTOR_RATES),
        f"  latency_s: {gpu.vector.latency_s!r}",
        f"shared: {{bytes: {gpu.shared_bytes}, bytes_per_s: {_rate(gpu.shared_bytes_per_s)}}}",
        *(
            f"{key}: {{bytes: {store.bytes}, bytes_per_s: {_rate(store.bytes_per_s)}, latency_s: {store.latency_s!r}}}"
            for key, store in (("l2", gpu.l2), ("hbm", gpu.hbm))
        ),
    ]
    return "\n".join(lines) + "\n"


def _rate(rate: float) -> str:
    return repr(float(rate))
