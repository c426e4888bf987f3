"""Roles, sections, binding and epochs of the published cascades, as the publication draws them."""

from dataclasses import replace

import pytest

from einsum_cascades.errors import InputError
from einsum_cascades.load import load_cascade, parse_cascade
from einsum_cascades.passes import analyse_passes
from hw_models.load import load_architecture
from mappers.binding import bind
from mappers.residency import Residency
from mappers.roles import find_roles
from mappers.rows import row_sections
from mappers.schedule import epochs

ATTENTION = ["attention-3-pass", "attention-3-pass-deferred", "attention-2-pass", "attention-1-pass"]


def residency(cascade: str, machine: str) -> Residency:
    found = load_cascade(cascade)
    roles = find_roles(found)
    architecture = load_architecture(machine)
    return Residency(found, roles, bind(found, roles, architecture), architecture.staging)


@pytest.mark.parametrize("name", ATTENTION)
def test_queries_lie_along_the_columns_and_keys_along_the_rows(name):
    roles = find_roles(load_cascade(name))
    assert roles.column == "P"
    assert roles.source == "M"
    assert roles.batches == ()


@pytest.mark.parametrize("name", ATTENTION)
def test_sections_agree_with_the_pass_analysis(name):
    cascade = load_cascade(name)
    family, sections = row_sections(cascade)
    analysis = analyse_passes(cascade, "M")
    assert max(k for k, _ in sections.values()) == analysis.passes
    for einsum in cascade.body:
        if set(family) <= set(einsum.ranks):
            assert sections[einsum.name] == (analysis.einsum_pass[einsum.name], False)


@pytest.mark.parametrize(
    ("cascade", "machine", "on_2d"),
    [
        ("attention-1-pass", "fusemax-cloud", {"BQK", "LM", "SLN", "SLD", "SLNV"}),
        ("attention-1-pass", "flat-cloud", {"BQK", "SLNV"}),
        ("attention-3-pass", "flat-cloud", {"QK", "AV"}),
        ("attention-3-pass-deferred", "fusemax-cloud", {"QK", "GM", "SN", "SD", "SNV"}),
    ],
)
def test_an_einsum_goes_where_its_operators_and_operands_are(cascade, machine, on_2d):
    arrays = residency(cascade, machine).arrays
    assert {name for name, array in arrays.items() if array == "array_2d"} == on_2d


def test_interleaved_epochs_of_the_published_binding():
    found, drains = epochs(residency("attention-1-pass", "fusemax-cloud"), interleaved=True)
    assert [set(e) for e in found] == [
        {"BQK", "LM", "RD", "RNV", "AV"},
        {"RM"},
        {"SLN", "SLD", "SLNV", "PRM", "SPD", "SPNV"},
    ]
    assert drains == 0


def test_serial_epochs_keep_the_streamed_fiber_and_wait_for_the_drain():
    found, drains = epochs(residency("attention-1-pass", "fusemax-cloud"), interleaved=False)
    assert [set(e) for e in found] == [
        {"BQK", "LM", "RD", "AV"},
        {"RM"},
        {"SLN", "SLD", "SLNV", "PRM", "SPD", "SPNV", "RNV"},
    ]
    assert drains == 1


@pytest.mark.parametrize("interleaved", [True, False])
def test_tiles_through_the_buffer_decouple_the_arrays(interleaved):
    found, drains = epochs(residency("attention-1-pass", "flat-cloud"), interleaved=interleaved)
    assert len(found) == 1
    assert drains == 0


def test_tiles_pass_through_the_buffer_only_where_an_array_cannot_keep_them():
    assert residency("attention-1-pass", "flat-cloud").buffered_tiles == ("BQK", "SLN")
    assert residency("attention-1-pass", "fusemax-cloud").buffered_tiles == ()


def test_what_a_later_pass_needs_crosses():
    assert residency("attention-3-pass", "fusemax-cloud").crossing_tiles == ("QK", "SN")
    assert set(residency("attention-2-pass", "fusemax-cloud").crossing_tiles) == {"SLN"}
    assert residency("attention-1-pass", "fusemax-cloud").crossing_tiles == ()


def test_operators_that_no_array_offers_are_named():
    text = "declaration: {X: [M, P], S: [P]}\nexpressions: ['S[p] = exp(X[m, p])']"
    cascade = parse_cascade(text)
    machine = load_architecture("flat-cloud")
    roles = find_roles(cascade)
    assert bind(cascade, roles, machine) == {"S": "array_1d"}
    text = "declaration: {X: [M, P], S: [P]}\nexpressions: ['S[p] = X[m, p] / 2']"
    lanes = replace(machine.array_1d, units=tuple(u for u in machine.array_1d.units if u[0] != "divide"))
    with pytest.raises(InputError, match="S needs: add, divide"):
        bind(parse_cascade(text), roles, replace(machine, array_1d=lanes))


def test_a_cascade_without_a_reduction_cannot_be_fused():
    text = "declaration: {X: [M, P], Y: [M, P]}\nexpressions: ['Y[m, p] = X[m, p] * 2']"
    with pytest.raises(InputError, match="reduces no rank"):
        find_roles(parse_cascade(text))
