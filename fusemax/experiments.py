"""The published evaluation: configurations as rows of one table, evaluated by the one engine.

Source of the experiments: Nayak et al., "FuseMax", MICRO 2024, section VI: five configurations, four models and six
lengths for attention, the same with linear layers end to end, and the area-latency curve of one model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from einsum_cascades.load import load_cascade
from einsum_cascades.models import Model, load_model
from einsum_cascades.workload import Workload
from fusemax.evaluation import SpatialEvaluation, evaluate_on
from hw_models.accounting import Accounting, accounting_named
from hw_models.load import load_architecture
from hw_models.machine import Machine
from hw_models.prices import node_prices

if TYPE_CHECKING:
    import pandas as pd

MODELS = ("BERT", "TrXL", "T5", "XLM")
SEQ_LENS = tuple(4**n * 1024 for n in range(6))
PARETO_MODEL, PARETO_SEQ_LEN = "BERT", 256 * 1024
PARETO_DIMS = tuple(16 * 2**n for n in range(6))
LINEAR_CASCADE, LINEAR_MAPPER = "linear-layers", "unfused"
LINEAR_ARRAYS = {"flat-cloud": "flat", "fusemax-cloud": "fusemax"}
"""What the published table ``linear`` calls the machines."""

EINSUM_LABELS = {"BQK": "QK"}
"""What the published table ``utilization_2d`` calls Einsums of the 1-pass cascade: the scores have one name there."""


@dataclass(frozen=True)
class Configuration:
    """One row of the evaluation: an algorithm, a machine and a way to map one onto the other."""

    name: str
    cascade: str
    architecture: str
    mapper: str


CONFIGURATIONS = (
    Configuration("unfused", "attention-3-pass", "flat-cloud", "unfused"),
    Configuration("flat", "attention-3-pass", "flat-cloud", "flat"),
    Configuration("cascade", "attention-1-pass", "flat-cloud", "fusemax-serial"),
    Configuration("architecture", "attention-1-pass", "fusemax-cloud", "fusemax-serial"),
    Configuration("binding", "attention-1-pass", "fusemax-cloud", "fusemax-interleaved"),
)
PARETO_CONFIGURATION = CONFIGURATIONS[-1]

Progress = Callable[[str], None]


def steps() -> int:
    """Return how many evaluations ``reproduce`` makes, for a progress bar."""
    machines = {c.architecture for c in CONFIGURATIONS}
    return len(MODELS) * len(SEQ_LENS) * (len(CONFIGURATIONS) + len(machines)) + len(PARETO_DIMS)


def reproduce(accounting: str | Accounting = "published", progress: Progress | None = None) -> dict[str, pd.DataFrame]:
    """Evaluate everything that the publication reports.

    Args:
        accounting: ``published`` or ``physical``.
        progress: called with a label after each evaluation.

    Returns:
        The tables ``attention``, ``utilization_2d``, ``end_to_end``, ``pareto`` and ``linear`` (the linear layers
        alone, by array).
    """
    import pandas as pd

    counted = accounting if isinstance(accounting, Accounting) else accounting_named(accounting)
    report = progress or (lambda _: None)
    models = [load_model(name) for name in MODELS]
    attention = list(_attention(models, counted, report))
    linear = dict(_linear(models, counted, report))
    return {
        "attention": pd.DataFrame([_attention_row(c, m, n, e) for c, m, n, e in attention]),
        "utilization_2d": pd.DataFrame([r for c, m, n, e in attention for r in _einsum_rows(c, m, n, e)]),
        "end_to_end": pd.DataFrame(
            [_end_to_end_row(c, m, n, e, linear[c.architecture, m, n]) for c, m, n, e in attention]
        ),
        "pareto": pd.DataFrame(list(_pareto(counted, report))),
        "linear": pd.DataFrame([_linear_row(a, m, n, e) for (a, m, n), e in linear.items()]),
    }


def _attention(
    models: list[Model], accounting: Accounting, report: Progress
) -> Iterator[tuple[Configuration, str, int, SpatialEvaluation]]:
    for configuration in CONFIGURATIONS:
        cascade = load_cascade(configuration.cascade)
        machine = load_architecture(configuration.architecture)
        for model in models:
            for seq_len in SEQ_LENS:
                workload = model.attention(seq_len)
                found = evaluate_on(cascade, machine, configuration.mapper, workload, accounting)
                report(f"{configuration.name} {model.name} {seq_len}")
                yield configuration, model.name, seq_len, found


def _linear(
    models: list[Model], accounting: Accounting, report: Progress
) -> Iterator[tuple[tuple[str, str, int], SpatialEvaluation]]:
    cascade = load_cascade(LINEAR_CASCADE)
    for name in dict.fromkeys(c.architecture for c in CONFIGURATIONS):
        machine = load_architecture(name)
        for model in models:
            for seq_len in SEQ_LENS:
                found = evaluate_on(cascade, machine, LINEAR_MAPPER, model.linear_layers(seq_len), accounting)
                report(f"linear layers {model.name} {seq_len}")
                yield (name, model.name, seq_len), found


def pareto_machine(dim: int) -> Machine:
    """Return FuseMax with a ``dim`` by ``dim`` array and a buffer that keeps the 1D array busy.

    The buffer starts at ``N·max(1, t/(L/N))·E·8·2`` bytes for N = dim, L = PARETO_SEQ_LEN and t = 2·max(1, N/E), and
    doubles until the traffic takes no longer than the 1D array's work (Nayak et al., MICRO 2024, section VI).
    """
    sides = {"array_2d.rows": str(dim), "array_2d.columns": str(dim)}
    model = load_model(PARETO_MODEL)
    head = model.head_dim
    tiles = 2 * max(1, dim // head)
    size = dim * max(1, tiles * dim // PARETO_SEQ_LEN) * head * 8 * 2
    cascade = load_cascade(PARETO_CONFIGURATION.cascade)
    workload = model.attention(PARETO_SEQ_LEN)
    while True:
        machine = load_architecture(PARETO_CONFIGURATION.architecture, sides | {"global_buffer.bytes": str(size)})
        if _memory_hides(cascade, machine, workload):
            return machine
        size *= 2


def _memory_hides(cascade: Any, machine: Machine, workload: Workload) -> bool:
    found = evaluate_on(cascade, machine, PARETO_CONFIGURATION.mapper, workload, accounting_named("published"))
    busy_1d: float = sum(e.cycles for e in found.cost.tasks if e.array == "array_1d") / machine.frequency_hz
    return bool(found.cost.dram_bytes / machine.root.shared_bytes_per_s <= busy_1d)


def _pareto(accounting: Accounting, report: Progress) -> Iterator[Mapping[str, Any]]:
    cascade = load_cascade(PARETO_CONFIGURATION.cascade)
    workload = load_model(PARETO_MODEL).attention(PARETO_SEQ_LEN)
    for dim in PARETO_DIMS:
        machine = pareto_machine(dim)
        found = evaluate_on(cascade, machine, PARETO_CONFIGURATION.mapper, workload, accounting)
        report(f"array {dim}x{dim}")
        prices = node_prices(machine)
        yield {
            "model": PARETO_MODEL,
            "pe_dim": dim,
            "buffer_bytes": machine.memory("global_buffer").bytes,
            "dram_bytes": found.cost.dram_bytes,
            "latency_s": found.cost.latency_s,
            "array_2d_area_mm2": prices.nodes["array_2d"].area_mm2,
            "area_mm2": prices.area_mm2,
        }


def _attention_row(configuration: Configuration, model: str, seq_len: int, found: SpatialEvaluation) -> dict[str, Any]:
    cost = found.cost
    return {
        "config": configuration.name,
        "model": model,
        "seq_len": seq_len,
        "dram_bytes": cost.dram_bytes,
        "latency_s": cost.latency_s,
        "energy_j": cost.energy_j,
        "util_2d": cost.utilization["array_2d"],
        "util_1d": cost.utilization["array_1d"],
    }


def _einsum_rows(
    configuration: Configuration, model: str, seq_len: int, found: SpatialEvaluation
) -> Iterator[dict[str, Any]]:
    for einsum in found.per_einsum:
        if einsum.array == "array_2d":
            yield {
                "config": configuration.name,
                "model": model,
                "seq_len": seq_len,
                "einsum": EINSUM_LABELS.get(einsum.name, einsum.name),
                "fraction": einsum.share,
            }


def _linear_row(architecture: str, model: str, seq_len: int, found: SpatialEvaluation) -> dict[str, Any]:
    return {
        "array": LINEAR_ARRAYS[architecture],
        "model": model,
        "seq_len": seq_len,
        "dram_bytes": found.cost.dram_bytes,
        "latency_s": found.cost.latency_s,
        "energy_j": found.cost.energy_j,
    }


def _end_to_end_row(
    configuration: Configuration, model: str, seq_len: int, attention: SpatialEvaluation, linear: SpatialEvaluation
) -> dict[str, Any]:
    return {
        "config": configuration.name,
        "model": model,
        "seq_len": seq_len,
        "dram_bytes": attention.cost.dram_bytes + linear.cost.dram_bytes,
        "latency_s": attention.cost.latency_s + linear.cost.latency_s,
        "energy_j": attention.cost.energy_j + linear.cost.energy_j,
    }
