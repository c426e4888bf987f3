"""Runs of fused kernels: the arguments of their functions, the choice of a kernel, the launch.

What a call works out is kept for the next with the same sizes and numbers: few queries take a kernel microseconds.
"""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from einsum_cascades.errors import InputError
from einsum_cascades.nodes import Extent, Number
from einsum_cascades.operators import OPERATORS
from kernels.gpu import launch
from kernels.gpu.code import Code
from kernels.gpu.configurations import MODULES, Configuration, Shape, check_kernel, choose
from kernels.gpu.generator.build import built
from kernels.gpu.generator.emit import Text, emitted
from kernels.gpu.generator.expressions import Scalar, Size, Tensor
from kernels.gpu.generator.form import FusedAttention, simple
from kernels.gpu.generator.terms import Call, Input, Term
from kernels.gpu.tensors import as_float, four_axes, gpu_of, padded, padded_size, torch_module

_MOST_KEPT = 256
_COMPLETED = ("one_pass", "split_keys", "one_pass_hopper")
"""Kernels that run a form; the others compute softmax attention in more passes."""


class Fused:
    """A form, with what follows from it.

    Attributes:
        form: what is computed.
        ranks: the ranks of every input as a call takes it, by name: lengths before sizes, queries before keys.
        matrices: names of queries, keys and values.
        others: the inputs besides these.
    """

    def __init__(self, form: FusedAttention) -> None:
        self.form = form
        order = (form.query_rank, form.key_rank)
        self.others = form.inputs
        self.matrices = form.tensors
        own = {x.tensor: tuple(rank for rank in order if rank in x.ranks) for x in self.others}
        self.ranks: dict[str, tuple[str, ...]] = {**self.matrices, **own}
        self.pairs = [(s.product.left.tensor, s.product.right.tensor) for s in form.streams]
        self._texts: dict[tuple[str, frozenset[str]], Text] = {}
        self._codes: dict[tuple[str, frozenset[str]], Code] = {}
        self._numbers: dict[Any, tuple[float, tuple[float, ...]]] = {}

    @cached_property
    def scalars(self) -> tuple[str, ...]:
        """Inputs without ranks."""
        return tuple(x.tensor for x in self.others if not x.ranks)

    def score_bytes(self, given: Mapping[str, Any]) -> int:
        """Return the bytes of the inputs that are read for every score."""
        return sum(int(given[x.tensor].element_size()) for x in self.others if len(x.ranks) > 1)

    @cached_property
    def aliased(self) -> dict[str, tuple[str, str]]:
        """The ranks of queries, keys and values, with one name for the sizes that a kernel needs to be the same."""
        over = [stream.product.over for stream in self.form.streams]
        ranks = {name: tuple(over[0] if r in over else r for r in pair) for name, pair in self.matrices.items()}
        return {name: (pair[0], pair[1]) for name, pair in ranks.items()}

    def text(self, dialect: str, varying: frozenset[str]) -> Text:
        """Return the functions' text, where some scalars vary among heads."""
        key = dialect, varying
        if key not in self._texts:
            self._texts[key] = emitted(self.form, dialect, varying)
        return self._texts[key]

    def code(self, dialect: str, varying: frozenset[str]) -> Code:
        """Return the functions."""
        key = dialect, varying
        if key not in self._codes:
            self._codes[key] = built(self.text(dialect, varying), dialect)
        return self._codes[key]

    def numbers(
        self,
        dialect: str,
        varying: frozenset[str],
        sizes: tuple[int, int, int, int],
        given: Mapping[str, Any],
        scale: float,
    ) -> tuple[float, tuple[float, ...]]:
        """Return the factor of the scores, and the arguments that are numbers.

        Args:
            dialect, varying: of the text.
            sizes: P, M, E and F.
            given: the inputs besides queries, keys and values.
            scale: factor of the products.
        """
        scalars = tuple(given[name] for name in self.scalars if name not in varying)
        key = dialect, varying, sizes, scalars, scale
        if key not in self._numbers:
            if len(self._numbers) >= _MOST_KEPT:
                self._numbers.clear()
            self._numbers[key] = self._computed(self.text(dialect, varying), sizes, given, scale)
        return self._numbers[key]

    def _computed(
        self, text: Text, sizes: tuple[int, int, int, int], given: Mapping[str, Any], scale: float
    ) -> tuple[float, tuple[float, ...]]:
        form = self.form
        table = dict(
            zip((form.query_rank, form.key_rank, form.value_rank), (sizes[0], sizes[1], sizes[3]), strict=True)
        )
        table |= {s.product.over: sizes[2] for s in form.streams}

        def value(scalar: Scalar) -> float:
            return scalar.number * evaluated(scalar.term, table, given) * (scale if scalar.scaled else 1.0)

        found: list[float] = []
        for argument in text.arguments:
            if isinstance(argument, Scalar):
                found.append(value(argument))
            elif isinstance(argument, Size):
                found.append(table[argument.rank])
            elif not isinstance(argument, Tensor):
                found.append(argument.rounded(evaluated(argument.constant, table, given)))
        return 1.0 if text.factor is None else value(text.factor), tuple(found)

    def arguments(
        self,
        dialect: str,
        varying: frozenset[str],
        values: tuple[float, ...],
        given: Mapping[str, Any],
        leading: tuple[int, ...],
    ) -> tuple[Any, ...]:
        """Return all arguments in order: numbers, and tensors with their strides."""
        waiting = iter(values)
        found: list[Any] = []
        for argument in self.text(dialect, varying).arguments:
            if not isinstance(argument, Tensor):
                found.append(next(waiting))
                continue
            x = _readable(given[argument.tensor], len(argument.ranks))
            x = x.expand(*leading, *x.shape[x.ndim - len(argument.ranks) :])
            x = x[(None,) * (2 - len(leading))] if len(leading) < 2 else x.reshape(-1, *x.shape[len(leading) - 1 :])
            found += [x, *x.stride()]
        return tuple(found)


