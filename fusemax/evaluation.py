"""One evaluation: a cascade, an architecture, a mapper and a workload in, one cost out."""

from __future__ import annotations

from collections.abc import Mapping as Table
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, Final

from einsum_cascades.errors import InputError
from einsum_cascades.ir import Cascade
from einsum_cascades.load import load_cascade
from einsum_cascades.loops.tree import INSTANCES, LoopTree
from einsum_cascades.not_a_rank import scalar_inputs
from einsum_cascades.numbers import LARGEST
from einsum_cascades.sizes import as_size
from einsum_cascades.workload import Workload
from fusemax.backends import (
    BACKENDS,
    DTYPE_BITS,
    Backend,
    Request,
    check_dtype,
    evaluate_on_cpu,
    evaluate_on_gpu,
)
from fusemax.evaluated import CpuEvaluation, Evaluation, GpuEvaluation, SpatialEvaluation
from fusemax.mapping_files import MappingFile, beside, mapping_text, read_mapping, stated
from fusemax.spatial import Mapper, evaluate_on, evaluate_tree, problem_of
from fusemax.workload_spec import Count, Name, WorkloadSpec
from fusemax.workloads import workload_from
from hw_models.accounting import Accounting, accounting_named
from hw_models.load import KINDS, AnyMachine, load_machine

__all__ = [
    "DTYPE_BITS",
    "CpuEvaluation",
    "Evaluation",
    "GpuEvaluation",
    "SpatialEvaluation",
    "asked_for",
    "check_dtype",
    "evaluate",
    "evaluate_on",
    "evaluate_on_cpu",
    "evaluate_on_gpu",
    "evaluate_tree",
    "problem_of",
]

_UNTOLD: Final = MappingFile("", LoopTree(None))  # type: ignore[arg-type]
"""What a mapping's file would say if there is none."""


@dataclass(frozen=True)
class Asked:
    """All that an evaluation is asked for, by name or as values.

    Attributes:
        mapper: a mapper's name, or a function of one's own from a ``Problem`` to a ``LoopTree``.
        mapping: a loop tree, or a file that holds one, in place of a mapper; what a file says besides stands where
            nothing else is given.
        workload: a ready one, or what describes it.
        set_arch: what-ifs such as ``array_2d.rows=128``.
    """

    cascade: Name | Cascade | None
    arch: Name | AnyMachine | None
    mapper: Mapper | None
    mapping: Name | LoopTree | None
    workload: Workload | WorkloadSpec
    accounting: str | Accounting | None = None
    set_arch: Sequence[str] = ()
    causal: bool = False
    dtype: str | None = None

    def request(self) -> Request:
        """Return it with everything read.

        Raises:
            InputError: anything unusable, with what would be right.
        """
        cascade = self._cascade()
        mapper, tree = self._mapped()
        machine = self._machine()
        stated = self.file.accounting or "published"
        accounting = stated if self.accounting is None else self.accounting
        workload, scalars = self._workload(cascade, machine, BACKENDS[machine.kind])
        return Request(
            cascade,
            machine,
            mapper,
            workload,
            accounting if isinstance(accounting, Accounting) else accounting_named(accounting),
            tree,
            self.causal,
            self.dtype,
            scalars,
        )

    @cached_property
    def file(self) -> MappingFile:
        """What the mapping's file says; nothing if there is none."""
        if self.mapping is None or isinstance(self.mapping, LoopTree):
            return _UNTOLD
        return read_mapping(self.mapping)

    def _mapped(self) -> tuple[Mapper, LoopTree | None]:
        if (self.mapper is None) == (self.mapping is None):
            given = "neither a mapper nor a mapping is" if self.mapper is None else "a mapper and a mapping are"
            raise InputError(f"{given} given", hint="give --mapper NAME, or --mapping FILE")
        if self.mapper is not None:
            return self.mapper, None
        if isinstance(self.mapping, LoopTree):
            return "mapping", self.mapping
        return self.file.name, self.file.tree

    def _cascade(self) -> Cascade:
        return self.cascade if isinstance(self.cascade, Cascade) else load_cascade(self.cascade_name)

    @property
    def cascade_name(self) -> str:
        """The cascade's name or file, as given or as the mapping's file says."""
        return _name(self.cascade) or stated(self.file, "cascade", "--cascade")

    @property
    def machine_name(self) -> str:
        """The machine's name or file, as given or as the mapping's file says."""
        return _name(self.arch) or stated(self.file, "machine", "--arch")

    @property
    def overrides(self) -> Sequence[str]:
        """All values of the machine that are changed, as ``KEY=VALUE``."""
        own = () if self.arch else self.file.set_arch
        return [*own, *self.set_arch] if own else self.set_arch

    def _machine(self) -> AnyMachine:
        if self.arch is None or isinstance(self.arch, str | PathLike):
            return load_machine(self.machine_name, self.overrides)
        if not isinstance(self.arch, tuple(backend.machine for backend in BACKENDS.values())):
            return load_machine(str(self.arch), self.set_arch)
        if self.set_arch:
            raise InputError(f"set_arch changes an architecture file, not a {type(self.arch).__name__} object")
        return self.arch

    def _workload(
        self, cascade: Cascade, machine: AnyMachine, backend: Backend
    ) -> tuple[Workload, tuple[tuple[str, int], ...]]:
        """Return the workload, and values of scalar inputs that stand among its sizes."""
        if isinstance(self.workload, Workload):
            return self.workload, ()
        spec, scalars = self.workload, {}
        if backend.scalars and spec.sizes:
            known = scalar_inputs(cascade)
            scalars = {n: as_size(v, n, minimum=-LARGEST) for n, v in spec.sizes.items() if n in known}
            spec = replace(spec, sizes={r: s for r, s in spec.sizes.items() if r not in scalars} or None)
        found = _with_file(spec, self.file, cascade)
        return replace(found, value_bytes=backend.value_bytes(machine)), tuple(scalars.items())

    def mapping_file(self, found: Evaluation, path: Path | None = None) -> str:
        """Return the text of a file that holds the mapping that was found, and all that was asked for.

        Args:
            path: where it is to lie; the current folder if not given.

        Raises:
            InputError: the mapping is no loop tree.
        """
        if not isinstance(found.mapping, LoopTree):
            kind = KINDS[found.architecture.kind].title
            raise InputError(
                f"the mapper '{found.mapper}' maps onto a {kind}", hint="only spatial arrays have loop trees"
            )
        accounting: str = found.as_dict()["accounting"]
        return mapping_text(
            found.mapping,
            cascade=beside(self.cascade_name, path),
            machine=beside(self.machine_name, path),
            accounting=accounting,
            set_arch=tuple(self.overrides),
            sizes={**found.workload.as_dict(), INSTANCES: found.workload.instances},
        )


