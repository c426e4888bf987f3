"""Random cascades over several ranks, and the comparison of a compiled cascade with the interpreter."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from einsum_cascades.interpreter import run
from einsum_cascades.ir import Cascade
from einsum_cascades.load import parse_cascade
from einsum_cascades.operations import complete_sizes
from kernels.compiler.compiled import Tiling, compile_cascade

TILINGS = (Tiling(), Tiling(block=2, rows=2, workers=2))
"""All values in one block, and blocks and groups of rows that are smaller than any rank."""

SIZES = {"P": 3, "E": 2, "F": 4, "K": 6, "K1": 2, "K0": 3, "T": 4}


@pytest.fixture
def same() -> Callable[..., None]:
    """Return the check that a cascade run as plain Python gives what the interpreter gives."""
    return assert_same


@pytest.fixture(name="random_program")
def _random_program() -> Callable[[int], tuple[Cascade, dict[str, Any], dict[str, int]]]:
    """Return the function that makes a cascade of a seed, inputs for it and rank sizes."""
    return random_program


@pytest.fixture(scope="session", name="instance")
def _instance() -> Callable[..., dict[str, Any]]:
    """Return the function that draws inputs for a cascade and rank sizes."""
    return instance


def instance(cascade: Cascade, draw: np.random.Generator, dtype: str = "float64", **sizes: int) -> dict[str, Any]:
    """Inputs that the cascades of the library give finite results for, under the tensors' own names."""
    sizes = complete_sizes(cascade, sizes)
    given = [t for t in cascade.inputs if dict(cascade.views).get(t) not in cascade.ranks_of]
    return {t: draw.uniform(0.5, 1.5, [sizes[r] for r in cascade.ranks_of[t]]).astype(dtype) for t in given}


def assert_same(
    cascade: Cascade,
    inputs: Mapping[str, Any],
    sizes: Mapping[str, int] | None = None,
    *,
    jit: bool = False,
    tilings: Sequence[Tiling] = TILINGS,
    rtol: float = 1e-11,
    each: bool = False,
) -> None:
    """Compare the results alone, all tensors together and, if ``each``, every tensor alone."""
    expected = run(cascade, inputs, sizes=sizes)
    choices = [None, tuple(expected), *((tensor,) for tensor in expected if each)]
    for tiling in tilings:
        for outputs in choices:
            found = compile_cascade(cascade, outputs=outputs, jit=jit, tiling=tiling).run(inputs, sizes)
            assert tuple(found) == (cascade.outputs if outputs is None else outputs)
            for tensor, array in found.items():
                assert array.dtype == expected[tensor].dtype
                np.testing.assert_allclose(array, expected[tensor], rtol=rtol, atol=rtol, err_msg=tensor)


@dataclass(frozen=True)
class _Operand:
    text: str
    ranks: tuple[str, ...]


def random_program(seed: int) -> tuple[Cascade, dict[str, Any], dict[str, int]]:
    """Return a cascade that walks several ranks, one of them split and one iterative, inputs, and sizes.

    Its Einsums permute ranks, reduce them with several operators, read constants, earlier and last values of
    running tensors, tiled views of inputs and of computed tensors, and unsplit ranks beside their parts.
    """
    generator = random.Random(seed)
    program = _Program(generator)
    for number in range(generator.randint(3, 9)):
        program.step(number)
    cascade = parse_cascade(program.text())
    draw = np.random.default_rng(seed)
    plain = dict(cascade.views)
    names = [t for t in cascade.inputs if t not in plain]
    names += [p for t, p in plain.items() if p not in cascade.ranks_of]
    shapes = {name: [SIZES[r] for r in program.ranks[name]] for name in names}
    known = {r for d in cascade.declarations for r in d.ranks} | {"K", "K1", "K0"}
    sizes = {rank: size for rank, size in SIZES.items() if rank in known}
    return cascade, {name: draw.uniform(0.5, 1.5, shape) for name, shape in shapes.items()}, sizes


