"""The kinds of machines that an evaluation knows: one table, in place of tests for what a machine is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from einsum_cascades.errors import InputError, check_name
from einsum_cascades.ir import Cascade
from einsum_cascades.loops.tree import LoopTree
from einsum_cascades.workload import Workload
from fusemax.evaluated import CpuEvaluation, Evaluation, GpuEvaluation
from fusemax.spatial import Mapper, evaluate_on, evaluate_tree, problem_of
from hw_models.accounting import Accounting
from hw_models.cpu.cost import cpu_cost
from hw_models.cpu.machine import Cpu
from hw_models.gpu.cost import gpu_cost
from hw_models.gpu.machine import Gpu
from hw_models.load import AnyMachine
from hw_models.machine import Machine
from mappers.strategies import cpu_strategy_named, gpu_strategy_named

DTYPE_BITS: Final = {
    "bfloat16": 16,
    "float16": 16,
    "int16": 16,
    "float8": 8,
    "int8": 8,
    "float32": 32,
    "float64": 64,
}
"""Types of values by name, and their width."""
GPU_DTYPES: Final = ("bfloat16", "float16")
"""Types that the tensor units of the GPU model multiply."""


@dataclass(frozen=True)
class Request:
    """What is to be evaluated, everything read.

    Attributes:
        machine: of the kind that the backend is for.
        mapper: a name; for a spatial array also a function.
        tree: the user's own mapping, which takes the mapper's place; the mapper is then what it is called.
        scalars: values of scalar inputs that masks depend on.
    """

    cascade: Cascade
    machine: Any
    mapper: Mapper
    workload: Workload
    accounting: Accounting
    tree: LoopTree | None = None
    causal: bool = False
    dtype: str | None = None
    scalars: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Backend:
    """How a kind of machine is evaluated.

    Attributes:
        machine: the class of its machines.
        evaluate: from a request to its outcome.
        bits: of a value that it works on.
        dtypes: types that its model knows; None: any as wide as its values.
        causal: whether it has a causal mask.
        scalars: whether sizes may also be values of scalar inputs.
    """

    machine: type
    evaluate: Callable[[Request], Evaluation]
    bits: Callable[[Any], int]
    dtypes: tuple[str, ...] | None = None
    causal: bool = True
    scalars: bool = False

    def check(self, request: Request) -> None:
        """Check what this kind of machine cannot do.

        Raises:
            InputError: the request asks for it.
        """
        machine = request.machine
        if request.causal and not self.causal:
            raise InputError(
                f"cascade '{request.cascade.name}' has no causal mask on {machine.name}",
                hint="leave --causal out: every key counts",
            )
        if request.tree is not None and self.machine is not Machine:
            raise InputError(f"a mapping is for a spatial array, and {machine.name} is a {machine.kind.upper()}")
        if request.dtype is not None:
            check_dtype(request.dtype, machine)
        _check_width(request.workload, machine, self.value_bytes(machine))

    def value_bytes(self, machine: Any) -> int:
        """Return the bytes of a value, whole ones."""
        return -(-self.bits(machine) // 8)


def check_dtype(dtype: str, machine: AnyMachine) -> None:
    """Check that a type's values are as wide as those that a machine works on.

    Raises:
        InputError: they are not, or no type has that name.
    """
    backend = BACKENDS[machine.kind]
    check_name("dtype", dtype, DTYPE_BITS)
    if backend.dtypes is not None and dtype not in backend.dtypes:
        raise InputError(
            f"the model of {machine.name} knows no '{dtype}'", hint="it has rates for " + " and ".join(backend.dtypes)
        )
    bits = backend.bits(machine)
    if DTYPE_BITS[dtype] != bits:
        fitting = ", ".join(name for name, width in DTYPE_BITS.items() if width == bits)
        raise InputError(
            f"'{dtype}' has {DTYPE_BITS[dtype]} bits, {machine.name} works on {bits}-bit values",
            hint=f"of {bits} bits: {fitting or 'none'}",
        )


def _check_width(workload: Workload, machine: AnyMachine, value_bytes: int) -> None:
    if workload.value_bytes != value_bytes:
        raise InputError(
            f"the workload has {workload.value_bytes}-byte values, {machine.name} works on {value_bytes}-byte values",
            hint="give both the same width",
        )


def evaluate_on_cpu(
    cascade: Cascade, cpu: Cpu, mapper: str, workload: Workload, *, causal: bool = False
) -> CpuEvaluation:
    """Map a cascade onto a CPU and return what it costs.

    Raises:
        InputError: no such mapper, or no mapping for this cascade and workload.
    """
    _check_width(workload, cpu, cpu.value_bytes)
    mapping = cpu_strategy_named(mapper)(cascade, workload, cpu, causal=causal)
    return CpuEvaluation(cascade, cpu, mapper, workload, mapping, cpu_cost(mapping.activity, cpu), causal)


def evaluate_on_gpu(
    cascade: Cascade,
    gpu: Gpu,
    mapper: str,
    workload: Workload,
    *,
    causal: bool = False,
    dtype: str = GPU_DTYPES[0],
    scalars: Mapping[str, int] | None = None,
) -> GpuEvaluation:
    """Map a cascade onto a GPU and return what it costs.

    Args:
        scalars: values of scalar inputs that masks depend on, such as the width of a window, where they are known.

    Raises:
        InputError: no such mapper, or no mapping for this cascade and workload.
    """
    _check_width(workload, gpu, gpu.value_bytes)
    known = dict(scalars or {})
    mapping = gpu_strategy_named(mapper)(cascade, workload, gpu, causal=causal, scalars=known)
    found = gpu_cost(mapping.activity, gpu)
    return GpuEvaluation(cascade, gpu, mapper, workload, mapping, found, causal, dtype, tuple(known.items()))


def _input_bits(machine: Any) -> int:
    bits: int = machine.role_bits["inputs"] if isinstance(machine, Machine) else 8 * machine.value_bytes
    return bits


def _spatial(request: Request) -> Evaluation:
    asked = (request.cascade, request.machine)
    if request.tree is None:
        return evaluate_on(*asked, request.mapper, request.workload, request.accounting)
    problem = problem_of(*asked, request.workload, request.accounting)
    return evaluate_tree(request.tree, problem, str(request.mapper), request.workload)


def _cpu(request: Request) -> Evaluation:
    asked = (request.cascade, request.machine, _name(request), request.workload)
    return evaluate_on_cpu(*asked, causal=request.causal)


def _gpu(request: Request) -> Evaluation:
    asked = (request.cascade, request.machine, _name(request), request.workload)
    dtype = request.dtype or GPU_DTYPES[0]
    return evaluate_on_gpu(*asked, causal=request.causal, dtype=dtype, scalars=dict(request.scalars))


def _name(request: Request) -> str:
    if not isinstance(request.mapper, str):
        raise InputError(
            f"a function maps onto a spatial array, and {request.machine.name} is a {request.machine.kind.upper()}",
            hint="give the name of a mapper",
        )
    return request.mapper


BACKENDS: Final[dict[str, Backend]] = {
    "spatial-array": Backend(Machine, _spatial, _input_bits, causal=False),
    "cpu": Backend(Cpu, _cpu, lambda m: 8 * m.value_bytes),
    "gpu": Backend(Gpu, _gpu, lambda m: 8 * m.value_bytes, GPU_DTYPES, scalars=True),
}
"""By kind of machine."""
