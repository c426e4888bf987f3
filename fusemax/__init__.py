"""fusemax: passes, footprints, traffic, latency and energy of attention algorithms written as cascades of Einsums.

All that users need is here, and the notebooks import nothing else of the project. A module is read when one of its
names is first used, so that ``import fusemax`` takes milliseconds.

Cascades
    ``Cascade`` is an algorithm. ``load_cascade`` reads one from the library or a file, ``parse_cascade`` from text,
    ``library_names`` lists the library. ``interpret`` runs any cascade in NumPy, Einsum by Einsum.
Analysis and rewriting
    ``analyze`` gives an ``Analysis``: passes and why, live footprints, operations, least traffic. ``derive`` gives a
    ``Derivation``: fewer passes, rewrite by rewrite. ``is_isomorphic`` compares cascades up to names,
    ``overflow_risks`` names exponents that can overflow.
Machines, models, costs
    ``evaluate`` gives an ``Evaluation``: one cascade on one machine. ``load_machine``, ``load_architecture`` and
    ``load_model`` read what it takes, ``Workload`` holds sizes; ``architecture_names``, ``model_names`` and
    ``mapper_names`` list what there is. ``memory_cost`` prices a memory by size, width, ports and node. The module
    ``fusemax.loops`` has what mappings and mappers of one's own are made of.
Mapping
    ``map_cascade`` searches for the best mapping, and rewrites if wanted; it gives a ``Mapped``, with a lower bound
    that proves how good it is.
Simulation
    ``simulate`` gives a ``Simulation``: a mapping executed, cycle by cycle and on numbers, beside the engine's figures.
Kernels
    ``attention`` runs on this CPU; ``compile_cascade`` compiles any cascade, to a ``CompiledCascade``. The module
    ``fusemax.gpu`` has ``attention`` for GPUs, and ``fusemax.gpu.compiled`` makes any cascade like attention a kernel.
Published evaluation
    ``CONFIGURATIONS`` are its rows, ``reproduce`` computes its tables; ``headline``, ``compare_published`` and
    ``deviations`` set them beside the published figures, ``compare_accountings`` one accounting beside the other.
Measurements
    ``predict_measured`` sets the model beside measurements, each a ``Compared``; ``accuracy`` sums them up.
Sweeps
    ``run_sweep`` evaluates a design space into a folder; ``study_path`` finds spaces that come with the package.
    ``pareto_front`` finds the best points of a folder, or of any table of results.
Tables and pictures
    ``as_table`` makes a table of results. ``draw_published``, ``draw_traffic``, ``draw_rates``, ``draw_accuracy``,
    ``draw_front`` and ``draw_waterfall`` return a ``Picture``, which a notebook shows and ``save`` writes.
Errors
    ``InputError``: what is wrong, where, and what would be right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from einsum_cascades.errors import InputError
    from einsum_cascades.interpreter import run as interpret
    from einsum_cascades.ir import Cascade
    from einsum_cascades.load import library_names, load_cascade, parse_cascade
    from einsum_cascades.models import load_model, model_names
    from einsum_cascades.rewrites.isomorphic import is_isomorphic
    from einsum_cascades.rewrites.search import Derivation, derive
    from einsum_cascades.rewrites.stability import risks as overflow_risks
    from einsum_cascades.workload import Workload
    from fusemax.analysis import Analysis, analyze
    from fusemax.comparison import compare as compare_published
    from fusemax.comparison import deviations, headline
    from fusemax.conclusions import conclusions as compare_accountings
    from fusemax.evaluation import Evaluation, evaluate
    from fusemax.experiments import CONFIGURATIONS, reproduce
    from fusemax.fronts import pareto_front
    from fusemax.mapped.found import Mapped
    from fusemax.mapped.run import map_cascade
    from fusemax.measurement import Compared
    from fusemax.pictures import (
        Picture,
        draw_accuracy,
        draw_front,
        draw_published,
        draw_rates,
        draw_traffic,
        draw_waterfall,
    )
    from fusemax.predicted import accuracy, predict_measured
    from fusemax.simulation.simulated import Simulation, simulate
    from fusemax.studies import study_path
    from fusemax.sweep.runner import run as run_sweep
    from fusemax.tables import as_table
    from hw_models.components import memory_cost
    from hw_models.load import architecture_names, load_architecture, load_machine
    from kernels.compiler.compiled import CompiledCascade, compile_cascade
    from kernels.cpu.attention import attention
    from mappers.strategies import mapper_names

__version__ = "0.1.0"

_HOMES = {
    "CONFIGURATIONS": "fusemax.experiments",
    "Analysis": "fusemax.analysis",
    "Cascade": "einsum_cascades.ir",
    "Compared": "fusemax.measurement",
    "CompiledCascade": "kernels.compiler.compiled",
    "Derivation": "einsum_cascades.rewrites.search",
    "Evaluation": "fusemax.evaluation",
    "InputError": "einsum_cascades.errors",
    "Mapped": "fusemax.mapped.found",
    "Picture": "fusemax.pictures",
    "Simulation": "fusemax.simulation.simulated",
    "Workload": "einsum_cascades.workload",
    "accuracy": "fusemax.predicted",
    "analyze": "fusemax.analysis",
    "architecture_names": "hw_models.load",
    "as_table": "fusemax.tables",
    "attention": "kernels.cpu.attention",
    "compare_accountings": "fusemax.conclusions:conclusions",
    "compare_published": "fusemax.comparison:compare",
    "compile_cascade": "kernels.compiler.compiled",
    "derive": "einsum_cascades.rewrites.search",
    "deviations": "fusemax.comparison",
    "draw_accuracy": "fusemax.pictures",
    "draw_front": "fusemax.pictures",
    "draw_published": "fusemax.pictures",
    "draw_rates": "fusemax.pictures",
    "draw_traffic": "fusemax.pictures",
    "draw_waterfall": "fusemax.pictures",
    "evaluate": "fusemax.evaluation",
    "headline": "fusemax.comparison",
    "interpret": "einsum_cascades.interpreter:run",
    "is_isomorphic": "einsum_cascades.rewrites.isomorphic",
    "library_names": "einsum_cascades.load",
    "load_architecture": "hw_models.load",
    "load_cascade": "einsum_cascades.load",
    "load_machine": "hw_models.load",
    "load_model": "einsum_cascades.models",
    "map_cascade": "fusemax.mapped.run",
    "mapper_names": "mappers.strategies",
    "memory_cost": "hw_models.components",
    "model_names": "einsum_cascades.models",
    "overflow_risks": "einsum_cascades.rewrites.stability:risks",
    "pareto_front": "fusemax.fronts",
    "parse_cascade": "einsum_cascades.load",
    "predict_measured": "fusemax.predicted",
    "reproduce": "fusemax.experiments",
    "run_sweep": "fusemax.sweep.runner:run",
    "simulate": "fusemax.simulation.simulated",
    "study_path": "fusemax.studies",
}
"""Where each public name lives: a module, and the name there if it is another."""
_MODULES = ("gpu", "loops", "sweep")
"""Public modules that are read when they are first named."""

__all__ = [
    "CONFIGURATIONS",
    "Analysis",
    "Cascade",
    "Compared",
    "CompiledCascade",
    "Derivation",
    "Evaluation",
    "InputError",
    "Mapped",
    "Picture",
    "Simulation",
    "Workload",
    "accuracy",
    "analyze",
    "architecture_names",
    "as_table",
    "attention",
    "compare_accountings",
    "compare_published",
    "compile_cascade",
    "derive",
    "deviations",
    "draw_accuracy",
    "draw_front",
    "draw_published",
    "draw_rates",
    "draw_traffic",
    "draw_waterfall",
    "evaluate",
    "headline",
    "interpret",
    "is_isomorphic",
    "library_names",
    "load_architecture",
    "load_cascade",
    "load_machine",
    "load_model",
    "map_cascade",
    "mapper_names",
    "memory_cost",
    "model_names",
    "overflow_risks",
    "pareto_front",
    "parse_cascade",
    "predict_measured",
    "reproduce",
    "run_sweep",
    "simulate",
    "study_path",
]


def __getattr__(name: str) -> Any:
    """Import what is asked for, and no more: ``import fusemax`` is quick."""
    import importlib

    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, own = _HOMES[name].partition(":")
    return getattr(importlib.import_module(module), own or name)


def __dir__() -> list[str]:
    return sorted(__all__)
