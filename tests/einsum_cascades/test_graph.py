"""Dependencies, and their graph in networkx and DOT."""

import re
from dataclasses import replace

import networkx as nx
import pytest

from einsum_cascades.errors import InputError
from einsum_cascades.graph import (
    Loop,
    consumers,
    dependencies,
    dependency_graph,
    execution_plan,
    node_names,
    producers,
    to_dot,
)
from einsum_cascades.ir import Access, Apply, Cascade, Declaration, Einsum, Var
from einsum_cascades.load import load_cascade, parse_cascade

ATTENTION = ("attention-3-pass", "attention-3-pass-deferred", "attention-2-pass", "attention-1-pass")


def edges(cascade):
    return {(a, b, d["tensor"], d["carried"]) for a, b, d in dependency_graph(cascade).edges(data=True)}


def test_three_pass_edges():
    assert edges(load_cascade("attention-3-pass")) == {
        ("Q", "QK", "Q", False),
        ("K", "QK", "K", False),
        ("QK", "GM", "QK", False),
        ("QK", "SN", "QK", False),
        ("GM", "SN", "GM", False),
        ("SN", "SD", "SN", False),
        ("SN", "A", "SN", False),
        ("SD", "A", "SD", False),
        ("A", "AV", "A", False),
        ("V", "AV", "V", False),
    }


def test_one_pass_carries_the_running_tensors():
    found = edges(load_cascade("attention-1-pass"))
    assert {(a, b) for a, b, _, carried in found if carried} == {
        ("RM", "RM"),
        ("RM", "PRM"),
        ("RD", "SPD"),
        ("RNV", "SPNV"),
    }
    assert {b for a, b, *_ in found if a == "RM@init"} == {"RM", "PRM"}
    assert ("RM", "SLN", "RM", False) in found
    assert {a for a, b, *_ in found if b == "AV"} == {"RNV", "RD"}


@pytest.mark.parametrize("name", ATTENTION)
def test_without_carried_edges_the_graph_is_acyclic(name):
    graph = dependency_graph(load_cascade(name))
    kept = [(a, b) for a, b, d in graph.edges(data=True) if not d["carried"]]
    assert nx.is_directed_acyclic_graph(nx.DiGraph(kept))
    kinds = nx.get_node_attributes(graph, "kind")
    assert {n for n, kind in kinds.items() if kind == "tensor"} == set(load_cascade(name).inputs)


def test_producers_and_consumers():
    cascade = load_cascade("attention-1-pass")
    assert [e.name for e in producers(cascade)["RM"]] == ["RM", "RM"]
    assert producers(cascade)["Q"] == ()
    assert [e.name for e in consumers(cascade)["RM"]] == ["RM", "SLN", "PRM"]
    assert consumers(cascade)["AV"] == ()
    assert set(producers(cascade)) == set(consumers(cascade)) == set(cascade.ranks_of)


def test_a_constant_read_depends_on_who_wrote_that_entry():
    cascade = parse_cascade("""
        declaration: {X: [N], Y: [T, N], Z: [N], W: [N]}
        init: ["Y[0, n] = X[n]"]
        expressions: ["Y[t+1, n] = Y[t, n] + X[n]"]
        final: ["Z[n] = Y[0, n]", "W[n] = Y[1, n]"]
        stop: t >= 3
    """)
    found = edges(cascade)
    assert {a for a, b, *_ in found if b == "Z"} == {"Y@init"}
    assert {a for a, b, *_ in found if b == "W"} == {"Y"}


def test_a_view_of_a_computed_tensor_depends_on_it():
    cascade = parse_cascade("""
        declaration: {X: [M], K: [M], BK: [M1, M0], Y: []}
        partition: {M: [M1, M0]}
        expressions: ["K[m] = X[m] * X[m]", "Y = BK[m1, m0]"]
    """)
    cascade = replace(cascade, views=(("BK", "K"),))
    assert edges(cascade) == {("X", "K", "X", False), ("K", "Y", "BK", False)}
    assert [(d.producer, d.consumer) for d in dependencies(cascade)] == [(0, 1)]


def test_plan_loops_only_over_recurrences():
    cascade = load_cascade("attention-1-pass")
    names = node_names(cascade)

    def shown(plan):
        return [(s.rank, shown(s.steps)) if isinstance(s, Loop) else names[s] for s in plan]

    plan = shown(execution_plan(cascade))
    loops = [step for step in plan if isinstance(step, tuple)]
    assert loops == [("M1", ["RM"]), ("M1", ["SPD", "RD"]), ("M1", ["SPNV", "RNV"])]
    assert plan.index("BQK") < plan.index("LM") < plan.index(loops[0]) < plan.index("SLN")
    assert plan[-1] == "AV"


def test_a_circle_is_named():
    x, y = (Access(t, (Var("M"),)) for t in "XY")
    circle = Cascade("c", (Declaration("X", ("M",)), Declaration("Y", ("M",))), (Einsum(x, y), Einsum(y, x)))
    with pytest.raises(InputError, match=r"circle of dependencies .*: X -> Y -> X"):
        execution_plan(circle)


def test_names_are_distinct_where_a_tensor_is_written_often():
    x, y = Access("X", (Var("M"),)), Access("Y", (Var("M"),))
    cascade = Cascade(
        "c",
        (Declaration("X", ("M",)), Declaration("Y", ("M",))),
        (Einsum(y, x), Einsum(y, Apply("neg", (x,)))),
        init=(Einsum(y, x),),
    )
    assert node_names(cascade) == ("Y@init", "Y", "Y#2")
    assert len(dependency_graph(cascade)) == 4


@pytest.mark.parametrize("name", ATTENTION)
def test_dot_says_what_the_graph_says(name):
    cascade = load_cascade(name)
    text = to_dot(cascade)
    graph = dependency_graph(cascade)
    assert text == to_dot(cascade)
    found = re.findall(r'^  "(.+)" -> "(.+)" \[label="(.+?)"(, style=dashed)?\];$', text, re.M)
    assert {(a, b, t, bool(dash)) for a, b, t, dash in found} == edges(cascade)
    assert set(re.findall(r'^  "([^"]+)" \[shape=', text, re.M)) == set(graph)
    assert text.startswith(f'digraph "{name}" {{\n')
    assert text.endswith("}\n")


def test_dot_quotes_names():
    cascade = Cascade('a "b" \\', (), ())
    assert to_dot(cascade).splitlines()[0] == 'digraph "a \\"b\\" \\\\" {'