@lru_cache(maxsize=2)
def plain(causal: bool) -> Fused:
    """Return softmax attention."""
    return Fused(simple(causal=causal))


def attend(
    fused: Fused,
    tensors: Mapping[str, Any],
    others: Mapping[str, Any],
    scale: float,
    result: Any,
    configuration: Configuration | None,
) -> Any:
    """Compute a form in one pass; return ``result``, where it is written.

    Args:
        fused: what is computed.
        tensors: queries, keys and values by name, checked.
        others: its other inputs by name, floats or tensors, checked.
        scale: factor of all matrix products of queries and keys.
        result: tensor [..., P, F].
        configuration: kernel and tiles, or None for those that are chosen.
    """
    varying = frozenset(name for name in fused.scalars if not isinstance(others[name], float))
    (q, k), *more = [(tensors[a], tensors[b]) for a, b in fused.pairs]
    v = tensors[fused.form.values]
    sizes = q.shape[-2], v.shape[-2], q.shape[-1], v.shape[-1]
    leading = tuple(q.shape[:-2])
    factor, _ = fused.numbers("triton", varying, sizes, others, scale)
    if not factor > 0.0:
        sign = float((factor > 0.0) - (factor < 0.0))
        q, more = q * sign, [(a * sign, b) for a, b in more]
    shape, work, target = prepared((q, k, v), more, result, abs(factor) or 1.0)
    if configuration is None:
        configuration = _chosen("attention-1-pass", shape, work, 1 + len(more), fused.score_bytes(others))
    else:
        check_kernel(configuration, _COMPLETED if not more else tuple(x for x in _COMPLETED if x != "split_keys"))
    dialect = "gluon" if configuration.kernel == "one_pass_hopper" else "triton"
    _, values = fused.numbers(dialect, varying, sizes, others, scale)
    code, args = fused.code(dialect, varying), fused.arguments(dialect, varying, values, others, leading)
    launch.run(configuration, shape, gpu_of(q.device), work.completed(code, args))
    return copied(target, result)


def attend_in_passes(
    cascade: str,
    tensors: tuple[Any, Any, Any],
    causal: bool,
    scale: float,
    result: Any,
    configuration: Configuration | None,
) -> Any:
    """Compute softmax attention by a cascade of two or three passes; see `attend`."""
    q, k, v = tensors
    if scale <= 0.0:
        q = q * float((scale > 0.0) - (scale < 0.0))
    shape, work, target = prepared((q, k, v), [], result, launch.LOG2_E * (abs(scale) or 1.0), causal=causal)
    if configuration is None:
        configuration = _chosen(cascade, shape, work, 1, 0)
    else:
        check_kernel(configuration, (MODULES[cascade],))
    launch.run(configuration, shape, gpu_of(q.device), work)
    return copied(target, result)


def _chosen(cascade: str, shape: Shape, work: launch.Work, streams: int, score_bytes: int) -> Configuration:
    aligned = all(map(launch.is_dense, (*work.tensors, *work.others)))
    gpu = gpu_of(work.q.device)
    return choose(cascade, shape, gpu, aligned=aligned, streams=streams, score_bytes=score_bytes)


