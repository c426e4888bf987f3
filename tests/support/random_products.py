"""Random small cascades of products and sums over up to four ranks, with sizes of two to four."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from einsum_cascades.ir import Cascade
from einsum_cascades.load import parse_cascade


def random_products(seed: int, *, points: int = 24) -> tuple[Cascade, dict[str, int]]:
    """Return a cascade of one to three Einsums with at most so many points in all, and the size of each rank."""
    generator = random.Random(f"products {seed}")
    while True:
        cascade = parse_cascade(_text(generator))
        ranks = sorted({rank for einsum in cascade.body for rank in einsum.ranks})
        sizes = {rank: generator.choice((2, 2, 3, 4)) for rank in ranks}
        if sum(math.prod(sizes[r] for r in einsum.ranks) for einsum in cascade.body) <= points:
            return cascade, sizes


def _text(generator: random.Random) -> str:
    ranks = "EMPF"[: generator.choice((2, 3, 3, 4))]
    declared: dict[str, list[str]] = {}
    expressions: list[str] = []
    for number in range(generator.choice((1, 2, 2, 2, 3))):
        operands = _operands(generator, declared, ranks, number)
        walked = sorted({rank for tensor in operands for rank in declared[tensor]})
        declared[f"T{number}"] = [r for r in walked if generator.random() < 0.7]
        terms = " * ".join(_access(tensor, declared[tensor]) for tensor in operands)
        expressions.append(f"'{_access(f'T{number}', declared[f'T{number}'])} = {terms}'")
    lines = ", ".join(f"{tensor}: [{', '.join(own)}]" for tensor, own in declared.items())
    return f"{{declaration: {{{lines}}}, expressions: [{', '.join(expressions)}]}}"


def _operands(generator: random.Random, declared: dict[str, list[str]], ranks: str, number: int) -> list[str]:
    """What an Einsum reads: the result before it, most often, and inputs, new ones most often."""
    found = [f"T{number - 1}"] if number and generator.random() < 0.8 else []
    for _ in range(generator.choice((1, 2)) - len(found) + (not found)):
        inputs = [tensor for tensor in declared if tensor[0] == "I" and tensor not in found]
        if inputs and generator.random() < 0.25:
            found.append(generator.choice(inputs))
        else:
            name = f"I{sum(tensor[0] == 'I' for tensor in declared)}"
            declared[name] = sorted(generator.sample(ranks, min(len(ranks), generator.choice((1, 2, 2, 2, 3)))))
            found.append(name)
    return found


def _access(tensor: str, ranks: Sequence[str]) -> str:
    return f"{tensor}[{', '.join(rank.lower() for rank in ranks)}]" if ranks else tensor
