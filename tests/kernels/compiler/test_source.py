"""The generated text: from the checked tree alone, and the same whether compiled or not."""

from __future__ import annotations

import ast
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from einsum_cascades.errors import InputError
from einsum_cascades.ir import Access, Cascade, Declaration, Einsum, Number, Var
from einsum_cascades.load import library_names, load_cascade, parse_cascade
from kernels import compile_cascade
from kernels.compiler import loading
from kernels.compiler.normalise import normalise
from kernels.compiler.source import program_of, source_of

EVIL = '"""\nimport os; os.system("echo owned")\n#'
PREFIXES = ("t_", "v_", "n_", "i_", "lo_", "c_", "b_", "first_", "rows_", "run_", "x")
WORDS = {
    *(
        "np",
        "njit",
        "wide_sigmoid",
        "real",
        "exp",
        "add",
        "add_product",
        "maximum",
        "minimum",
        "sigmoid",
        "abs",
        "range",
    ),
    *("min", "max", "n", "block", "rows", "workers", "worker", "groups", "tasks", "task", "first", "rest", "total"),
    *("a", "b", "small"),
}


def names_in(text: str) -> set[str]:
    tree = ast.parse(text)
    found = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return found | {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}


@pytest.mark.parametrize("name", library_names())
def test_every_identifier_is_ours(name: str) -> None:
    found = names_in(compile_cascade(load_cascade(name)).source)
    assert {n for n in found - WORDS if not n.startswith(PREFIXES)} == set()


def test_texts_of_the_user_never_get_into_code() -> None:
    cascade = replace(load_cascade("attention-1-pass"), name=EVIL, title=EVIL, citation=EVIL)
    assert compile_cascade(cascade).source == compile_cascade(load_cascade("attention-1-pass")).source
    assert "owned" not in compile_cascade(cascade).source


def test_keywords_builtins_and_our_own_words_are_fine_as_names(same) -> None:  # type: ignore[no-untyped-def]
    cascade = parse_cascade("""
        declaration: {lambda: [IF, N], range: [N], __import__: [IF], np: [], t_range: [IF]}
        expressions:
          - range[n] = exp(lambda[if, n])
          - '__import__[if] = lambda[if, n] * range[n] :: reduce(n) max'
          - t_range[if] = __import__[if] + np
    """)
    import numpy as np

    same(cascade, {"lambda": np.ones((3, 2)), "np": np.float64(2.0)}, each=True)
    found = names_in(compile_cascade(cascade).source)
    assert {n for n in found - WORDS if not n.startswith(PREFIXES)} == set()


@pytest.mark.parametrize(
    ("tensor", "rank"), [("Y; import os", "M"), ("Y\u00df", "M"), ("", "M"), ("Y", "m"), ("Y", "M]\n"), ("Y", "\u039c")]
)
def test_names_that_the_notation_does_not_allow(tensor: str, rank: str) -> None:
    cascade = Cascade("by hand", (Declaration(tensor, (rank,)),), (Einsum(Access(tensor, (Var(rank),)), Number(1.0)),))
    with pytest.raises(InputError, match="cannot be compiled"):
        compile_cascade(cascade)


def test_a_reduction_with_several_operators_is_several_einsums() -> None:
    cascade = normalise(
        parse_cascade("""
        declaration: {A: [I, J, K], Y: [], Y_1: [I]}
        expressions: ["Y_1[i] = A[i, 0, 0]", "Y = A[i, j, k] :: reduce(j, k) max :: reduce(i) +"]
        """)
    )
    assert [(e.name, [r.operator for r in e.reductions]) for e in cascade.einsums] == [
        ("Y_1", []),
        ("Y_2", ["max", "max"]),
        ("Y", ["add"]),
    ]


def test_costly_operands_with_fewer_ranks_are_computed_once() -> None:
    cascade = normalise(
        parse_cascade("""
        declaration: {A: [M, K], B: [K, N], C: [N], Y: [M, N], Z: [M, N]}
        expressions: ["Y[m, n] = exp(A[m, k]) * B[k, n] * C[n]", "Z[m, n] = Y[m, n] + (C[n] + 1)"]
        """)
    )
    assert {e.name: e.ranks for e in cascade.einsums} == {"Y_1": ("M", "K"), "Y": ("M", "N", "K"), "Z": ("M", "N")}


def test_types_differ_in_the_header_alone() -> None:
    cascade = load_cascade("variance")
    program = program_of(cascade, cascade.outputs)
    single, double = (source_of(program, dtype).splitlines() for dtype in ("float32", "float64"))
    assert len(single) == len(double)
    assert [line for line in double if line not in single] == ["exp = np.exp", "real = np.float64"]


def test_machine_code_is_kept_for_the_text_and_what_it_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    text = "from numba import njit\n\n\n@njit\ndef answer(a):\n    return a * {}\n"
    assert loading.load(text.format(7), "float64")["answer"](6) == 42
    folder = tmp_path / "fusemax" / "kernels"
    (first,) = folder.iterdir()
    kept = first.stat()
    loading._compiled.cache_clear()
    assert loading.load(text.format(7), "float64")["answer"](6) == 42
    assert first.stat() == kept and len(list(folder.iterdir())) == 1
    assert loading.load(text.format(9), "float64")["answer"](6) == 54
    assert len(list(folder.iterdir())) == 2


def test_nothing_heavy_is_imported_early() -> None:
    code = "import sys; from kernels import compile_cascade; print('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