class _Program:
    """Einsums in the notation, one after another."""

    def __init__(self, generator: random.Random) -> None:
        self.random = generator
        self.ranks: dict[str, tuple[str, ...]] = {"s": ()}
        self.views: dict[str, str] = {}
        self.body: list[str] = []
        self.init: list[str] = []
        self.pool = [_Operand("s", ())]
        for name in "ABCD":
            ranks = generator.sample(["P", "E", "F", "T"], generator.randint(1, 2))
            kept = generator.choice([[], ["K"], ["K1", "K0"]])
            position = generator.randint(0, len(ranks))
            self.declare(name, (*ranks[:position], *kept, *ranks[position:]))
            if "K" in self.ranks[name]:
                self.view(name)

    def declare(self, name: str, ranks: tuple[str, ...]) -> None:
        """Add a tensor, and its accesses to what later Einsums read."""
        self.ranks[name] = ranks
        self.pool.append(_Operand(_access(name, ranks), ranks))
        if ranks and self.random.random() < 0.3 and name in "ABCD":
            at = self.random.randrange(len(ranks))
            rest = (*ranks[:at], *ranks[at + 1 :])
            self.pool.append(_Operand(_access(name, ranks, {ranks[at]: "1"}), rest))

    def view(self, name: str) -> None:
        """Add a tiled view of a tensor."""
        tiles = tuple(part for r in self.ranks[name] for part in (("K1", "K0") if r == "K" else (r,)))
        self.views[f"{name}v"] = name
        self.ranks[f"{name}v"] = tiles
        self.pool.append(_Operand(_access(f"{name}v", tiles), tiles))

    def step(self, number: int) -> None:
        """Add an Einsum, or a running value along T."""
        text, walked = self.expression()
        order = self.random.sample(walked, len(walked))
        kept = order[: self.random.randint(0, len(order))]
        name = f"X{number}"
        if self.random.random() < 0.3 and "T" in walked:
            rest = tuple(r for r in kept if r != "T")
            self.body.append(f"{_access('L' + name, ('T', *rest))} = {text}")
            self.ranks["L" + name] = self.ranks[name] = ("T", *rest)
            now, later = _access(name, ("T", *rest)), _access(name, ("T", *rest), {"T": "t+1"})
            operator = self.random.choice(["max({}, {})", "0.5 * {} + {}", "min({}, {})"])
            self.init.append(f"{_access(name, ('T', *rest), {'T': '0'})} = 0.25")
            self.body.append(f"{later} = {operator.format(now, _access('L' + name, ('T', *rest)))}")
            self.pool += [_Operand(now, ("T", *rest)), _Operand(later, ("T", *rest))]
            self.pool.append(_Operand(_access(name, ("T", *rest), {"T": "T"}), rest))
            return
        folds = [r for r in order if r not in kept]
        actions = "".join(f" :: reduce({r.lower()}) {self.random.choice(['+', 'max', 'min', '*'])}" for r in folds)
        self.body.append(f"{_access(name, tuple(kept))} = {text}{actions if self.random.random() < 0.7 else ''}")
        self.declare(name, tuple(kept))
        if "K" in kept and "K1" not in kept and "K0" not in kept and self.random.random() < 0.6:
            self.view(name)

    def expression(self) -> tuple[str, list[str]]:
        """An expression whose values stay between -8 and 8, and the ranks that it walks."""
        while True:
            weights = [1 + 4 * i / len(self.pool) for i in range(len(self.pool))]
            picked = self.random.choices(self.pool, weights, k=self.random.choice((1, 2, 2, 3)))
            walked = list(dict.fromkeys(r for operand in picked for r in operand.ranks))
            if 0 < len(walked) <= 5:
                break
        texts = [self.wrapped(operand.text) for operand in picked]
        joined = self.random.choice([" * ", " * ", " + ", " - "]).join(texts)
        return self.random.choice([f"tanh({joined})", f"sigmoid({joined})", f"tanh({joined}) + 1.5"]), walked

    def wrapped(self, text: str) -> str:
        """An operand as it stands, or under an operator."""
        return self.random.choice([text, text, text, f"exp(-({text}) * ({text}))", f"max({text}, 0.75)", f"-{text}"])

    def text(self) -> str:
        """The cascade as YAML."""
        read = " ".join([*self.body, *self.init])
        views = {t: p for t, p in self.views.items() if t + "[" in read}
        names = set(re.findall(r"\w+", read))
        used = {t: r for t, r in self.ranks.items() if t in names}
        lines = ["declaration:", *(f"  {t}: [{', '.join(r)}]" for t, r in used.items())]
        lines += ["partition: {K: [K1, K0]}"]
        if views:
            lines.append("views: {" + ", ".join(f"{t}: {p}" for t, p in views.items()) + "}")
        lines += ["init:", *(f"  - {line}" for line in self.init)] if self.init else []
        lines += ["expressions:", *(f'  - "{line}"' for line in self.body)]
        return "\n".join([*lines, *(["stop: t >= T"] if self.init else [])]) + "\n"


def _access(name: str, ranks: tuple[str, ...], at: Mapping[str, str] | None = None) -> str:
    subscripts = [(at or {}).get(rank, rank.lower()) for rank in ranks]
    return f"{name}[{', '.join(subscripts)}]" if ranks else name
