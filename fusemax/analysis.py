"""One analysis of a cascade: passes and what forces them, live footprints, operations, lower bounds on traffic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any, Final

from einsum_cascades.chains import Link, Stage, chain, stages
from einsum_cascades.errors import InputError, unknown
from einsum_cascades.footprints import Consequence, Footprint, consequences, footprints
from einsum_cascades.ir import Cascade
from einsum_cascades.load import load_cascade
from einsum_cascades.not_a_rank import not_a_rank
from einsum_cascades.numbers import whole
from einsum_cascades.operations import complete_sizes, iterations, symbolic_total, total
from einsum_cascades.passes import analyse_passes
from einsum_cascades.sizes import as_size, as_sizes
from mappers.rows import row_rank

if TYPE_CHECKING:
    import sympy

    from einsum_cascades.traffic import CurvePoint, TrafficBound

Name = str | PathLike[str]
_LARGEST: Final = 2**60


@dataclass(frozen=True)
class Analysis:
    """What follows from a cascade alone, and from sizes and a buffer where they are given.

    Attributes:
        cascade: what was analysed.
        rank: the rank family whose passes are counted, by the name of the whole.
        sizes: sizes known, of split ranks too where they follow.
        instances: how many independent copies run (batch times heads); counts and traffic are of all.
        value_bytes: bytes per value.
        passes: passes of the cascade.
        stages: which Einsums share each pass, and which run between two.
        chain: what forces each pass after the first.
        footprints: per tensor with a rank of the family, passes and live footprint.
        operations: number by class of work: exact where all sizes are known, else an expression over ranks.
        compulsory: values in and out once: exact bytes where all sizes are known, else an expression.
        consequences: per tensor with a live fiber, what the buffer means; needs sizes and a buffer.
        bound: the least traffic with the buffer; needs sizes and a buffer.
        curve: the least traffic against capacity; where it was asked for.
    """

    cascade: Cascade
    rank: str
    sizes: Mapping[str, int]
    instances: int
    value_bytes: int
    passes: int
    stages: tuple[Stage, ...]
    chain: tuple[Link, ...]
    footprints: tuple[Footprint, ...]
    operations: Mapping[str, int | sympy.Expr]
    compulsory: int | sympy.Expr
    consequences: tuple[Consequence, ...] = ()
    bound: TrafficBound | None = None
    curve: tuple[CurvePoint, ...] = ()

    def footprint(self, found: Footprint) -> int | sympy.Expr:
        """Return the live values of one fiber: a number where sizes are known, else an expression."""
        if all(rank in self.sizes for rank in found.ranks):
            return found.values(self.sizes)
        known = {_symbol(rank): size for rank, size in self.sizes.items()}
        return found.symbolic.subs(known)

    @property
    def intensity(self) -> float | sympy.Expr:
        """Operations per byte of compulsory traffic."""
        import sympy

        work = sum(self.operations.values())
        if isinstance(work, int) and isinstance(self.compulsory, int):
            return work / self.compulsory
        return sympy.cancel(work / self.compulsory)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data: numbers where sizes are known, text of expressions elsewhere."""
        waiting = {c.tensor: c for c in self.consequences}
        found: dict[str, Any] = {
            "cascade": self.cascade.name,
            "rank": self.rank,
            "passes": self.passes,
            "sizes": dict(self.sizes),
            "instances": self.instances,
            "value_bytes": self.value_bytes,
            "stages": [{"when": stage.name, "einsums": list(stage.einsums)} for stage in self.stages],
            "chain": [_link_dict(link) for link in self.chain],
            "tensors": [
                {
                    "name": footprint.tensor,
                    "passes": footprint.passes,
                    "footprint": _plain(self.footprint(footprint)),
                    **(_consequence_dict(waiting[footprint.tensor]) if footprint.tensor in waiting else {}),
                }
                for footprint in self.footprints
            ],
            "operations": {work: _plain(number) for work, number in self.operations.items()},
            "compulsory_bytes": _plain(self.compulsory),
            "intensity": _plain(self.intensity),
        }
        if self.bound is not None:
            found["bound"] = _bound_dict(self.bound)
        if self.curve:
            found["curve"] = [{"buffer_bytes": p.buffer_bytes, "dram_bytes": p.dram_bytes} for p in self.curve]
        return found


