"""Random small cascades over one rank family, in the notation: plain, partitioned or iterative.

Inputs A, B, ... carry the whole family and s carries nothing. Values stay finite for inputs between 1 and 2.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from einsum_cascades.ir import Cascade
from einsum_cascades.load import parse_cascade

KINDS = ("plain", "partitioned", "iterative", "tiles")
"""One rank; two parts; one iterative rank; two parts, the outer one iterative."""

Carried = tuple[str, ...]
"""The variables of the family that a value carries, outermost first."""


@dataclass(frozen=True)
class _Operand:
    text: str
    carried: Carried


def random_cascade(seed: int, kind: str, *, steps: int = 5, inputs: int = 2) -> Cascade:
    """Return a cascade of up to ``steps`` Einsums that depends on nothing but the arguments.

    Args:
        seed: of the choices.
        kind: one of `KINDS`; a cascade of an iterative kind may turn out to have no running value.
        steps: most Einsums of the body, besides those that sum a tile for a running value.
        inputs: inputs that carry the family.
    """
    generator = random.Random(f"{seed} {kind} {steps} {inputs}")
    variables = ("k1", "k0") if kind in ("partitioned", "tiles") else ("k",)
    names = "ABCD"[:inputs]
    pool = [_Operand("s", ()), *(_Operand(f"{n}[{', '.join(variables)}]", variables) for n in names)]
    ranks: dict[str, Carried] = {"s": (), **dict.fromkeys(names, variables)}
    body: list[str] = []
    running: list[str] = []
    for number in range(generator.randint(2, steps)):
        expression, walked = _expression(generator, pool, must_walk=number == 0)
        if walked and kind in ("iterative", "tiles") and generator.random() < 0.35:
            tensor, part = f"R{number}", variables[0]
            if walked != (part,):
                body.append(f"L{number}[{part}] = {expression}")
                expression = f"L{number}[{part}]"
                ranks[f"L{number}"] = (part,)
            body.append(f"{tensor}[{part}+1] = {tensor}[{part}] + {expression}")
            ranks[tensor] = (part,)
            running.append(tensor)
            pool += [_Operand(f"{tensor}[{index}]", (part,)) for index in (part, f"{part}+1")]
            pool.append(_Operand(f"{tensor}[{part.upper()}]", ()))
            continue
        kept = walked[: generator.randint(0, len(walked))]
        output = _Operand(f"T{number}[{', '.join(kept)}]" if kept else f"T{number}", kept)
        folds = generator.choice(("", f" :: reduce({', '.join(walked[len(kept) :])}) max")) if kept != walked else ""
        body.append(f"{output.text} = {expression}{folds}")
        ranks[f"T{number}"] = kept
        pool.append(output)
    return parse_cascade(_text(f"random-{kind}-{seed}", ranks, variables, body, running))


def _expression(generator: random.Random, pool: Sequence[_Operand], must_walk: bool) -> tuple[str, Carried]:
    """One to three operands, late ones more often, and what they walk over together."""
    while True:
        weights = [1 + 3 * i / len(pool) for i in range(len(pool))]
        picked = list(dict.fromkeys(generator.choices(pool, weights, k=generator.choice((1, 2, 2, 3)))))
        walked = max((o.carried for o in picked), key=len)
        if walked or not must_walk:
            break
    operator = generator.choice((" + ", " * ", " - "))
    terms = operator.join(o.text for o in picked)
    return (f"tanh({terms})" if len(picked) > 1 or generator.random() < 0.5 else terms), walked


def _text(name: str, ranks: dict[str, Carried], variables: Carried, body: Sequence[str], running: Sequence[str]) -> str:
    read = " ".join(body)
    used = {t: r for t, r in ranks.items() if t in read}
    lines = [f"name: {name}", "declaration:"]
    lines += [f"  {tensor}: [{', '.join(carried).upper()}]" for tensor, carried in used.items()]
    if len(variables) > 1:
        lines.append("partition: {K: [K1, K0]}")
    if running:
        lines += ["init:", *(f"  - {tensor}[0] = 0" for tensor in running)]
    lines += ["expressions:", *(f'  - "{line}"' for line in body)]
    if running:
        lines.append(f"stop: {variables[0]} >= {variables[0].upper()}")
    return "\n".join(lines) + "\n"
