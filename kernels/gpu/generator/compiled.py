"""Custom attention: a cascade as a fused GPU kernel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from einsum_cascades.errors import InputError, unknown
from kernels.gpu.configurations import Configuration
from kernels.gpu.tensors import check_alike, check_scale, check_tensor, output_for, torch_module

if TYPE_CHECKING:
    from einsum_cascades.ir import Cascade
    from kernels.gpu.generator.form import FusedAttention
    from kernels.gpu.generator.fused import Fused


@dataclass(frozen=True)
class FusedKernel:
    """A cascade as a fused GPU kernel.

    Attributes:
        form: what it computes.
        unread: inputs of the cascade that change nothing, such as what shifts all scores of a softmax alike.
    """

    form: FusedAttention
    unread: frozenset[str] = frozenset()

    @cached_property
    def fused(self) -> Fused:
        """What follows from the form."""
        from kernels.gpu.generator.fused import Fused

        return Fused(self.form)

    @property
    def inputs(self) -> dict[str, tuple[str, ...]]:
        """The ranks of every input that is read, as a call takes it: lengths before sizes, queries before keys."""
        return self.fused.ranks

    def source(self, dialect: str = "gluon") -> str:
        """Return the text of the functions that complete the kernel, in ``gluon`` (Hopper) or ``triton``.

        Raises:
            InputError: another dialect.
        """
        if dialect not in ("gluon", "triton"):
            raise unknown("dialect", dialect, ("gluon", "triton"))
        return self.fused.text(dialect, frozenset()).source

    def __call__(
        self,
        inputs: Mapping[str, Any],
        *,
        scale: float = 1.0,
        out: Any = None,
        configuration: Configuration | None = None,
    ) -> Any:
        """Return the cascade's result [..., P, F] for every head, computed in one pass, in float32 inside.

        Args:
            inputs: every input of the cascade by its name; those that change nothing may be left out. Queries
                [..., P, E], keys [..., M, E] and values [..., M, F] are float16 or bfloat16 CUDA tensors with the same
                leading axes (batch, heads), laid out so whatever order of ranks the cascade declares; a tiled view is
                given as the plain tensor that it views. Scalars are numbers, or tensors that hold one for every head;
                other inputs are tensors [..., P], [..., M] or [..., P, M] of any type. Leading axes of these may be
                left out or be 1.
            scale: factor of all matrix products of queries and keys; 1 is the cascade as written, models use E**-0.5.
            out: tensor [..., P, F] to write the result to, of the queries' type.
            configuration: kernel and tiles to use instead of those that are chosen.

        A query that sees no key gives zeros. Gradients are not computed.

        Raises:
            InputError: an input is missing or unknown; shapes, types or devices disagree; a head size is over 256;
                tensors need gradients; the scale is not finite; ``out`` cannot hold the result; the configuration is
                of a kernel for other cascades.
        """
        from kernels.gpu.generator.fused import as_input, attend

        fused = self.fused
        scale = check_scale(scale)
        torch = torch_module()
        self._check_names(inputs)
        tensors = {name: inputs[name] for name in fused.matrices}
        for name, x in tensors.items():
            check_tensor(torch, name, x)
        check_alike(tensors, fused.aliased)
        queries, values = tensors[fused.pairs[0][0]], tensors[self.form.values]
        lengths = {self.form.query_rank: queries.shape[-2], self.form.key_rank: values.shape[-2]}
        others = {}
        for x in fused.others:
            ranks = fused.ranks[x.tensor]
            others[x.tensor] = as_input(
                x.tensor, inputs[x.tensor], ranks, tuple(lengths[rank] for rank in ranks), queries
            )
        return attend(fused, tensors, others, scale, output_for(torch, out, queries, values), configuration)

    def _check_names(self, inputs: Mapping[str, Any]) -> None:
        ranks = self.fused.ranks
        for name in inputs:
            if name not in ranks and name not in self.unread:
                raise unknown("input", str(name), ranks)
        missing = [name for name in ranks if name not in inputs]
        if missing:
            listed = ", ".join(f"{name} [{', '.join(['...', *own])}]" for name, own in ranks.items())
            raise InputError(f"input {missing[0]} is missing", hint=f"'{self.form.name}' reads {listed}")


@lru_cache(maxsize=256)
def compiled(cascade: Cascade) -> FusedKernel:
    """Return a cascade as a fused GPU kernel: any that is like attention, whatever its names and number of passes.

    Args:
        cascade: a matrix product of queries and keys, elementwise operations and reductions over the keys, a matrix
            product with values; or the sum of two such over the same values.

    Raises:
        InputError: it is not like attention; the message says which Einsum does not fit, and why.
    """
    from kernels.gpu.generator.recognise import recognise

    form = recognise(cascade)
    views = dict(cascade.views)
    inputs = {views.get(tensor, tensor) for tensor in cascade.inputs}
    return FusedKernel(form, frozenset(inputs - {*form.tensors, *(x.tensor for x in form.inputs)}))
