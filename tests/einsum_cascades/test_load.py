"""Whole cascades: the library, TeAAL's shape, the order of Einsums."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from einsum_cascades.errors import InputError
from einsum_cascades.ir import Access, Const, Declaration, Partition, Reduction, Size, Stop
from einsum_cascades.load import library_names, load_cascade, parse_cascade

TEAAL = """
einsum:
  declaration:
    A: [K, M]
    B: [K, N]
    T: [K, M, N]
    Z: [M, N]
  expressions:
    - T[k, m, n] = A[k, m] * B[k, n]
    - Z[m, n] = T[k, m, n]
mapping:
  rank-order:
    A: [M, K]
  partitioning:
    T:
      (K, M): [flatten()]
      KM: [uniform_occupancy(A.256), uniform_occupancy(A.16)]
  loop-order:
    Z: [M, N, K]
format:
  A:
    default:
      rank-order: [M, K]
architecture:
  accelerator:
  - name: System
    local:
    - name: MainMemory
      class: DRAM
      attributes: {bandwidth: 68.256}
"""


def test_library_names():
    assert library_names() == (
        "attention-1-pass",
        "attention-2-pass",
        "attention-3-pass",
        "attention-3-pass-deferred",
        "attention-alibi",
        "attention-causal",
        "attention-differential",
        "attention-linear",
        "attention-relu",
        "attention-sigmoid",
        "attention-sliding-window",
        "attention-soft-cap",
        "attention-softmax-unstable",
        "attention-split-k",
        "cross-entropy",
        "layer-norm",
        "linear-layers",
        "log-sum-exp",
        "rms-norm",
        "softmax-matmul",
        "variance",
    )


@pytest.mark.parametrize(
    ("name", "inputs", "outputs", "body"),
    [
        ("attention-3-pass", "Q K V", "AV", "QK GM SN SD A AV"),
        ("attention-3-pass-deferred", "Q K V", "AV", "QK GM SN SD SNV AV"),
        ("attention-2-pass", "Q BK BV", "AV", "BQK LM GM SLN SLD PLM SN SPD SD A AV"),
        ("attention-1-pass", "Q BK BV", "AV", "BQK LM RM SLN SLD SLNV PRM SPD RD SPNV RNV"),
        ("linear-layers", "X WQ WK WV AV WO W1 W2", "Q K V F2", "Q K V Z F1 F2"),
    ],
)
def test_library(name, inputs, outputs, body):
    cascade = load_cascade(name)
    assert cascade.name == name
    assert cascade.title
    assert cascade.citation
    assert " ".join(cascade.inputs) == inputs
    assert " ".join(cascade.outputs) == outputs
    assert " ".join(e.name for e in cascade.body) == body


def test_one_pass_attention_iterates():
    cascade = load_cascade("attention-1-pass")
    assert cascade.stop == (Stop("M1", Size("M1")),)
    assert [e.name for e in cascade.init] == ["RM", "RD", "RNV"]
    assert [e.name for e in cascade.final] == ["AV"]
    assert cascade.partitions == (Partition("M", ("M1", "M0")),)
    assert cascade.views == (("BK", "K"), ("BV", "V"))


def test_teaal_file_loads_unchanged():
    cascade = parse_cascade(TEAAL, "sigma.yaml")
    assert cascade.name == "sigma"
    assert cascade.inputs == ("A", "B")
    assert cascade.outputs == ("Z",)
    assert cascade.body[1].reductions == (Reduction("K", "add"),)


def cascade_of(*expressions: str, declaration: str = "A: [K], B: [K], Y: [], Z: [K]", more: str = ""):
    lines = "".join(f"  - {e}\n" for e in expressions)
    return parse_cascade(f"declaration: {{{declaration}}}\nexpressions:\n{lines}{more}")


def test_all_yaml_spellings_of_one_expression_are_equal():
    text = "Y = A[k] * B[k] :: reduce(k) max"
    spellings = [
        text,
        f"'{text}'",
        f'"{text}"',
        f">\n    {text}",
        "|\n    Y = A[k]\n      * B[k] :: reduce(k)\n      max",
    ]
    assert len({cascade_of(s).body for s in spellings}) == 1
    folded = "Y = A[k]\n    * B[k]"
    assert cascade_of(folded).body == cascade_of("Y = A[k] * B[k]").body


def test_a_single_expression_needs_no_list():
    cascade = parse_cascade("declaration: {Y: [], A: [K]}\nexpressions: Y = A[k]\n")
    assert [e.name for e in cascade.body] == ["Y"]


def test_einsums_are_put_in_an_order_that_can_run():
    cascade = cascade_of("Z[k] = A[k] * Y", "Y = A[k] * B[k]")
    assert [e.name for e in cascade.body] == ["Y", "Z"]


@settings(max_examples=40, deadline=None)
@given(st.data(), st.sampled_from(library_names()))
def test_any_order_of_the_library_can_run(data, name):
    cascade = load_cascade(name)
    shuffled = replace(cascade, body=tuple(data.draw(st.permutations(cascade.body))))
    read = parse_cascade(str(shuffled))
    assert set(read.body) == set(cascade.body)
    done: set[Access] = {e.output for e in read.init}
    later = {e.output for e in read.body}
    for einsum in read.body:
        later.discard(einsum.output)
        assert not later.intersection(einsum.inputs) - done
        done.add(einsum.output)


def test_an_iterative_tensor_may_be_read_before_it_is_written():
    declaration = "A: [I], Y: [I], Z: []"
    more = "init: ['Y[0] = 0']\nfinal: ['Z = Y[I]']\nstop: i >= I\n"
    cascade = cascade_of("Y[i+1] = Y[i] + A[i]", declaration=declaration, more=more)
    assert cascade.iterative_ranks == ("I",)
    more = "init: ['Y[0] = 0', 'Y[1] = 1']\nstop: ['i >= 6']\n"
    cascade = cascade_of("Y[i+2] = Y[i] + Y[i+1]", declaration="Y: [I]", more=more)
    assert cascade.stop == (Stop("I", Const(6)),)


def test_a_view_of_a_computed_tensor_comes_after_it():
    declaration = "X: [M], K: [M], BK: [M1, M0], Y: []"
    more = "partition: {M: [M1, M0]}\nviews: {BK: K}\n"
    cascade = cascade_of("Y = BK[m1, m0]", "K[m] = exp(X[m])", declaration=declaration, more=more)
    assert [e.name for e in cascade.body] == ["K", "Y"]


def test_a_declared_plain_tensor_has_the_ranks_of_its_tiles():
    text = load_cascade("attention-2-pass")
    declared = replace(text, declarations=(*text.declarations, Declaration("K", ("E", "M"))))
    assert parse_cascade(str(declared)).ranks_of["K"] == ("E", "M")
    declared = replace(text, declarations=(*text.declarations, Declaration("K", ("M", "E"))))
    with pytest.raises(InputError, match=r"'K' is declared with other ranks[\s\S]*\[E, M\]"):
        parse_cascade(str(declared))


def test_load_from_a_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(TEAAL, encoding="utf-8")
    assert load_cascade(str(path)) == load_cascade(path)
    assert load_cascade(path).name == "mine"
    path.write_text("expressions: []\n", encoding="utf-8")
    with pytest.raises(InputError, match="missing key 'declaration'") as caught:
        load_cascade(path)
    assert caught.value.location is not None
    assert caught.value.location.file == str(path)


@pytest.mark.parametrize("name", ["attention-1-pas", "no-such.yaml", "", "/", "a\0b", "x" * 5000])
def test_an_unknown_name_is_one_clear_error(name):
    with pytest.raises(InputError):
        load_cascade(name)