def _name(given: object) -> str:
    """The name or path given, or that of a thing itself."""
    return str(given) if isinstance(given, str | PathLike) else str(getattr(given, "name", ""))


def _with_file(spec: WorkloadSpec, file: MappingFile, cascade: Cascade) -> Workload:
    """Return the workload: sizes of single ranks replace those of a mapping's file, other descriptions all of them."""
    own = file.workload
    if own is None or not spec.given.keys() <= {"sizes", "batch", "heads"}:
        return workload_from(spec, cascade)
    single = workload_from(replace(spec, sizes={**own.as_dict(), **(spec.sizes or {})}), cascade)
    return single if spec.batch or spec.heads else replace(single, batch=own.batch, heads=own.heads)


def evaluate(
    cascade: Name | Cascade | None = None,
    arch: Name | AnyMachine | None = None,
    mapper: Mapper | None = None,
    *,
    mapping: Name | LoopTree | None = None,
    workload: Workload | WorkloadSpec | None = None,
    accounting: str | Accounting | None = None,
    set_arch: Sequence[str] = (),
    causal: bool = False,
    dtype: str | None = None,
    **described: Name | Count | Table[str, Count] | None,
) -> Evaluation:
    """Evaluate any cascade on any machine.

    The workload is given in one of four ways: ``model`` (a published model's name or a YAML file) or ``hf_config`` (a
    Hugging Face ``config.json``) with ``seq_len``; the sizes of an attention layer; ``sizes`` by rank for other
    cascades; or a ready ``workload``.

    Args:
        cascade: library name, file, or a cascade.
        arch: architecture name, file, or an architecture: a spatial array, a CPU or a GPU.
        mapper: name of a mapper; for a spatial array also any function from a ``Problem`` to a ``LoopTree``.
        mapping: in place of a mapper a loop tree, or a file of one, which may also say the cascade, the machine, the
            accounting and the sizes.
        accounting: ``published`` (if nothing is said) or ``physical``; for spatial arrays.
        set_arch: what-ifs such as ``array_2d.rows=128``.
        causal: whether queries see only the keys up to their own; for attention on a CPU or a GPU.
        dtype: type of the values, whose width must be the machine's.
        described: the fields of a ``WorkloadSpec``: ``model``, ``hf_config``, ``seq_len``, ``kv_len``, ``batch``,
            ``heads``, ``head_dim``, ``value_dim`` and ``sizes``; on a GPU sizes may also be values of scalar inputs
            that masks depend on, such as the width of a window, which otherwise bounds nothing.

    Raises:
        InputError: anything unusable, with what would be right.
    """
    plain: dict[str, Any] = described
    asked = asked_for(cascade, arch, mapper, mapping, workload, accounting, set_arch, causal, dtype, **plain)
    return evaluate_request(asked.request())


def asked_for(
    cascade: Name | Cascade | None,
    arch: Name | AnyMachine | None,
    mapper: Mapper | None,
    mapping: Name | LoopTree | None,
    workload: Workload | WorkloadSpec | None,
    accounting: str | Accounting | None,
    set_arch: Sequence[str],
    causal: bool = False,
    dtype: str | None = None,
    **described: Any,
) -> Asked:
    """Return what is asked for, with a workload from its description if none is ready.

    Raises:
        InputError: a ready workload and a description are given.
    """
    spec = WorkloadSpec(**described)
    if workload is not None and (beside := list(spec.given)):
        raise InputError(f"{beside[0]} is given beside a ready workload", hint="give one of them")
    return Asked(cascade, arch, mapper, mapping, workload or spec, accounting, set_arch, causal, dtype)


def evaluate_request(request: Request) -> Evaluation:
    """Evaluate what has been read.

    Raises:
        InputError: the machine cannot do what is asked.
    """
    backend = BACKENDS[request.machine.kind]
    backend.check(request)
    return backend.evaluate(request)