def analyze(
    cascade: Name | Cascade,
    rank: str | None = None,
    *,
    sizes: Mapping[str, int | str] | None = None,
    instances: int = 1,
    value_bytes: int = 2,
    buffer_bytes: int | str | None = None,
    curve: bool = False,
) -> Analysis:
    """Analyse a cascade: symbolically, or with the sizes given.

    Args:
        cascade: library name, file, or a cascade.
        rank: the rank or family whose passes are counted; the one with most if not given.
        sizes: rank sizes, such as 8192 or ``8K``; of a split rank all parts but one are enough, and for
            traffic the whole.
        instances: how many independent copies run, such as batch times heads.
        value_bytes: bytes per value.
        buffer_bytes: capacity on chip, such as 262144 or ``256KiB``; gives its consequences and the least traffic.
        curve: whether to compute the least traffic against capacity.

    Raises:
        InputError: an unknown name or rank, sizes that contradict each other, or one that is missing where a buffer
            or a curve asks for it.
    """
    found = cascade if isinstance(cascade, Cascade) else load_cascade(str(cascade))
    given = as_sizes("sizes", sizes, maximum=_LARGEST)
    _check(found, given)
    instances, value_bytes = whole("instances", instances, maximum=_LARGEST**2), whole("value_bytes", value_bytes)
    if buffer_bytes is not None:
        buffer_bytes = as_size(buffer_bytes, "buffer_bytes", "bytes", maximum=_LARGEST)
    if rank is not None and not isinstance(rank, str):
        raise unknown("rank", rank, ranks_of(found))
    over = rank if rank is not None else row_rank(found)
    if over is None:
        raise InputError(f"{found.name} reduces no rank, so it makes no pass", hint="name a rank with --rank")
    over = found.whole_rank(over)
    complete = complete_sizes(found, given)
    return Analysis(
        cascade=found,
        rank=over,
        sizes=complete,
        instances=instances,
        value_bytes=value_bytes,
        passes=analyse_passes(found, over).passes,
        stages=stages(found, over),
        chain=chain(found, over),
        footprints=footprints(found, over),
        operations=_operations(found, complete, instances),
        compulsory=_compulsory(found, complete, instances * value_bytes),
        **_traffic(found, over, complete, buffer_bytes, curve, value_bytes=value_bytes, instances=instances),
    )


def _check(cascade: Cascade, sizes: Mapping[str, int]) -> None:
    known = ranks_of(cascade)
    for name in sizes:
        if name not in known:
            raise not_a_rank(cascade, name, known, sized=True)


def _traffic(
    cascade: Cascade, rank: str, sizes: Mapping[str, int], buffer_bytes: int | None, curve: bool, **scale: Any
) -> dict[str, Any]:
    """What an analysis says of a buffer, and the curve, as far as they are asked for."""
    from einsum_cascades.traffic import traffic_bound, traffic_curve

    found: dict[str, Any] = {}
    if buffer_bytes is None and not curve:
        return found
    _need_sizes(cascade, sizes)
    if buffer_bytes is not None:
        live = {r for f in footprints(cascade, rank) for r in cascade.ranks_of[f.tensor] if f.ranks}
        if live <= sizes.keys():
            found["consequences"] = consequences(cascade, rank, sizes, buffer_bytes, **scale)
        found["bound"] = traffic_bound(cascade, sizes, buffer_bytes, **scale)
    if curve:
        found["curve"] = traffic_curve(cascade, sizes, **scale)
    return found


