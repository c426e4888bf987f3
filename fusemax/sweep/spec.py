"""The specification of a sweep: a YAML file of axes, how they combine, and filters.

    title: Area and latency                      optional
    axes:                                        their product, unless they are zipped or sampled; the last varies first
      cascade: attention-1-pass
      arch: fusemax-cloud
      mapper: [fusemax-serial, fusemax-interleaved]
      model: BERT
      seq_len: {log_range: [1024, 2**20], factor: 4}
      array_2d.rows: {range: [64, 512, 64]}
      array_2d.columns: {range: [64, 512, 64]}
    zip:                                         axes that move together
      - [array_2d.rows, array_2d.columns]
    samples: {sobol: 4096, seed: 1}              or {random: ...}: points drawn instead of the product
    filter:                                      points that hold all of these remain
      - abs(area_mm2 / area_of('fusemax-cloud') - 1) <= 0.02

Axes are named as in ``fusemax evaluate``: ``cascade``, ``arch``, ``mapper``, ``accounting``, ``dtype``, ``causal``, the
workload's keys (``model`` or ``hf_config``, ``seq_len``, …), ranks, on GPUs scalars such as the width of a window, and
dotted keys of the machine's file. ``axes.py`` tells what an axis may be.
"""

from __future__ import annotations

import hashlib
from os import PathLike
from pathlib import Path
from typing import Final, Literal

from einsum_cascades.errors import InputError, all_of, unknown
from einsum_cascades.files import read_text
from einsum_cascades.load import load_cascade
from einsum_cascades.models import load_model, model_from_hf_config
from einsum_cascades.yaml_source import Node, parse_yaml
from fusemax.sweep.axes import Axis, Continuum, Listed, read_axis
from fusemax.sweep.checks import check_combinations
from fusemax.sweep.conditions import AREA_OF, Condition, parse_condition
from fusemax.sweep.names import Resources, axis_kinds, filter_kinds
from fusemax.sweep.sampling import MOST_SOBOL_POINTS
from fusemax.sweep.space import Samples, Sweep
from hw_models.load import load_architecture, read_machine_file
from hw_models.prices import node_prices

MOST_POINTS: Final = 2**50
_KEYS: Final = ("title", "axes", "zip", "samples", "filter", "files")
_NEEDED: Final = ("cascade", "arch", "mapper")
_MODELS: Final = ("model", "hf_config")
_DEFAULTS: Final = {"accounting": "published"}


def read_sweep(path: str | PathLike[str]) -> Sweep:
    """Return the sweep that a YAML file specifies.

    Raises:
        InputError: no such file, no YAML, or no sweep: with the place, and what would be right.
    """
    return parse_sweep(read_text(Path(path)), str(path))


def parse_sweep(text: str, file: str = "<text>") -> Sweep:
    """Return the sweep that a YAML text specifies.

    Args:
        file: what to call the text in errors.

    Raises:
        InputError: as ``read_sweep``.
    """
    parts, nodes = _keys(parse_yaml(text, file))
    title = " ".join(parts["title"].string().split()) if "title" in parts else ""
    samples = _samples(parts["samples"]) if "samples" in parts else None
    named: dict[str, Axis] = {
        key: read_axis(key, "name", nodes[key], samples is not None) for key in (*_NEEDED, *_MODELS) if key in nodes
    }
    resources = _resources(named, nodes)
    axes = _axes(nodes, parts["axes"], resources, samples is not None)
    zips = _zips(parts["zip"], axes, samples) if "zip" in parts else ()
    files = _files(named)
    if "files" in parts:
        _check_files(parts["files"], files)
    filters, areas = _filters(parts.get("filter"), axes, resources)
    sweep = Sweep(axes, zips, samples, filters, files, title, areas, resources)
    if sweep.points > MOST_POINTS:
        raise parts["axes"].error(f"these are {sweep.points} points, more than 2^50", "draw samples instead")
    check_combinations(sweep, nodes, parts["axes"])
    return sweep


def _keys(root: Node) -> tuple[dict[str, Node], dict[str, Node]]:
    """Return the parts of the specification, and its axes as written.

    Raises:
        InputError: keys are missing or unknown, wherever they are; or a model is given in two ways.
    """
    axes = root.value.get("axes") if isinstance(root.value, dict) else None
    faults = []
    for node, allowed, required in ((root, _KEYS, ("axes",)), (axes, None, _NEEDED)):
        try:
            if node is not None:
                node.mapping(allowed=allowed, required=required)
        except InputError as error:
            faults.append(error)
    if faults:
        raise all_of(faults)
    parts = root.mapping()
    nodes = parts["axes"].mapping()
    if all(key in nodes for key in _MODELS):
        place = parts["axes"].keys[_MODELS[1]].location
        raise InputError("both 'model' and 'hf_config' are axes", location=place, hint="leave one of them out")
    return parts, nodes


