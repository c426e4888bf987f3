"""Custom attention on a GPU: kernels generated from the library's cascades beside PyTorch's FlexAttention, in one run.

FlexAttention (J. Dong et al., "Flex Attention: A Programming Model for Generating Optimized Attention Kernels", 2024)
compiles a function of a score and a mask; what it cannot express, weights without a softmax and differences of two, is
timed without it. Inputs are bfloat16 and normally distributed, scores are scaled by E**-0.5, as many queries as keys.
The error is ``|ours - reference| / |reference|`` in the Euclidean norm, against float64.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil, exp, log
from typing import Any, Final

from einsum_cascades.load import load_cascade
from kernels.gpu.generator.compiled import compiled
from kernels.measure.environment import today
from kernels.measure.gpu import TOLERANCE
from kernels.measure.gpu_timing import ROTATED_BYTES, gpu_name, gpu_software, timed_in_turns
from kernels.measure.shapes import Shape
from kernels.measure.table import Measurement

HEADS: Final = 16
TOKENS: Final = 2**14
LENGTHS: Final = (2048, 4096, 16384)
HEAD_DIMS: Final = (64, 128)
WINDOW: Final = 1024
CAP: Final = 20.0
LAMBDA: Final = 0.8
_CHECKED: Final = 128
"""Queries of a head that a result is checked for."""

Score = Callable[[Any, Any, Any, Any], Any]
"""A score from one, its head, query and key."""
Seen = Callable[[Any, Any], Any]
"""Whether a query sees a key."""


def _slope(head: Any) -> Any:
    """The slope of a head's bias, 2**(-8 (h + 1) / heads)."""
    return (-(head + 1) * (8.0 / HEADS)).exp2()


def _alibi(score: Any, head: Any, query: Any, key: Any) -> Any:
    return score + _slope(head) * (key - query)


def _capped(score: Any, head: Any, query: Any, key: Any) -> Any:
    return CAP * (score / CAP).tanh()


def _causal(query: Any, key: Any) -> Any:
    return key <= query


def _window(query: Any, key: Any) -> Any:
    return (key <= query) & (query - key < WINDOW)


@dataclass(frozen=True)
class Variant:
    """A kind of attention, stated for FlexAttention and for float64.

    Attributes:
        cascade: the library's name.
        scalars: inputs besides queries, keys and values.
        score: what becomes of a score, or None.
        seen: which keys are seen, or None for all.
        pairs: sets of queries and keys.
        softmax: whether the weights are a softmax of the scores; if not, their sigmoid less log(M).
    """

    cascade: str
    scalars: Mapping[str, float]
    score: Score | None = None
    seen: Seen | None = None
    pairs: int = 1
    softmax: bool = True

    @property
    def flexible(self) -> bool:
        """Whether FlexAttention can express it."""
        return self.softmax and self.pairs == 1


