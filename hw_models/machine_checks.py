"""What can be wrong with a machine's file beyond the type of each value: that the nodes are a tree, and references.

Faults are (dotted key, what is wrong, what would be right); ``schema.check`` finds their places.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from einsum_cascades.errors import InputError, nearest, quoted
from einsum_cascades.schema import Fault
from hw_models.components import check_technology, dram_presets, dram_timing, scale
from hw_models.dram_timing import FIGURES
from hw_models.machine_schema import NAME, PORTS, Layout
from hw_models.machine_values import Values, numbers, target

_DOTTED: Final = re.compile(r"[A-Za-z]\w*(?:\.[A-Za-z]\w*)+")
_SKEWS: Final = ("fill", "drain")


def faults_of(tree: Mapping[str, Any], layout: Layout, types: Mapping[str, type], whole: bool) -> Iterator[Fault]:
    """Yield what is wrong with a file's structure.

    Args:
        tree: its values as plain dicts, overrides laid over them; they may be of any type.
        types: of all keys.
        whole: whether these are all keys that the file means to have, so that a reference to another one is a slip.
    """
    nodes = {name: tree[name] for name, _, _ in layout if isinstance(tree.get(name), dict)}
    kinds = {name: kind for name, kind, _ in layout}
    yield from _tree_faults({name: node.get("in") for name, node in nodes.items()}, kinds)
    roots = [name for name, node in nodes.items() if node.get("in") is None]
    for name, kind, dimensions in layout:
        if name in nodes:
            yield from _node_faults(name, nodes[name], kinds, dimensions, kind == "memory" and roots == [name])
    if whole:
        yield from _all_reference_faults(dict(_flat(tree)), types)
    if isinstance(nm := tree.get("technology_nm", 45), int | float) and nm >= 1:
        yield from _technology_faults(nm, nodes)


def values_that_do_not_fit(layout: Layout, values: Values) -> Iterator[Fault]:
    """Yield which memories have no room for what one of their accesses moves.

    Args:
        values: of a file that is otherwise right.
    """
    found = numbers(layout, values)
    for name, kind, _ in layout:
        size, width = (found.get(f"{name}.{key}") for key in ("bytes", "width_bits"))
        if kind == "memory" and size is not None and width is not None and 8 * size < width:
            row = found[f"{name}.row_values"]
            least = -(-width // 8)
            hint = f"a row of {row} values has {least}; {name}.row_values sets a shorter one"
            wide = f"one of {width} bits has {least}; {name}.width_bits sets a narrower one"
            message = f"{name} has {size} bytes, less than one {'access' if row is None else 'row'}"
            yield f"{name}.bytes", message, wide if row is None else hint


def _tree_faults(parents: Mapping[str, Any], kinds: Mapping[str, str]) -> Iterator[Fault]:
    """Yield where the nodes are no tree whose inner nodes are memories."""
    memories = [name for name, kind in kinds.items() if kind == "memory"]
    roots = [name for name, parent in parents.items() if parent is None]
    for name, parent in parents.items():
        if parent is None or not isinstance(parent, str):
            continue
        if parent not in kinds:
            yield f"{name}.in", f"{name} is in {quoted(parent)}, which is no node", nearest(parent, memories)
        elif kinds[parent] == "array":
            hint = "a memory is expected" + (": " + ", ".join(memories) if memories else "")
            yield f"{name}.in", f"{name} is in {parent}, an array, which has nothing inside", hint
    for name in roots[1:]:
        message = f"nothing says what {roots[0]} and {name} are in; only one node, the off-chip memory, is in none"
        yield name, message, "add 'in: ...' to one of them: the memory that it takes values from"
    if roots and kinds[roots[0]] == "array":
        yield roots[0], f"nothing says what the array {roots[0]} is in", "add 'in: ...', the memory of its values"
    if kinds and "array" not in kinds.values():
        yield next(iter(kinds)), "no node is an array", "add one with 'kind: array': what computes"
    yield from _circles({name: parent for name, parent in parents.items() if kinds[name] == "memory"})


def _circles(parents: Mapping[str, Any]) -> Iterator[Fault]:
    told: set[str] = set()
    for start in parents:
        path = [start]
        while isinstance(parent := parents.get(path[-1]), str) and parent in parents and parent not in path:
            path.append(parent)
        if parent == start and not told & set(path):
            told |= set(path)
            circle = " in ".join([*path, start])
            hint = "one of them is in a memory further out, or is the off-chip memory, which is in none"
            yield f"{start}.in", f"memories are in one another: {circle}", hint


def _node_faults(
    name: str, node: Mapping[str, Any], kinds: Mapping[str, str], dimensions: tuple[str, ...], outermost: bool
) -> Iterator[Fault]:
    """Yield what is wrong with the names that a node uses, and what its price lacks."""
    arrays = [n for n, kind in kinds.items() if kind == "array"]
    if outermost and dimensions:
        yield (
            f"{name}.{dimensions[0]}",
            f"{name} is the off-chip memory, of which there is one",
            "leave out 'dimensions'",
        )
    link = node.get("link")
    mesh = link.get("mesh") if isinstance(link, dict) else ()
    for named in re.findall(r"[^\s,]+", mesh) if isinstance(mesh, str) else mesh if isinstance(mesh, list) else ():
        if isinstance(named, str) and named not in dimensions:
            yield f"{name}.link.mesh", f"{name} has no dimension {quoted(named)}", nearest(named, dimensions)
    like = node.get("priced_as")
    if isinstance(like, str) and like not in arrays:
        yield (
            f"{name}.priced_as",
            f"{quoted(like)} is no array, whose register file would price it",
            nearest(like, arrays),
        )
    for skew in _SKEWS if kinds[name] == "array" else ():
        value = node.get(skew)
        if isinstance(value, str) and NAME.fullmatch(value) and value not in dimensions:
            hint = nearest(value, dimensions) if dimensions else "a number of cycles is expected"
            yield f"{name}.{skew}", f"{name}.{skew} is '{value}', which is no dimension of {name}", hint
    yield from _timing_faults(name, node, outermost)
    if node.get("cells") == "regfile" and node.get("table", "accelergy") != "accelergy":
        yield f"{name}.table", f"the table {node['table']} has no register files", "the table accelergy has"
    if kinds[name] == "memory" and _needs_width(node, node.get("in") is None):
        hint = "add 'row_values: ...' or 'width_bits: ...': what one access moves"
        yield name, f"'{name}.row_values' is missing", hint


def _timing_faults(name: str, node: Mapping[str, Any], outermost: bool) -> Iterator[Fault]:
    """Yield what is wrong with the timing of the off-chip memory, as far as no figure is wrong by itself."""
    timing = node.get("timing")
    stated = {**timing} if isinstance(timing, dict) else {}
    for key in ("timing", "latency_s") if not outermost else ():
        if node.get(key):
            yield f"{name}.{key}", f"{name} is not the off-chip memory, which alone has '{key}'", f"leave out '{key}'"
    preset = stated.pop("preset", None)
    if not outermost or (not stated and preset is None) or (preset is not None and preset not in dram_presets()):
        return
    for rate in ("read_bytes_per_s", "write_bytes_per_s"):
        if node.get(rate) is not None:
            hint = "state bandwidth_bytes_per_s"
            yield f"{name}.{rate}", f"reads and writes share the data bus of a memory with timing, {name}", hint
    figures = {**(vars(dram_timing(preset)) if preset is not None else {"channels": 1}), **stated}
    for figure in FIGURES:
        if figure not in figures:
            hint = f"add '{figure}: ...', or 'preset: ...', whose figures hold where none is given"
            yield f"{name}.timing.{figure}", f"'{name}.timing.{figure}' is missing", hint
    if all(isinstance(figures.get(figure), int | float) for figure in FIGURES):
        yield from _figure_faults(f"{name}.timing", figures)


def _figure_faults(place: str, figures: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield which figures no memory has together."""
    row, burst = figures["row_bytes"], figures["burst_bytes"]
    if burst < 1 or row % burst:
        yield f"{place}.row_bytes", f"a row of {row} bytes has no whole number of bursts", f"a multiple of {burst}"
    groups = figures["groups"] * figures["t_bl"]
    if figures["t_ccd_l"] > groups:
        message = f"t_ccd_l is {figures['t_ccd_l']}, so bursts that go round the groups would not follow without a gap"
        yield f"{place}.t_ccd_l", message, f"at most groups x t_bl, {groups} cycles"
    least = sum(figures[f"t_{name}"] for name in ("rfc", "rp", "ras", "rcd", "faw", "cwl", "bl", "wr"))
    if 0 < figures["t_refi"] <= least:
        message = f"a refresh falls due every {figures['t_refi']} cycles, before the last one is over"
        yield f"{place}.t_refi", message, f"more than {least} cycles, or 0 for no refresh"