def prepared(
    tensors: tuple[Any, Any, Any], more: list[tuple[Any, Any]], result: Any, factor: float, *, causal: bool = False
) -> tuple[Shape, launch.Work, Any]:
    """Return tensors as kernels take them: the shape, the work, and where its result goes."""
    torch = torch_module()
    q, k, v = (padded(torch, four_axes(x)) for x in tensors)
    second = [(padded(torch, four_axes(a)), padded(torch, four_axes(b))) for a, b in more]
    target = four_axes(result)
    if target.data_ptr() != result.data_ptr() or not launch.is_aligned(target):
        target = torch.empty((*target.shape[:3], padded_size(v)), dtype=q.dtype, device=q.device)
    batch, heads, q_len, _ = q.shape
    head_dim = min(x.shape[3] for x in (q, k, *(x for pair in second for x in pair)))
    shape = Shape(batch, heads, q_len, k.shape[2], head_dim, min(v.shape[3], target.shape[3]), causal)
    return shape, launch.Work(q, k, v, target, factor, second=second[0] if second else None), target


def copied(target: Any, result: Any) -> Any:
    """Return a result, copied there from where a kernel wrote it if that is another place."""
    if target.data_ptr() != result.data_ptr():
        result.copy_(target[..., : result.shape[-1]].reshape(result.shape))
    return result


def _readable(x: Any, ranks: int) -> Any:
    """Return an input whose rows, if it has a value for every score, start where loads of many values can."""
    if ranks < 2 or x.element_size() >= 4 or launch.is_aligned(x[(None,) * max(0, 4 - x.ndim)].flatten(0, -4)):
        return x
    copy = torch_module().zeros((*x.shape[:-1], padded_size(x)), dtype=x.dtype, device=x.device)[..., : x.shape[-1]]
    copy[...] = x
    return copy


# ---------------------------------------------------------------- inputs


def evaluated(term: Term, sizes: Mapping[str, int], inputs: Mapping[str, Any]) -> float:
    """Return the value of a term that is the same everywhere, in float64."""
    if isinstance(term, Number):
        return term.value
    if isinstance(term, Extent):
        return float(sizes[term.rank])
    if isinstance(term, Input):
        return float(inputs[term.tensor])
    if isinstance(term, Call):
        with np.errstate(all="ignore"):
            operands = (np.float64(evaluated(x, sizes, inputs)) for x in term.operands)
            return float(OPERATORS[term.operator].numpy(*operands))
    raise TypeError(f"{term} is not the same everywhere")


def as_input(name: str, value: Any, ranks: tuple[str, ...], lengths: tuple[int, ...], like: Any) -> Any:
    """Return an input other than queries, keys and values as kernels read it: a float, or a tensor of the same device.

    Args:
        name: its name.
        value: what was given.
        ranks: its ranks, queries before keys.
        lengths: their sizes.
        like: the queries.

    Raises:
        InputError: it has another type or shape.
    """
    torch = torch_module()
    hint = f"expected [..., {', '.join(ranks)}] of sizes {lengths}" if ranks else "expected a number, or one per head"
    if not ranks and isinstance(value, numbers.Real) and not isinstance(value, torch.Tensor):
        return as_float(f"input {name}", value)
    if not isinstance(value, torch.Tensor):
        if not isinstance(value, np.ndarray):
            raise InputError(f"input {name} is {type(value).__name__}", hint=hint)
        if value.dtype.kind not in "biufc":
            raise InputError(f"input {name} holds values of type {value.dtype}", hint="real numbers are needed")
        value = torch.from_numpy(value)
    if value.is_complex():
        raise InputError(f"input {name} holds values of type {value.dtype}", hint="real numbers are needed")
    if value.requires_grad and torch.is_grad_enabled():
        raise InputError(f"input {name} needs gradients", hint="call under torch.no_grad(), or give x.detach()")
    if not ranks and value.ndim == 0 and value.device.type == "cpu":
        return float(value)
    own, leading = tuple(value.shape[value.ndim - len(ranks) :]), tuple(value.shape[: value.ndim - len(ranks)])
    wanted = like.shape[:-2]
    pairs = zip(reversed(leading), reversed(wanted), strict=False)
    if own != lengths or len(leading) > len(wanted) or not all(a in (1, b) for a, b in pairs):
        over = f" and leading axes {tuple(wanted)}" if wanted else ""
        raise InputError(f"input {name} has shape {tuple(value.shape)}", hint=hint + over)
    return value.to(like.device)