def ranks_of(cascade: Cascade) -> tuple[str, ...]:
    """Return every rank of a cascade that may be given a size: declared ones, wholes and parts."""
    names = [r for d in cascade.declarations for r in d.ranks]
    names += [r for p in cascade.partitions for r in (p.rank, *p.parts)]
    return tuple(dict.fromkeys(names))


def _need_sizes(cascade: Cascade, sizes: Mapping[str, int]) -> None:
    parts = {part for p in cascade.partitions for part in p.parts}
    missing = [r for r in ranks_of(cascade) if r not in parts and r not in sizes]
    if missing:
        raise InputError(
            f"rank {missing[0]} of {cascade.name} has no size",
            hint="traffic is a number: give " + " ".join(f"--set {r}=SIZE" for r in missing),
        )


def _operations(cascade: Cascade, sizes: Mapping[str, int], instances: int) -> dict[str, int | sympy.Expr]:
    walked = {rank for einsum in cascade.einsums for rank in einsum.ranks}
    if walked <= sizes.keys():
        complete = dict(sizes) | iterations(cascade, sizes)
        return {work: number * instances for work, number in total(cascade, complete).items()}
    return {work: _joined(cascade, number, sizes) * instances for work, number in symbolic_total(cascade).items()}


def _compulsory(cascade: Cascade, sizes: Mapping[str, int], scale: int) -> int | sympy.Expr:
    import sympy

    from einsum_cascades.traffic import compulsory_bytes

    try:
        return compulsory_bytes(cascade, sizes) // 2 * scale
    except InputError:
        pass
    written, views = {e.name for e in cascade.einsums}, dict(cascade.views)
    read = {access.tensor for einsum in cascade.einsums for access in einsum.inputs}
    outside = [*(t for t in cascade.inputs if t in read and views.get(t) not in written), *cascade.outputs]
    terms = (sympy.Mul(*map(_symbol, cascade.ranks_of[tensor])) for tensor in outside)
    return _joined(cascade, sympy.Add(*terms), sizes) * scale


def _joined(cascade: Cascade, expression: sympy.Expr, sizes: Mapping[str, int]) -> sympy.Expr:
    """Write an expression with sizes for symbols, and split ranks as the whole where all parts appear together."""
    import sympy

    for partition in cascade.partitions:
        first, *others = map(_symbol, partition.parts)
        joined = []
        for term in sympy.Add.make_args(expression):
            whole = term.subs(first, _symbol(partition.rank) / sympy.Mul(*others))
            joined.append(term if any(symbol in whole.free_symbols for symbol in others) else whole)
        expression = sympy.Add(*joined)
    return expression.subs({_symbol(rank): size for rank, size in sizes.items()})


def _symbol(rank: str) -> sympy.Symbol:
    import sympy

    return sympy.Symbol(rank, positive=True, integer=True)


def _plain(value: Any) -> int | float | str:
    return value if isinstance(value, int | float) else int(value) if value.is_Integer else str(value)


def _link_dict(link: Link) -> dict[str, Any]:
    return {
        "pass": link.number,
        "reader": link.reader,
        "through": list(link.through),
        "folded": link.folded,
        "text": link.text,
    }


def _consequence_dict(found: Consequence) -> dict[str, Any]:
    return {
        "fiber_bytes": found.fiber_bytes,
        "fits": found.fits,
        "traffic": [
            {"when": v.when, "kept_bytes": v.kept_bytes, "spilled_bytes": v.spilled_bytes} for v in found.visits
        ],
    }


def _bound_dict(bound: TrafficBound) -> dict[str, Any]:
    return {
        "buffer_bytes": bound.buffer_bytes,
        "dram_bytes": bound.dram_bytes,
        "segments": [
            {
                "einsums": list(s.einsums),
                "loops": [{"rank": r, "tile": t, "tiles": n} for r, t, n in s.loops],
                "dram_bytes": s.dram_bytes,
                "spilled_bytes": s.spilled_bytes,
            }
            for s in bound.segments
        ],
    }
