"""Random cascades of a few Einsums over a few ranks, as text: products of any shape, split ranks, views, fibers.

Unlike ``random_cascades.py`` they need not run; each is text that the notation reads or refuses.
"""

from __future__ import annotations

import random
import re

RANKS = ("E", "F", "K", "P", "M", "B")
Declared = dict[str, list[str]]


def random_einsums(seed: int) -> str:
    """Return the YAML of a cascade that depends on nothing but the seed."""
    generator = random.Random(f"einsums {seed}")
    declared, partition, views = _inputs(generator)
    expressions = []
    for number in range(generator.randint(1, 6)):
        name = f"T{number}"
        text = _product(generator, declared) if generator.random() < 0.6 else _nested(generator, declared, 0)
        subscripts = [v for found in re.findall(r"\[([^\]]*)\]", text) for v in found.split(", ") if v]
        walked = list(dict.fromkeys(subscripts))
        kept = [v for v in walked if generator.random() < (0.9 if subscripts.count(v) == 1 else 0.5)]
        lost = ", ".join(v for v in walked if v not in kept)
        fold = (
            f" :: reduce({lost}) {generator.choice(('max', 'min', '*'))}" if lost and generator.random() < 0.2 else ""
        )
        declared[name] = [v.upper() for v in kept]
        expressions.append(f"  - '{_access(name, declared)} = {text}{fold}'\n")
    lines = ["declaration: {" + ", ".join(f"{t}: [{', '.join(r)}]" for t, r in declared.items()) + "}\n"]
    lines += [f"partition: {{{rank}: [{', '.join(parts)}]}}\n" for rank, parts in partition.items()]
    lines += ["views: {" + ", ".join(f"{t}: {p}" for t, p in views.items()) + "}\n"] if views else []
    return "".join([*lines, "expressions:\n", *expressions])


def _inputs(generator: random.Random) -> tuple[Declared, Declared, dict[str, str]]:
    """Declared inputs, how a rank is split, and which inputs are views."""
    base = generator.sample(RANKS, generator.randint(2, 4))
    partition: Declared = {}
    views: dict[str, str] = {}
    if generator.random() < 0.4:
        whole = base.pop()
        partition[whole] = [f"{whole}1", f"{whole}0"]
        base += partition[whole] + [whole] * (generator.random() < 0.3)
    declared: Declared = {}
    for name in "ACD"[: generator.randint(2, 3)]:
        ranks = generator.sample(base, min(len(base), generator.choice((0, 1, 2, 2, 2, 3))))
        for whole, parts in partition.items():
            if generator.random() < 0.5:
                ranks = [r for r in ranks if r not in (whole, *parts)] + parts
                views[name] = f"V{name}"
                if generator.random() < 0.7:
                    declared[f"V{name}"] = [r for r in ranks if r not in parts] + [whole]
        declared[name] = ranks
    return declared, partition, views


def _access(name: str, declared: Declared) -> str:
    ranks = declared[name]
    return f"{name}[{', '.join(r.lower() for r in ranks)}]" if ranks else name


def _product(generator: random.Random, declared: Declared) -> str:
    names = generator.choices(list(declared), k=generator.choice((2, 2, 2, 3)))
    return " * ".join(_access(name, declared) for name in names)


def _nested(generator: random.Random, declared: Declared, depth: int) -> str:
    def inner() -> str:
        return _nested(generator, declared, depth + 1)

    choice = generator.random()
    if depth > 2 or choice < 0.35:
        return _access(generator.choice(list(declared)), declared) if generator.random() < 0.9 else "2"
    if choice < 0.7:
        return f"({inner()} {generator.choice('+-*/')} {inner()})"
    if choice < 0.85:
        return f"{generator.choice(('exp', 'log', 'sqrt', 'tanh', 'sigmoid', 'abs'))}({inner()})"
    if choice < 0.93:
        return f"max({inner()}, {inner()})"
    return f"where({inner()} < {inner()}, {inner()}, {inner()})"
