"""YAML values know their place; what is not plain YAML is refused at its place, quickly."""

import time

import pytest

from einsum_cascades.errors import InputError
from einsum_cascades.yaml_source import MAX_CHARACTERS, MAX_EVENTS, parse_yaml


def fault(text: str) -> InputError:
    with pytest.raises(InputError) as caught:
        parse_yaml(text, "f.yaml")
    return caught.value


def test_scalars_follow_the_core_schema():
    text = "[1, -2, 0x1f, 0o17, 1_000, 2.5, 4e2, .inf, -.inf, true, False, null, ~, yes, '1', \"a\\nb\"]"
    assert parse_yaml(text).plain() == [
        *(1, -2, 31, 15, 1000, 2.5, 400.0, float("inf"), float("-inf")),
        *(True, False, None, None, "yes", "1", "a\nb"),
    ]


def test_empty_text_is_nothing():
    assert parse_yaml("").plain() is None
    assert parse_yaml("# only a comment\n").plain() is None


@pytest.mark.parametrize(
    ("text", "word", "line", "column"),
    [
        ("- plain word", "word", 1, 9),
        ("- 'it''s a word'", "word", 1, 12),
        ('- "caf\\u00e9 word"', "word", 1, 14),
        ('- "a\\\n  b word"', "word", 2, 5),
        ("- >\n  one\n  two word\n", "word", 3, 7),
        ("- |-\n  one\n\n  two word\n", "word", 4, 7),
        ("- plain\n  folded\n  word", "word", 3, 3),
    ],
)
def test_place_of_a_word_inside_text(text: str, word: str, line: int, column: int):
    node = parse_yaml(text, "f.yaml").sequence()[0]
    place = node.place(node.string().index(word), len(word))
    assert (place.line, place.column, place.width) == (line, column, len(word))
    assert place.text == text.splitlines()[line - 1]


def test_keys_and_values_know_their_place():
    root = parse_yaml("a: 1\nbb:\n  c: [2, 3]\n")
    assert (root.keys["bb"].location.line, root.keys["bb"].location.column) == (2, 1)
    place = root.mapping()["bb"].mapping()["c"].sequence()[1].location
    assert (place.line, place.column) == (3, 10)


@pytest.mark.parametrize(
    ("text", "message", "line", "column"),
    [
        ("a: 1\na: 2", "duplicate key 'a'", 2, 1),
        ("a: &x 1\nb: *x", "anchors are not read here", 1, 4),
        ("b: *x", "aliases are not read here", 1, 4),
        ("!!python/object/apply:os.system [ls]", "tags are not read here", 1, 1),
        ("? [a]\n: b", "a key must be a word", 1, 3),
        ("a: [1, 2", "this is not YAML", 1, 9),
        ("a: b: c", "mapping values are not allowed here", 1, 5),
        ("a: \x1b[31m", "character U+001B", 1, 4),
        ('a: "\\ud800"', "character U+D800", 1, 4),
        ('a: "\\0"', "character U+0000", 1, 4),
        ("a: 1\n---\nb: 2", "expected one document", 2, 1),
        ("- " * 60, "nested more than 50 deep", 1, 101),
        ("a: " + "9" * 6000, "too many digits", 1, 4),
        ("\tb: 1", "this is not YAML", 1, 1),
    ],
)
def test_what_is_refused_is_located(text: str, message: str, line: int, column: int):
    error = fault(text)
    assert message in str(error)
    assert error.location is not None
    assert (error.location.line, error.location.column) == (line, column)
    assert str(error).startswith(f"f.yaml:{line}:{column}: ")


N = MAX_CHARACTERS


@pytest.mark.parametrize(
    "text",
    [
        "a" * (N + 1),
        "a " * (N // 2),
        "[" * N,
        "- " * (N // 2),
        "? " * (N // 2),
        "- a\n" * (N // 4),
        "a: |\n" + "  x\n" * (N // 4 - 2),
        "".join(f"k{i}: 1\n" for i in range(N // 10)),
        "\n".join(" " * i + "a:" for i in range(480)),
        '"\\UFFFFFFFF"',
        "%YAML 9.9\n---\na",
        "&a [" + "*a," * 1000 + "]",
        "\x00",
        "\ud800",
    ],
)
def test_hostile_text_costs_bounded_time(text: str):
    start = time.process_time()
    message = ""
    try:
        parse_yaml(text).plain()
    except InputError as error:
        message = str(error)
    assert len(message) < 1000
    assert time.process_time() - start < 10


def test_number_of_values_is_bounded():
    assert f"more than {MAX_EVENTS} values" in str(fault("[" + "1," * (MAX_EVENTS + 1) + "]"))


def test_helpers_say_what_they_expect():
    root = parse_yaml("arra: 3\nlist: [1, x, 2.5, true]\ntext: hello\nempty: ''\n", "f.yaml")
    parts = root.mapping()
    items = parts["list"].sequence()
    cases = [
        (
            lambda: root.mapping(allowed=["array", "list", "text", "empty"]),
            "unknown key 'arra'",
            "did you mean 'array'",
        ),
        (lambda: root.mapping(required=["rows"]), "missing key 'rows'", "add 'rows: ...'"),
        (lambda: root.sequence(), "expected a list, found a mapping", "[a, b]"),
        (lambda: parts["list"].mapping(), "expected a mapping, found a list", "key: value"),
        (lambda: parts["arra"].string(), "expected text, found '3'", "quotes"),
        (lambda: parts["empty"].string(), "expected text, found an empty one", ""),
        (lambda: items[1].integer(), "expected a whole number, found 'x'", ""),
        (lambda: items[2].integer(), "expected a whole number, found '2.5'", ""),
        (lambda: items[3].number(), "expected a number, found 'true'", ""),
        (lambda: items[0].boolean(), "expected true or false, found '1'", ""),
        (lambda: items[0].integer(minimum=2), "expected at least 2, found '1'", ""),
        (lambda: items[0].number(maximum=0.5), "expected at most 0.5, found '1'", ""),
        (lambda: items[0].number(above=1), "expected a number more than 1, found '1'", ""),
    ]
    for call, message, hint in cases:
        with pytest.raises(InputError) as caught:
            call()
        assert message in str(caught.value)
        assert hint in caught.value.hint
    assert items[0].integer() == 1
    assert parse_yaml("1e9").integer() == 10**9
    assert items[2].number() == 2.5
    assert items[3].boolean() is True


def test_a_number_beyond_floating_point_is_refused():
    for text in (".inf", ".nan", "1" * 400):
        with pytest.raises(InputError, match="finite"):
            parse_yaml(text).number()
