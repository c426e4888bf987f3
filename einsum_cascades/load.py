"""Cascades from YAML text, files and the library, checked as a whole.

A text has the shape of TeAAL's ``einsum`` block (``declaration``, ``expressions``), at the top level or
under the key ``einsum``, plus ``init``, ``final``, ``stop``, ``partition``, ``views``, ``name``, ``title``
and ``citation``. Single Einsums are checked here against the declarations; how they depend on each other
(reads before writes, circles, iterative ranks) is checked in ``order.py``.

Source of the shape: Nayak et al., "TeAAL", MICRO 2023.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeVar

from einsum_cascades import named_files
from einsum_cascades.errors import InputError, Location, check_type, unknown
from einsum_cascades.files import read_text
from einsum_cascades.ir import Access, Cascade, Declaration, Partition, Size, Stop, Subscript, Var, leaves
from einsum_cascades.order import Section, check_iteration, ordered
from einsum_cascades.parsed import ParsedEinsum, Scope, Written
from einsum_cascades.parser import RESERVED, parse_einsum_at, parse_stop
from einsum_cascades.yaml_source import Node, parse_yaml

MAX_EINSUMS = 200
MAX_LENGTH = 40_000
MAX_NAME = 60
MAX_RANKS = 32

_EINSUM_KEYS = ("declaration", "partition", "views", "init", "expressions", "final", "stop")
_KEYS = ("name", "title", "citation", *_EINSUM_KEYS)
LIBRARY = Path(__file__).parent / "library"
TENSOR = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
RANK = re.compile(r"[A-Z][A-Z0-9_]*")

T = TypeVar("T")


def _items(node: Node | None, read: Callable[[Node], T]) -> tuple[T, ...]:
    """Read a list, or a single item that stands for a list of one."""
    if node is None or node.value is None:
        return ()
    nodes = node.sequence() if isinstance(node.value, list) else [node]
    if len(nodes) > MAX_EINSUMS:
        raise node.error(f"expected at most {MAX_EINSUMS} entries, found {len(nodes)}")
    return tuple(read(n) for n in nodes)


def _name(node: Node) -> str:
    name = node.string()
    if len(name) > MAX_NAME:
        raise node.error(f"a name of {len(name)} characters, more than {MAX_NAME}")
    return name


def _rank(node: Node) -> str:
    name = _name(node)
    if not RANK.fullmatch(name):
        hint = f"write '{name.upper()}'" if RANK.fullmatch(name.upper()) else ""
        raise node.error(f"expected a rank name in upper case, found {node.kind}", hint)
    return name


def _declarations(node: Node) -> tuple[Declaration, ...]:
    found = []
    for tensor, ranks in node.mapping().items():
        key = node.keys[tensor]
        if not TENSOR.fullmatch(_name(key)):
            raise key.error(f"expected a tensor name, found {key.kind}", "a name has letters, digits and '_'")
        if tensor in RESERVED:
            raise key.error(f"'{tensor}' is an operator, not a tensor", "rename the tensor")
        if len(ranks.sequence()) > MAX_RANKS:
            raise ranks.error(f"expected at most {MAX_RANKS} ranks, found {len(ranks.sequence())}")
        names = tuple(_rank(r) for r in ranks.sequence())
        for i, name in enumerate(names):
            if name in names[:i]:
                raise ranks.sequence()[i].error(f"rank '{name}' is declared twice for '{tensor}'")
        found.append(Declaration(tensor, names))
    if not found:
        raise node.error("no tensor is declared", "write 'declaration: {Q: [E, P], ...}'")
    return tuple(found)


def _partitions(node: Node | None) -> tuple[Partition, ...]:
    if node is None or node.value is None:
        return ()
    found: list[Partition] = []
    taken: set[str] = set()
    for rank, parts in node.mapping().items():
        names = [(_rank(node.keys[rank]), node.keys[rank]), *((_rank(n), n) for n in parts.sequence())]
        if len(names) < 3:
            raise parts.error(f"expected at least two parts of '{rank}'", "write 'M: [M1, M0]', outermost first")
        for name, place in names:
            if name in taken:
                raise place.error(f"rank '{name}' belongs to more than one partition")
            taken.add(name)
        found.append(Partition(rank, tuple(name for name, _ in names[1:])))
    return tuple(found)


def _einsum(node: Node, scope: Scope) -> ParsedEinsum:
    """Read one Einsum; an unquoted ``::`` makes YAML see a mapping, which is read as the text that it was."""
    if isinstance(node.value, dict) and len(node.value) == 1 and next(iter(node.value)).endswith(":"):
        node = Node(node.raw, node.source, node.start, node.end)
    text = node.string()
    return parse_einsum_at(text, lambda start, width: node.place(start, width), scope)


def _sections(parts: dict[str, Node], scope: Scope) -> tuple[Section, Section, Section]:
    nodes = [parts.get(key) for key in ("init", "expressions", "final")]
    if sum(len(node.raw) for node in nodes if node) > MAX_LENGTH:
        raise parts["expressions"].error(f"the expressions have more than {MAX_LENGTH} characters")
    init, body, final = (_items(node, lambda item: _einsum(item, scope)) for node in nodes)
    return init, body, final


class _Checker:
    """Checks single Einsums against what is declared."""

    def __init__(self, declarations: tuple[Declaration, ...], stop: tuple[Stop, ...]) -> None:
        self.ranks_of = {d.tensor: d.ranks for d in declarations}
        self.bounds = {s.rank: s.bound for s in stop}

    def check(self, parsed: ParsedEinsum) -> None:
        """Raise for an access that does not fit its declaration, and for a variable that nothing binds."""
        for written in (parsed.output, *parsed.inputs):
            self._access(written, parsed)
        output, place = parsed.output, parsed.place
        bound = {r for leaf in leaves(parsed.einsum.expression) for r in leaf.ranks}
        for i, subscript in enumerate(output.access.subscripts):
            if bound and isinstance(subscript, Var) and subscript.rank not in bound:
                variable = subscript.rank.lower()
                message = f"'{variable}' is on the left but nothing on the right walks over it"
                raise InputError(message, location=place(*output.subscripts[i]), hint=_variables(bound))
            if isinstance(subscript, Size):
                raise InputError(
                    f"'{output.access.tensor}' is written at a rank's size",
                    location=place(*output.subscripts[i]),
                    hint="write at a variable, a shifted variable or a constant",
                )

    def _access(self, written: Written, parsed: ParsedEinsum) -> None:
        access, place = written.access, parsed.place
        if access.tensor not in self.ranks_of:
            raise unknown("tensor", access.tensor, self.ranks_of, location=place(*written.span))
        declared = self.ranks_of[access.tensor]
        if len(access.subscripts) != len(declared):
            shape = f"[{', '.join(declared)}]"
            count = f"{len(access.subscripts)} subscript" + "s" * (len(access.subscripts) != 1)
            message = f"'{access.tensor}' has {count}, but is declared {shape}"
            raise InputError(message, location=place(*written.span), hint=f"write {_as_declared(access, declared)}")
        for subscript, rank, span in zip(access.subscripts, declared, written.subscripts, strict=True):
            self._subscript(access, subscript, rank, place(*span))

    def _subscript(self, access: Access, subscript: Subscript, rank: str, location: Location) -> None:
        where = f"rank '{rank}' of '{access.tensor}'"
        if isinstance(subscript, Var) and subscript.rank != rank:
            message = f"'{subscript.rank.lower()}' cannot walk over {where}"
            hint = f"its variable is '{rank.lower()}', or declare {access.tensor} with rank {subscript.rank}"
            raise InputError(message, location=location, hint=hint)
        if not isinstance(subscript, Size):
            return
        bound = self.bounds.get(rank)
        if bound is None:
            hint = f"give its stop condition, 'stop: {rank.lower()} >= {rank}'" if subscript.rank == rank else ""
            message = f"{where} does not iterate, so it has no value at its size '{subscript.rank}'"
            raise InputError(message, location=location, hint=hint)
        if bound != subscript:
            value = bound.rank if isinstance(bound, Size) else str(bound.value)
            message = f"'{subscript.rank}' is not where {where} stops"
            raise InputError(message, location=location, hint=f"it stops at {value}")


def _variables(ranks: set[str]) -> str:
    return "variables on the right: " + ", ".join(sorted(r.lower() for r in ranks))


def _as_declared(access: Access, declared: tuple[str, ...]) -> str:
    return f"{access.tensor}[{', '.join(r.lower() for r in declared)}]" if declared else access.tensor


def _stops(node: Node | None, known: set[str]) -> tuple[Stop, ...]:
    def read(item: Node) -> Stop:
        stop = parse_stop(item.string(), item.place)
        if stop.rank not in known:
            raise unknown("rank", stop.rank, known, location=item.location)
        if isinstance(stop.bound, Size) and stop.bound.rank not in known:
            raise unknown("rank", stop.bound.rank, known, location=item.location)
        return stop

    found = _items(node, read)
    ranks = [s.rank for s in found]
    if node is not None and len(set(ranks)) < len(ranks):
        raise node.error("an iterative rank has two stop conditions")
    return found


def _views(
    node: Node | None,
    declarations: tuple[Declaration, ...],
    partitions: tuple[Partition, ...],
    written: set[str],
) -> tuple[tuple[str, str], ...]:
    if node is None or node.value is None:
        return ()
    ranks_of = {d.tensor: d.ranks for d in declarations}
    found: list[tuple[str, str]] = []
    for tiled, plain in node.mapping().items():
        key = node.keys[tiled]
        if tiled not in ranks_of:
            raise unknown("tensor", tiled, ranks_of, location=key.location)
        if tiled in written:
            raise key.error(f"'{tiled}' is computed, so it is no view of another tensor")
        if not TENSOR.fullmatch(_name(plain)) or plain.string() == tiled:
            raise plain.error(f"expected the plain tensor that '{tiled}' is a view of, found {plain.kind}")
        tiles = ranks_of[tiled]
        split = [p for p in partitions if set(p.parts) & set(tiles)]
        if not split:
            raise key.error(f"'{tiled}' has no rank that is split", "name its ranks under 'partition'")
        for partition in split:
            if [r for r in tiles if r in partition.parts] != list(partition.parts):
                parts = ", ".join(partition.parts)
                raise key.error(f"'{tiled}' must have all parts of '{partition.rank}': {parts}, in this order")
        whole = {part: p.rank for p in split for part in p.parts}
        ranks = tuple(dict.fromkeys(whole.get(r, r) for r in tiles))
        if ranks_of.get(plain.string(), ranks) != ranks:
            hint = f"its tiles '{tiled}' make it [{', '.join(ranks)}]"
            raise plain.error(f"'{plain.string()}' is declared with other ranks", hint)
        found.append((tiled, plain.string()))
    return tuple(found)


def _text(node: Node | None) -> str:
    return "" if node is None or node.value is None else node.string()


def _parts(root: Node) -> tuple[dict[str, Node], dict[str, Node]]:
    """Return the top-level keys, and those that hold the Einsums."""
    named_files.check_kind("cascade", root)
    top = root.mapping()
    if "einsum" in top:
        inner = top["einsum"].mapping(allowed=_EINSUM_KEYS, required=("declaration", "expressions"))
        return top, inner
    return root.mapping(allowed=_KEYS, required=("declaration", "expressions")), top


def parse_cascade(text: str, file: str = "<text>") -> Cascade:
    """Read a cascade from YAML text.

    Args:
        text: the YAML.
        file: what to call it in errors; its stem names a cascade that has no ``name``.

    Returns:
        The cascade. Each Einsum reads only what stands before it; an order that is right is kept.

    Raises:
        InputError: the text is no cascade; the error says where and what would be right.
    """
    check_type("the text of a cascade", text, str, "YAML text is expected; load_cascade reads a file or the library")
    top, parts = _parts(parse_yaml(text, file))
    declarations = _declarations(parts["declaration"])
    partitions = _partitions(parts.get("partition"))
    known = {r for d in declarations for r in d.ranks}
    known |= {r for p in partitions for r in (p.rank, *p.parts)}
    stop = _stops(parts.get("stop"), known)
    scope = Scope(frozenset(d.tensor for d in declarations), frozenset(known))
    init, body, final = _sections(parts, scope)
    if not body:
        raise parts["expressions"].error("a cascade needs at least one expression")
    checker = _Checker(declarations, stop)
    for parsed in (*init, *body, *final):
        checker.check(parsed)
    stop_node = parts.get("stop")
    check_iteration(body, stop, stop_node.location if stop_node else None)
    written = {p.einsum.name for p in (*init, *body, *final)}
    views = _views(parts.get("views"), declarations, partitions, written)
    init, body, final = ordered(init, body, final, dict(views))
    return Cascade(
        name=_text(top.get("name")) or Path(file).stem.strip("<>") or "cascade",
        declarations=declarations,
        body=tuple(p.einsum for p in body),
        init=tuple(p.einsum for p in init),
        final=tuple(p.einsum for p in final),
        stop=stop,
        partitions=partitions,
        views=views,
        title=_text(top.get("title")),
        citation=_text(top.get("citation")),
    )


def library_names() -> tuple[str, ...]:
    """Return the names of the library's cascades, sorted."""
    return named_files.names(LIBRARY)


def load_cascade(name_or_path: str | Path) -> Cascade:
    """Return a cascade of the library by its name, or read one from a YAML file.

    Raises:
        InputError: there is no such name or file, or the file is no cascade.
    """
    path = named_files.find("cascade", str(name_or_path), LIBRARY)
    return _library(path) if path.parent == LIBRARY else parse_cascade(read_text(path), str(path))


@cache
def _library(path: Path) -> Cascade:
    return parse_cascade(read_text(path), path.name)