def _needs_width(node: Mapping[str, Any], outermost: bool) -> bool:
    if node.get("row_values") is not None or node.get("width_bits") is not None:
        return False
    if any(node.get(key) is not None for key in ("read_j", "write_j")) or node.get("bandwidth_bytes_per_s") == PORTS:
        return True
    if outermost or any(node.get(key) is not None for key in ("priced_as", "component")):
        return False
    return "bytes" in node and any(node.get(key) is None for key in ("energy_j_per_byte", "leak_w", "area_mm2"))


def _all_reference_faults(flat: Mapping[str, Any], types: Mapping[str, type]) -> Iterator[Fault]:
    told: set[str] = set()
    for key in types:
        if types[key] is int and key in flat and key not in told:
            fault, circle = _reference_fault(key, flat, types)
            told |= circle
            if fault is not None:
                yield fault


def _reference_fault(
    key: str, flat: Mapping[str, Any], types: Mapping[str, type]
) -> tuple[Fault | None, frozenset[str]]:
    """Return what is wrong with the value that a reference refers to, and the keys that refer to one another."""
    path = [key]
    while isinstance(value := flat.get(path[-1]), str):
        bare = path[-1].rpartition(".")[2] in _SKEWS and NAME.fullmatch(value)
        if not bare and not _DOTTED.fullmatch(value):
            return None, frozenset()
        path.append(target(path[-1], value))
        if types.get(path[-1]) is not int:
            known = [k for k in types if types[k] is int and k.count(".") == 1]
            wrong = (key, f"{key} is '{value}', which is no whole number of this machine", nearest(value, known))
            return (wrong if len(path) == 2 and not bare else None), frozenset()
        if path[-1] == key:
            what = "values refer to one another: " + " = ".join(path)
            return (key, what, "state one of them as a number"), frozenset(path)
        if path[-1] in path[:-1]:
            return None, frozenset()
    if value is None and len(path) == 2:
        hint = f"state {path[1]}, or give a number here"
        return (key, f"{key} is '{path[1]}', which is not stated", hint), frozenset()
    return None, frozenset()


def _technology_faults(nm: float, nodes: Mapping[str, Mapping[str, Any]]) -> Iterator[Fault]:
    try:
        scale(nm)
        if any(node.get("table", "accelergy") != "accelergy" for node in nodes.values()):
            check_technology(nm)
    except InputError as error:
        yield "technology_nm", error.message, error.hint


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
