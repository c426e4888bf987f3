"""The order in which the Einsums of a cascade can run.

An Einsum needs every Einsum of its section that writes a tensor it reads, unless it reads the value of an
earlier iteration: with ``RM[m1+1]`` written, reading ``RM[m1]`` needs no Einsum of this iteration. A rank
is iterative when a tensor is read at an earlier value of its variable than the one at which it is written.

Source: Nayak et al., "FuseMax", MICRO 2024, section 2 (iterative ranks).
"""

from __future__ import annotations

from collections.abc import Mapping

from einsum_cascades.components import components
from einsum_cascades.errors import InputError, Location
from einsum_cascades.ir import Access, Cascade, Const, Stop, Var
from einsum_cascades.parsed import ParsedEinsum, Written

Section = tuple[ParsedEinsum, ...]


def earlier_ranks(read: Access, written: Access) -> tuple[str, ...]:
    """Return the ranks along which a read reaches an earlier value than the one written."""
    return tuple(
        w.rank
        for r, w in zip(read.subscripts, written.subscripts, strict=False)
        if isinstance(w, Var)
        and (r.value < w.shift if isinstance(r, Const) else isinstance(r, Var) and r.shift < w.shift)
    )


def carried(access: Access, cascade: Cascade) -> bool:
    """Return whether an access reads what an earlier iteration of an iterative rank wrote."""
    return any(e.name == access.tensor and earlier_ranks(access, e.output) for e in cascade.body)


def check_iteration(body: Section, stop: tuple[Stop, ...], location: Location | None) -> None:
    """Check that the ranks that iterate are those that have a stop condition.

    Args:
        body: the Einsums that are repeated.
        stop: the stop conditions.
        location: where these are written.

    Raises:
        InputError: an iterative rank has no stop condition, or a stop condition's rank does not iterate.
    """
    stopped = {s.rank for s in stop}
    reads = _reads(body)
    iterated = set()
    for parsed in body:
        output = parsed.output.access
        ranks = {r for read in reads.get(output.tensor, ()) for r in earlier_ranks(read, output)}
        ranks |= {s.rank for s in output.subscripts if isinstance(s, Var) and s.shift}
        for rank in sorted(ranks - stopped):
            raise InputError(
                f"rank '{rank}' iterates but has no stop condition",
                location=parsed.place(*parsed.output.span),
                hint=f"add 'stop: {rank.lower()} >= {rank}'",
            )
        iterated |= ranks
    for condition in stop:
        if condition.rank not in iterated:
            variable = condition.rank.lower()
            raise InputError(
                f"rank '{condition.rank}' has a stop condition, but no Einsum iterates over it",
                location=location,
                hint=f"an iterative Einsum writes at '{variable}+1' what it reads at '{variable}'",
            )


def _reads(section: Section) -> dict[str, set[Access]]:
    reads: dict[str, set[Access]] = {}
    for parsed in section:
        for read in parsed.inputs:
            reads.setdefault(read.access.tensor, set()).add(read.access)
    return reads


def _check_writes(init: Section, body: Section, final: Section) -> None:
    """Raise when a tensor is written twice; init may give the first values of one that the body writes."""
    for section, others in ((init, ()), (body, ()), (final, (*init, *body))):
        seen: list[Access] = [p.output.access for p in others]
        for parsed in section:
            output = parsed.output
            for access in seen:
                same = access == output.access if section is init else access.tensor == output.access.tensor
                if same:
                    raise InputError(
                        f"'{access.tensor}' is written twice",
                        location=parsed.place(*output.span),
                        hint="write each tensor once; an iterative one has its first values under 'init'",
                    )
            seen.append(output.access)


def _needs(section: Section, views: Mapping[str, str]) -> list[dict[int, Written]]:
    """Return, for each Einsum, those that it needs and the read that makes it so."""
    writers: dict[str, list[tuple[int, Access]]] = {}
    for index, parsed in enumerate(section):
        writers.setdefault(parsed.einsum.name, []).append((index, parsed.output.access))
    needs: list[dict[int, Written]] = []
    for parsed in section:
        need: dict[int, Written] = {}
        for read in parsed.inputs:
            tensor = read.access.tensor
            for index, output in writers.get(views.get(tensor, tensor), ()):
                if tensor in views or not earlier_ranks(read.access, output):
                    need.setdefault(index, read)
        needs.append(need)
    return needs


def _circle(section: Section, needs: list[dict[int, Written]], left: set[int]) -> InputError:
    """Return the error that names a circle among the Einsums that could not be put in order."""
    path = [min(left)]
    while path[-1] not in path[:-1]:
        path.append(min(i for i in needs[path[-1]] if i in left))
    path = path[path.index(path[-1]) :]
    names = [section[i].einsum.name for i in path]
    first = section[path[0]]
    return InputError(
        "these Einsums need each other in a circle: " + " needs ".join(names[:12]),
        location=first.place(*needs[path[0]][path[1]].span),
        hint="an iterative tensor reads its earlier value: write it at 'i+1' and read it at 'i'",
    )


def _sorted(section: Section, views: Mapping[str, str]) -> Section:
    needs = _needs(section, views)
    order = components(dict(enumerate(needs)))
    circles = [group for group in order if len(group) > 1 or group[0] in needs[group[0]]]
    if circles:
        raise _circle(section, needs, set(min(circles)))
    return tuple(section[group[0]] for group in order)


def _check_reads(section: Section, later: Section, known: set[str], views: Mapping[str, str]) -> None:
    """Raise for a read of a tensor that only a later section writes."""
    late = {p.einsum.name for p in later} - known - {p.einsum.name for p in section}
    for parsed in section:
        for read in parsed.inputs:
            tensor = views.get(read.access.tensor, read.access.tensor)
            if tensor in late:
                raise InputError(
                    f"'{tensor}' is read before it is written",
                    location=parsed.place(*read.span),
                    hint="Einsums run in the order init, expressions, final",
                )


def _check_first_values(init: Section, body: Section) -> None:
    """Raise for a read of an earlier iteration's value where the first iteration has none."""
    first = {p.einsum.name for p in init}
    written = {p.einsum.name: p.output.access for p in body if p.einsum.name not in first}
    for parsed in body:
        for read in parsed.inputs:
            output = written.get(read.access.tensor)
            if output is not None and earlier_ranks(read.access, output):
                raise InputError(
                    f"'{output.tensor}' has no value for the first iteration to read",
                    location=parsed.place(*read.span),
                    hint="give it under 'init'",
                )


def ordered(init: Section, body: Section, final: Section, views: Mapping[str, str]) -> tuple[Section, Section, Section]:
    """Put the Einsums of each section in an order that can run; one that is right is kept.

    Args:
        init, body, final: the sections, each run after the one before.
        views: the plain tensor of each tiled one; reading the tiles needs all of it.

    Raises:
        InputError: a tensor is written twice, or read before it is written, or Einsums form a circle.
    """
    _check_writes(init, body, final)
    first = {p.einsum.name for p in init}
    _check_first_values(init, body)
    _check_reads(init, body + final, set(), views)
    _check_reads(body, final, first, views)
    return _sorted(init, views), _sorted(body, views), _sorted(final, views)