VARIANTS: Final = (
    Variant("attention-1-pass", {}),
    Variant("attention-causal", {}, seen=_causal),
    Variant("attention-alibi", {}, score=_alibi, seen=_causal),
    Variant("attention-soft-cap", {"CAP": CAP}, score=_capped),
    Variant("attention-sliding-window", {"W": WINDOW}, seen=_window),
    Variant("attention-sigmoid", {}, softmax=False),
    Variant("attention-differential", {"LAMBDA": LAMBDA}, pairs=2),
)
CUSTOM_SHAPES: Final = tuple(
    Shape(TOKENS // length, HEADS, length, length, head_dim) for head_dim in HEAD_DIMS for length in LENGTHS
)


def measure_custom(
    shapes: Sequence[Shape] = CUSTOM_SHAPES,
    variants: Sequence[Variant] = VARIANTS,
    *,
    repeats: int = 20,
    report: Callable[[str], None] = lambda text: None,
) -> Iterator[Measurement]:
    """Check all kinds of attention on a shape, then time them; shape after shape.

    Args:
        shapes: what to time; as many queries as keys.
        variants: the kinds.
        repeats: rounds, in which the generated kernel and FlexAttention have their turns.
        report: told what is being measured, and the errors.

    Raises:
        ArithmeticError: a generated kernel is wrong.
    """
    device, versions = gpu_name(), gpu_software()
    for number, shape in enumerate(shapes, start=1):
        inputs = _inputs(shape)
        for variant in variants:
            kernels = kernels_for(variant, shape)
            found = {name: error(variant, kernel, inputs[0]) for name, kernel in kernels.items()}
            listed = ", ".join(f"{name} {value:.1e}" for name, value in found.items())
            report(f"shape {number} of {len(shapes)}: {variant.cascade} on {shape}: errors {listed}")
            if not found["generated"] < TOLERANCE:
                wrong = f"{found['generated']:.3g}, not under {TOLERANCE}"
                raise ArithmeticError(f"the kernel of {variant.cascade} is wrong on {shape}: error {wrong}")
            works = {name: [partial(kernel, x) for x in inputs] for name, kernel in kernels.items()}
            for name, timing in timed_in_turns(works, repeats).items():
                yield Measurement(
                    device=device,
                    kernel=name,
                    cascade=variant.cascade,
                    dtype="bfloat16",
                    batch=shape.batch,
                    heads=shape.heads,
                    q_len=shape.q_len,
                    kv_len=shape.kv_len,
                    head_dim=shape.head_dim,
                    causal=variant.seen is not None,
                    median_s=timing.median_s,
                    min_s=timing.min_s,
                    repeats=len(timing.seconds),
                    software=versions,
                    date=today(),
                )


def kernels_for(variant: Variant, shape: Shape) -> dict[str, Callable[[Any], Any]]:
    """Return the generated kernel and, where it can express the variant, FlexAttention, as functions of tensors."""
    torch: Any = importlib.import_module("torch")
    kernel = compiled(load_cascade(variant.cascade))
    names = [name for s in kernel.form.streams for name in (s.product.left.tensor, s.product.right.tensor)]
    order = sorted(range(len(kernel.form.streams)), key=lambda i: names[2 * i])
    scalars: dict[str, Any] = dict(variant.scalars)
    if variant.score is _alibi:
        scalars["SLOPE"] = _slope(torch.arange(shape.heads, device="cuda"))
    scale = shape.head_dim**-0.5

    def generated(tensors: Sequence[Any]) -> Any:
        q, k, v, *second = tensors
        pairs = ((q, k), tuple(second))
        given = {names[2 * i + j]: x for place, i in enumerate(order) for j, x in enumerate(pairs[place])}
        return kernel({**given, kernel.form.values: v, **scalars}, scale=scale)

    found: dict[str, Callable[[Any], Any]] = {"generated": generated}
    if variant.flexible:
        found["flex"] = _flex(torch, variant, shape, scale)
    return found


def _flex(torch: Any, variant: Variant, shape: Shape, scale: float) -> Callable[[Any], Any]:
    """FlexAttention, compiled for one variant and shape."""
    module: Any = importlib.import_module("torch.nn.attention.flex_attention")
    torch._dynamo.reset()
    compiled_flex = torch.compile(module.flex_attention, dynamic=False)
    score, seen = variant.score, variant.seen
    modify = None if score is None else lambda s, b, h, i, j: score(s, h, i, j)
    blocks = None
    if seen is not None:
        blocks = module.create_block_mask(
            lambda b, h, i, j: seen(i, j), None, None, shape.q_len, shape.kv_len, device="cuda"
        )

    def flex(tensors: Sequence[Any]) -> Any:
        with torch.no_grad():
            return compiled_flex(*tensors[:3], score_mod=modify, block_mask=blocks, scale=scale)

    return flex


def error(variant: Variant, kernel: Callable[[Any], Any], tensors: Sequence[Any]) -> float:
    """Return a kernel's error on some of the queries of every head, the first and the last among them."""
    torch: Any = importlib.import_module("torch")
    q, k, v, *second = tensors
    length = q.shape[2]
    rows = torch.randperm(length, device=q.device)[:_CHECKED]
    rows[0], rows[-1] = 0, length - 1
    result = kernel(tensors)
    difference = norm = 0.0
    for b in range(q.shape[0]):
        for h in range(q.shape[1]):
            expected = _weights(torch, variant, h, rows, q[b, h], k[b, h])
            if variant.pairs == 2:
                expected = expected - LAMBDA * _weights(torch, variant, h, rows, second[0][b, h], second[1][b, h])
            expected = expected @ v[b, h].double()
            difference += float((result[b, h, rows] - expected).square().sum())
            norm += float(expected.square().sum())
    return float((difference / norm) ** 0.5)


def _weights(torch: Any, variant: Variant, head: int, rows: Any, q: Any, k: Any) -> Any:
    """The weights of some queries of a head in float64."""
    queries, keys = rows[:, None], torch.arange(k.shape[0], device=q.device)[None, :]
    scores = q[rows].double() @ k.double().T * q.shape[1] ** -0.5
    if variant.score is not None:
        scores = variant.score(scores, torch.tensor(head, device=q.device), queries, keys)
    if not variant.softmax:
        return torch.sigmoid(scores - log(k.shape[0]))
    if variant.seen is not None:
        scores = scores.masked_fill(~variant.seen(queries, keys), -torch.inf)
    return torch.softmax(scores, -1)


def _inputs(shape: Shape) -> list[tuple[Any, ...]]:
    """Sets of random q, k, v and second q, k that together are much larger than a cache."""
    torch: Any = importlib.import_module("torch")
    size = (shape.batch, shape.heads, shape.q_len, shape.head_dim)
    sets = max(2, ceil(ROTATED_BYTES / (6 * shape.batch * shape.heads * shape.q_len * shape.head_dim)))
    return [
        tuple(torch.randn(size, dtype=torch.bfloat16, device="cuda") for _ in range(5)) for _ in range(min(8, sets))
    ]


def against_flex(rows: Sequence[Measurement]) -> dict[str, float]:
    """Return, by cascade, the geometric mean over shapes of FlexAttention's time over the generated kernel's."""
    times = {(row.device, row.cascade, row.shape, row.kernel): row.median_s for row in rows}
    ratios: dict[str, list[float]] = {}
    for (device, cascade, shape, kernel), seconds in times.items():
        own = times.get((device, cascade, shape, "generated"))
        if kernel == "flex" and own is not None:
            ratios.setdefault(cascade, []).append(seconds / own)
    return {cascade: _geometric_mean(values) for cascade, values in ratios.items()}


def against_plain(rows: Sequence[Measurement]) -> dict[str, float]:
    """Return, by cascade that FlexAttention cannot express, its rate for the same products over the plain kernel's."""
    times = {(row.device, row.cascade, row.shape): row.median_s for row in rows if row.kernel == "generated"}
    pairs = {variant.cascade: variant.pairs for variant in VARIANTS if not variant.flexible}
    ratios: dict[str, list[float]] = {}
    for (device, cascade, shape), seconds in times.items():
        plain = times.get((device, VARIANTS[0].cascade, shape))
        if cascade in pairs and plain is not None:
            ratios.setdefault(cascade, []).append(pairs[cascade] * plain / seconds)
    return {cascade: _geometric_mean(values) for cascade, values in ratios.items()}


def _geometric_mean(values: Sequence[float]) -> float:
    return exp(sum(map(log, values)) / len(values))
