"""Custom attention: a cascade as a fused GPU kernel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from einsum_cascades.errors import InputError, unknown
from einsum_cascades.ir import Cascade
from kernels.gpu.configurations import Configuration
from kernels.gpu.generator.emit import emitted
from kernels.gpu.generator.form import FusedAttention
from kernels.gpu.generator.recognise import recognise
from kernels.gpu.tensors import check_alike, check_tensor, output_for, torch_module


@dataclass(frozen=True)
class FusedKernel:
    """A cascade as a fused GPU kernel.

    Attributes:
        form: what it computes.
    """

    form: FusedAttention

    @property
    def inputs(self) -> dict[str, tuple[str, ...]]:
        """The ranks of every input as a call takes it, by name: lengths before sizes, queries before keys."""
        order = (self.form.query_rank, self.form.key_rank)
        others = {x.tensor: tuple(rank for rank in order if rank in x.ranks) for x in self.form.inputs}
        return {**self.form.tensors, **others}

    def source(self, dialect: str = "gluon") -> str:
        """Return the text of the functions that complete the kernel, in ``gluon`` (Hopper) or ``triton``."""
        return emitted(self.form, dialect).source

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
            inputs: every input of the cascade by its name. Queries [..., P, E], keys [..., M, E] and values
                [..., M, F] are float16 or bfloat16 CUDA tensors with the same leading axes (batch, heads), laid out so
                whatever order of ranks the cascade declares; a tiled view is given as the plain tensor that it views.
                Scalars are numbers, or tensors that hold one for every head; other inputs are tensors [..., P],
                [..., M] or [..., P, M] of any type. Leading axes of these may be left out or be 1.
            scale: factor of all matrix products of queries and keys; 1 is the cascade as written, models use E**-0.5.
            out: tensor [..., P, F] to write the result to, of the queries' type.
            configuration: kernel and tiles to use instead of those that are chosen.

        A query that sees no key gives zeros. Gradients are not computed.

        Raises:
            InputError: an input is missing or unknown; shapes, types or devices disagree; a head size is over 256;
                tensors need gradients; the scale is not finite; ``out`` cannot hold the result.
        """
        from kernels.gpu.generator import fused

        fused.check_scale(scale)
        torch = torch_module()
        self._check_names(inputs)
        tensors = {name: inputs[name] for name in self.form.tensors}
        for name, x in tensors.items():
            check_tensor(torch, name, x)
        check_alike(tensors, self._aliased())
        queries = tensors[self.form.streams[0].product.left.tensor]
        lengths = {self.form.query_rank: queries.shape[-2], self.form.key_rank: tensors[self.form.values].shape[-2]}
        others = {
            x.tensor: fused.as_input(x.tensor, inputs[x.tensor], ranks, tuple(lengths[r] for r in ranks), queries)
            for x in self.form.inputs
            for ranks in [self.inputs[x.tensor]]
        }
        result = output_for(torch, out, queries, tensors[self.form.values])
        return fused.attend(self.form, tensors, others, scale, result, configuration)

    def _check_names(self, inputs: Mapping[str, Any]) -> None:
        for name in inputs:
            if name not in self.inputs:
                raise unknown("input", str(name), self.inputs)
        missing = [name for name in self.inputs if name not in inputs]
        if missing:
            listed = ", ".join(f"{name} [{', '.join(['...', *ranks])}]" for name, ranks in self.inputs.items())
            raise InputError(f"input {missing[0]} is missing", hint=f"'{self.form.name}' reads {listed}")

    def _aliased(self) -> dict[str, tuple[str, str]]:
        """The ranks of queries, keys and values, with one name for the sizes that a kernel needs to be the same."""
        over = [stream.product.over for stream in self.form.streams]
        ranks = {name: tuple(over[0] if r in over else r for r in pair) for name, pair in self.form.tensors.items()}
        return {name: (pair[0], pair[1]) for name, pair in ranks.items()}


def compiled(cascade: Cascade) -> FusedKernel:
    """Return a cascade as a fused GPU kernel: any that is like attention, whatever its names and number of passes.

    Args:
        cascade: a matrix product of queries and keys, elementwise operations and reductions over the keys, a matrix
            product with values; or the sum of two such over the same values.

    Raises:
        InputError: it is not like attention; the message says which Einsum does not fit, and why.
    """
    return FusedKernel(recognise(cascade))
