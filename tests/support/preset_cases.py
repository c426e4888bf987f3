"""Random cascades, sizes and machines for the laws of presets, each from a seed; the same cascade said otherwise."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, replace

import yaml
from random_einsums import random_einsums
from spatial import evaluated

from einsum_cascades.errors import InputError
from einsum_cascades.ir import Cascade
from einsum_cascades.load import parse_cascade
from einsum_cascades.loops.tree import INSTANCES
from hw_models.accounting import ACCOUNTINGS
from hw_models.machine import Machine
from hw_models.spatial_machines import spatial_machine
from mappers.choose import Outcome

SIZES = (1, 2, 3, 5, 8, 13, 31, 32, 33, 64, 100)
WRITTEN = {
    "attention": """
declaration: {Q: [E, P], K: [E, M], V: [F, M], QK: [M, P], GM: [P], SN: [M, P], SD: [P], A: [M, P], AV: [F, P]}
expressions: ['QK[m, p] = Q[e, p] * K[e, m]', 'GM[p] = QK[m, p] :: reduce(m) max', 'SN[m, p] = exp(QK[m, p] - GM[p])',
  'SD[p] = SN[m, p]', 'A[m, p] = SN[m, p] / SD[p]', 'AV[f, p] = A[m, p] * V[f, m]']
""",
    "running": """
declaration: {Q: [E, P], K: [E, M], V: [F, M], RM: [M, P], RD: [M, P], RN: [M, F, P], QK: [M, P], PM: [M, P],
  SN: [M, P], C: [M, P], AV: [F, P]}
init: ['RM[0, p] = -inf', 'RD[0, p] = 0', 'RN[0, f, p] = 0']
expressions: ['QK[m, p] = Q[e, p] * K[e, m]', 'RM[m+1, p] = max(RM[m, p], QK[m, p])',
  'C[m, p] = exp(RM[m, p] - RM[m+1, p])', 'SN[m, p] = exp(QK[m, p] - RM[m+1, p])',
  'RD[m+1, p] = RD[m, p] * C[m, p] + SN[m, p]', 'RN[m+1, f, p] = RN[m, f, p] * C[m, p] + SN[m, p] * V[f, m]']
final: ['AV[f, p] = RN[M, f, p] / RD[M, p]']
stop: m >= M
""",
    "norm": """
declaration: {X: [P, D], S: [P], C: [P, D], W: [P], Y: [P, D], G: [D], B: [D]}
expressions: ['S[p] = X[p, d]', 'C[p, d] = X[p, d] - S[p] / 8', 'W[p] = C[p, d] * C[p, d]',
  'Y[p, d] = C[p, d] / W[p] * G[d] + B[d]']
""",
    "chain": """
declaration: {A: [M, K], B: [K, L], C: [L, N], D: [N, P], X: [M, L], Y: [M, N], Z: [M, P]}
expressions: ['X[m, l] = A[m, k] * B[k, l]', 'Y[m, n] = X[m, l] * C[l, n]', 'Z[m, p] = Y[m, n] * D[n, p]']
""",
    "feed forward": """
declaration: {X: [N, D], WG: [D, S], WU: [D, S], WD: [S, G], A: [N, S], B: [N, S], H: [N, S], Y: [N, G]}
expressions: ['A[n, s] = X[n, d] * WG[d, s]', 'B[n, s] = X[n, d] * WU[d, s]', 'H[n, s] = max(A[n, s], 0) * B[n, s]',
  'Y[n, g] = H[n, s] * WD[s, g]']
