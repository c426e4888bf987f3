"""How a cascade runs on a machine: loop nests and their exact access counts, mapping strategies, search."""

from mappers.activity import activity_of
from mappers.analysis import analyse
from mappers.mapping import MappedEinsum, Mapping, ScheduledPhase
from mappers.nest import Hold, Loop, LoopNest, Operand
from mappers.strategies import STRATEGIES, Strategy, strategy_named

__all__ = [
    "STRATEGIES",
    "Hold",
    "Loop",
    "LoopNest",
    "MappedEinsum",
    "Mapping",
    "Operand",
    "ScheduledPhase",
    "Strategy",
    "activity_of",
    "analyse",
    "strategy_named",
]
