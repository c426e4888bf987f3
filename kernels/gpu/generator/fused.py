"""Runs of fused kernels: arguments of the functions, the choice of a kernel, the launch."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from einsum_cascades.errors import InputError
from einsum_cascades.nodes import Extent, Number
from einsum_cascades.operators import OPERATORS
from kernels.gpu import launch
from kernels.gpu.configurations import Configuration, Shape, choose
from kernels.gpu.generator.build import built
from kernels.gpu.generator.emit import Scalar, Tensor, Text, emitted
from kernels.gpu.generator.form import FusedAttention
from kernels.gpu.generator.terms import Call, Input, Term
from kernels.gpu.tensors import four_axes, gpu_of, padded, padded_size, torch_module

_emitted = lru_cache(maxsize=1024)(emitted)


def attend(
    form: FusedAttention,
    tensors: Mapping[str, Any],
    others: Mapping[str, Any],
    scale: float,
    result: Any,
    configuration: Configuration | None,
) -> Any:
    """Compute a form; return ``result``, where it is written.

    Args:
        form: what is computed.
        tensors: queries, keys and values by name, checked.
        others: its other inputs by name, numbers or tensors, checked.
        scale: factor of all matrix products of queries and keys.
        result: tensor [..., P, F].
        configuration: kernel and tiles, or None for those that are chosen.
    """
    first, *more = [(tensors[s.product.left.tensor], tensors[s.product.right.tensor]) for s in form.streams]
    values = tensors[form.values]
    varying = frozenset(x.tensor for x in form.inputs if not x.ranks and not isinstance(others[x.tensor], float))
    sizes = {form.query_rank: first[0].shape[-2], form.key_rank: values.shape[-2]}
    sizes |= {form.value_rank: values.shape[-1]} | {s.product.over: first[0].shape[-1] for s in form.streams}
    leading = first[0].shape[:-2]
    factor = 1.0
    text = _emitted(form, "triton", varying)
    if text.factor is not None:
        factor = _number(text.factor, sizes, others, scale)
        if not factor > 0.0:
            first = (first[0] * float((factor > 0.0) - (factor < 0.0)), first[1])
            more = [(q * float((factor > 0.0) - (factor < 0.0)), k) for q, k in more]
            factor = abs(factor) or 1.0
    arguments = {
        dialect: (_emitted(form, dialect, varying), _arguments(_emitted(form, dialect, varying), sizes, others, scale, leading))
        for dialect in ("triton", "gluon")
    }
    launched("attention-1-pass", (*first, values), arguments, result, configuration, factor, second=more)
    return result


def launched(
    cascade: str,
    tensors: tuple[Any, Any, Any],
    codes: Mapping[str, tuple[Text, tuple[Any, ...]]] | None,
    result: Any,
    configuration: Configuration | None,
    factor: float,
    *,
    causal: bool = False,
    second: list[tuple[Any, Any]] | None = None,
) -> None:
    """Launch the kernel of a cascade on queries, keys and values [..., length, size]."""
    torch = torch_module()
    q, k, v = (padded(torch, four_axes(x)) for x in tensors)
    pairs = [tuple(padded(torch, four_axes(x)) for x in pair) for pair in second or ()]
    target = four_axes(result)
    if target.data_ptr() != result.data_ptr() or not launch.is_aligned(target):
        target = torch.empty((*target.shape[:3], padded_size(v)), dtype=q.dtype, device=q.device)
    batch, heads, q_len, _ = q.shape
    head_dim = min(x.shape[3] for x in (q, k, *(x for pair in pairs for x in pair)))
    value_dim = min(v.shape[3], target.shape[3])
    shape = Shape(batch, heads, q_len, k.shape[2], head_dim, value_dim, causal)
    gpu = gpu_of(q.device)
    read = (q, k, v, target, *(x for pair in pairs for x in pair))
    if configuration is None:
        aligned = all(map(launch.is_dense, read))
        configuration = choose(cascade, shape, gpu, aligned=aligned, streams=1 + len(pairs))
    work = launch.Work(q, k, v, target, factor, second=(pairs[0][0], pairs[0][1]) if pairs else None)
    if codes is not None:
        dialect = "gluon" if configuration.kernel == "one_pass_hopper" else "triton"
        text, args = codes[dialect]
        work = replace(work, code=built(text, dialect), args=args)
    launch.run(configuration, shape, gpu, work)
    if target.data_ptr() != result.data_ptr():
        result.copy_(target[..., : result.shape[-1]].reshape(result.shape))


# ---------------------------------------------------------------- arguments


def _arguments(
    text: Text, sizes: Mapping[str, int], others: Mapping[str, Any], scale: float, leading: tuple[int, ...]
) -> tuple[Any, ...]:
    found: list[Any] = []
    for argument in text.arguments:
        if isinstance(argument, Scalar):
            found.append(_number(argument, sizes, others, scale))
        elif isinstance(argument, Tensor):
            x = others[argument.tensor]
            own = len(argument.ranks)
            x = x.expand(*leading, *x.shape[x.ndim - own :])
            x = x[(None,) * (2 - len(leading))] if len(leading) < 2 else x.reshape(-1, *x.shape[len(leading) - 1 :])
            found += [x, *x.stride()]
        else:
            found.append(argument.rounded(evaluated(argument.constant, sizes, others)))
    return tuple(found)


def _number(scalar: Scalar, sizes: Mapping[str, int], others: Mapping[str, Any], scale: float) -> float:
    value = scalar.number * evaluated(scalar.term, sizes, others)
    return value * scale if scalar.scaled else value


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
    hint = f"expected [..., {', '.join(ranks)}] of sizes {lengths}" if ranks else "expected a number, or one for every head"
    if not ranks and isinstance(value, numbers.Real) and not isinstance(value, torch.Tensor):
        return float(value)
    if not isinstance(value, torch.Tensor):
        if not isinstance(value, np.ndarray):
            raise InputError(f"input {name} is {type(value).__name__}", hint=hint)
        value = torch.from_numpy(value)
    if not ranks and value.ndim == 0 and value.device.type == "cpu":
        return float(value)
    if value.is_complex():
        raise InputError(f"input {name} holds values of type {value.dtype}", hint="real numbers are needed")
    if value.requires_grad and torch.is_grad_enabled():
        raise InputError(f"input {name} needs gradients", hint="call under torch.no_grad(), or give x.detach()")
    own, leading = tuple(value.shape[value.ndim - len(ranks) :]), tuple(value.shape[: value.ndim - len(ranks)])
    wanted = like.shape[:-2]
    fits = len(leading) <= len(wanted) and all(
        a in (1, b) for a, b in zip(reversed(leading), reversed(wanted), strict=False)
    )
    if own != lengths or not fits:
        over = f" and leading axes {tuple(wanted)}" if wanted else ""
        raise InputError(f"input {name} has shape {tuple(value.shape)}", hint=hint + over)
    return value.to(like.device)


def check_scale(scale: float) -> None:
    """Check a factor of scores.

    Raises:
        InputError: it is not finite.
    """
    if not math.isfinite(scale):
        raise InputError(f"scale is {scale}", hint="expected a finite number")