""",
}


SMALLER = {
    "flat-cloud": (("global_buffer",), ("array_2d.rows", "array_2d.columns", "global_buffer.row_values")),
    "fusemax-cloud": (("global_buffer",), ("array_2d.rows", "array_2d.columns", "global_buffer.row_values")),
    "tpu-v4i": (("cmem", "vmem"), ("mxu.rows", "mxu.columns", "vpu.lanes")),
    "phone-npu": (("scratchpad",), ("macs.outputs", "macs.inputs", "vector.lanes")),
    "simba": (("global_buffer", "input_buffer"), ()),
    "flat-attention-mesh": (("l1",), ("l1.tiles_x", "l1.tiles_y")),
    "eyeriss": (("global_buffer",), ("pe_array.rows", "pe_array.columns")),
    "fsa": (("scratchpad", "accumulation"), ("array.rows", "array.columns")),
}
"""Of each machine, memories and values that can be made smaller."""


@dataclass(frozen=True)
class Case:
    """One evaluation that may be made: of a cascade by a preset on a machine with changes."""

    text: str
    sizes: dict[str, int]
    machine: str
    changes: tuple[str, ...]
    preset: str
    accounting: str

    def cascade(self) -> Cascade:
        return parse_cascade(self.text)

    def with_changes(self, *changes: str) -> Case:
        return replace(self, changes=(*self.changes, *changes))

    def run(self) -> Outcome | None:
        """Evaluate; None where the preset refuses."""
        try:
            spatial = spatial_machine(self.machine, self.changes)
            return evaluated(self.preset, self.cascade(), self.sizes, spatial, ACCOUNTINGS[self.accounting])
        except InputError as error:
            if not error.hint:
                raise AssertionError("a refusal says what would be right") from error
            return None

    def spatial(self) -> Machine:
        return spatial_machine(self.machine, self.changes)


def case(seed: int, presets: tuple[str, ...], accounting: str = "") -> Case | None:
    """Return a case that depends on nothing but the arguments; None if its text is no cascade."""
    generator = random.Random(f"laws {seed}")
    names = list(WRITTEN)
    text = WRITTEN[generator.choice(names)] if generator.random() < 0.5 else random_einsums(generator.randrange(10**6))
    try:
        cascade = parse_cascade(text)
    except InputError:
        return None
    sizes = {rank: generator.choice(SIZES) for rank in sorted(ranks_of(cascade))}
    machine = generator.choice(list(SMALLER))
    return Case(
        text,
        {INSTANCES: generator.choice((1, 1, 2, 3)), **sizes},
        machine,
        narrowed(machine, generator) if generator.random() < 0.7 else (),
        generator.choice(presets),
        accounting or generator.choice(list(ACCOUNTINGS)),
    )


def ranks_of(cascade: Cascade) -> set[str]:
    """The ranks that need a size: whole ones, and middle parts of split ones."""
    parts = {part for p in cascade.partitions for part in p.parts}
    used = {r for e in (*cascade.init, *cascade.body, *cascade.final) for r in e.ranks}
    middle = {part for p in cascade.partitions for part in p.parts[1:-1]}
    return (used - parts) | {p.rank for p in cascade.partitions} | middle


def narrowed(machine: str, generator: random.Random) -> tuple[str, ...]:
    """Changes that make a machine's memories and arrays small, so that small cascades fill them."""
    memories, dimensions = SMALLER[machine]
    changes = [f"{name}.bytes={generator.choice((512, 2048, 8192, 65536))}" for name in memories]
    return (*changes, *(f"{name}={generator.choice((3, 4, 8))}" for name in dimensions))


def renamed(text: str, names: dict[str, str]) -> str:
    """The same text with words for words: tensors and ranks; of ranks the variables too."""
    words = names | {old.lower(): new.lower() for old, new in names.items() if old.isupper()}
    return re.sub(r"[A-Za-z_][A-Za-z_0-9]*", lambda found: words.get(found[0], found[0]), text)


def words_of(cascade: Cascade) -> tuple[list[str], list[str]]:
    """The tensors and the ranks that a cascade names."""
    ranks = {r for d in cascade.declarations for r in d.ranks} | {p.rank for p in cascade.partitions}
    ranks |= {part for p in cascade.partitions for part in p.parts}
    return [d.tensor for d in cascade.declarations], sorted(ranks)


def reordered(text: str, generator: random.Random) -> str:
    """The same cascade with its Einsums in another order that can run; one that iterates as it is."""
    written = yaml.safe_load(text)
    if "init" in written:
        return text
    left = list(written["expressions"])
    made = {line: re.match(r"\w+", line)[0] for line in left}  # type: ignore[index]
    order: list[str] = []
    while left:
        waiting = {made[line] for line in left}
        ready = [line for line in left if not waiting & set(re.findall(r"\w+", line.partition("=")[2]))]
        order.append(generator.choice(ready))
        left.remove(order[-1])
    return yaml.safe_dump({**written, "expressions": order}, sort_keys=False, width=1000)