def _samples(node: Node) -> Samples:
    parts = node.mapping(allowed=("sobol", "random", "seed"))
    methods = [m for m in ("sobol", "random") if m in parts]
    if len(methods) != 1:
        raise node.error("samples need one of sobol and random", "write {sobol: 4096, seed: 1}")
    method: Literal["sobol", "random"] = "sobol" if methods[0] == "sobol" else "random"
    count = parts[method].integer(minimum=1, maximum=MOST_SOBOL_POINTS if method == "sobol" else MOST_POINTS)
    seed = parts["seed"].integer(minimum=0, maximum=2**63 - 1) if "seed" in parts else 0
    return Samples(method, count, seed)


def _resources(named: dict[str, Axis], nodes: dict[str, Node]) -> Resources:
    def each(key: str) -> list[tuple[str, Node]]:
        return [(str(v), _item(nodes[key], v)) for v in named[key].extremes] if key in named else []

    def loaded(key: str, load: object) -> dict[str, object]:
        found = {}
        for name, node in each(key):
            try:
                found[name] = load(name)  # type: ignore[operator]
            except InputError as error:
                raise error.at(node.location) from None
        return found

    models = loaded("model", load_model) | loaded("hf_config", model_from_hf_config)
    return Resources(loaded("cascade", load_cascade), loaded("arch", read_machine_file), models)  # type: ignore[arg-type]


def _item(node: Node, value: object) -> Node:
    """Return the node of one value of an axis."""
    node = node.value.get("values", node) if isinstance(node.value, dict) else node
    items = node.value if isinstance(node.value, list) else [node]
    return next((i for i in items if i.value == value or i.raw == value), node)


def _axes(nodes: dict[str, Node], node: Node, resources: Resources, sampled: bool) -> tuple[Axis, ...]:
    kinds = axis_kinds(resources)
    if faults := [
        unknown("axis", name, kinds, location=node.keys[name].location) for name in nodes if name not in kinds
    ]:
        raise all_of(faults)
    axes = [read_axis(name, kinds[name], value, sampled) for name, value in nodes.items()]
    axes += [Axis(name, "name", Listed((value,))) for name, value in _DEFAULTS.items() if name not in nodes]
    return tuple(axes)


def _zips(node: Node, axes: tuple[Axis, ...], samples: Samples | None) -> tuple[tuple[str, ...], ...]:
    by_name = {axis.name: axis for axis in axes}
    seen: set[str] = set()
    zips = []
    for group in node.sequence():
        members = []
        for item in group.sequence():
            name = item.string()
            if name not in by_name:
                raise unknown("axis", name, by_name, location=item.location)
            if name in seen:
                raise item.error(f"'{name}' is zipped twice", "one axis moves with one group")
            seen.add(name)
            members.append(by_name[name])
        if len(members) < 2:
            raise group.error("a zip has at least two axes")
        counts = {axis.name: axis.values.count for axis in members if not isinstance(axis.values, Continuum)}
        if len(set(counts.values())) > 1:
            shown = ", ".join(f"{name} has {count}" for name, count in counts.items())
            raise group.error(f"zipped axes have different numbers of values: {shown}", "give them equally many")
        zips.append(tuple(axis.name for axis in members))
    return tuple(zips)


def _filters(
    node: Node | None, axes: tuple[Axis, ...], resources: Resources
) -> tuple[tuple[Condition, ...], tuple[tuple[str, float], ...]]:
    """Return the conditions, and the areas of the machines that they name."""
    if node is None:
        return (), ()
    known = filter_kinds([(a.name, a.kind) for a in axes], resources)
    items = node.value if isinstance(node.value, list) else [node]
    found = []
    areas = {}
    for item in items:
        condition = parse_condition(item.string(), item.place, known)
        found.append(condition)
        for part in condition.walk():
            if part.form == "call" and part.value == AREA_OF:
                name = str(part.parts[0].value)
                try:
                    areas[name] = float(node_prices(load_architecture(name)).area_mm2)
                except InputError as error:
                    raise InputError(error.message, location=item.place(*part.span), hint=error.hint) from None
    return tuple(found), tuple(sorted(areas.items()))


def _files(named: dict[str, Axis]) -> tuple[tuple[str, str], ...]:
    """Names that stand for files of the user, and the digests of their texts."""
    found = {}
    for axis in named.values():
        for name in map(str, axis.extremes):
            if axis.name != "mapper" and Path(name).is_file():
                found[name] = hashlib.sha256(read_text(name).encode()).hexdigest()
    return tuple(sorted(found.items()))


def _check_files(node: Node, files: tuple[tuple[str, str], ...]) -> None:
    stated = node.mapping()
    for name, digest in files:
        if name in stated and stated[name].value != digest:
            raise stated[name].error(f"the text of {name} is another one now", f"its SHA-256 digest is {digest}")
