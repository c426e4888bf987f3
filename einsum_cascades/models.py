"""Transformer models: the sizes that make workloads of attention and of the linear layers around it.

A model is a YAML file (``einsum_cascades/models``) or a Hugging Face ``config.json``. One encoder layer is an
attention layer and six matrix products over N = batch · seq_len rows: projections to queries, keys and values
(D x G each) and back (G x D), and the feed-forward network (D x S, S x D). Source: Vaswani et al., "Attention
Is All You Need", NeurIPS 2017.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from einsum_cascades import named_files
from einsum_cascades.errors import InputError, Location, all_of, short
from einsum_cascades.files import read_text
from einsum_cascades.numbers import LARGEST
from einsum_cascades.schema import Section, Size, Text, check
from einsum_cascades.workload import Workload
from einsum_cascades.yaml_source import Source

_FOLDER = Path(__file__).parent / "models"

# The names that configurations of different families use for one size.
_MODEL_DIM = ("hidden_size", "d_model", "n_embd", "emb_dim", "dim")
_HEADS = ("num_attention_heads", "encoder_attention_heads", "num_heads", "n_head", "n_heads")
_HEAD_DIM = ("head_dim", "d_kv", "d_head")
_FFN_DIM = ("intermediate_size", "encoder_ffn_dim", "ffn_dim", "d_ff", "d_inner", "n_inner", "hidden_dim")


@dataclass(frozen=True, slots=True)
class Model:
    """One encoder layer's sizes.

    Attributes:
        name: for tables.
        heads, head_dim: attention heads, and the size of each.
        model_dim: D, values per token between layers; need not be heads · head_dim.
        ffn_dim: S, values per token inside the feed-forward network.
        batch: sequences at a time where none is asked for.
        citation: where the sizes come from.
        note: what the workload leaves out, such as keys and values shared by heads.
    """

    name: str
    heads: int
    head_dim: int
    model_dim: int
    ffn_dim: int
    batch: int = 1
    citation: str = ""
    note: str = ""

    def attention(self, seq_len: int, kv_len: int | None = None, batch: int | None = None) -> Workload:
        """Return an attention layer's workload: E = F = head_dim, P = seq_len, M = kv_len (or seq_len).

        Raises:
            InputError: a size is not a whole number of 1 or more.
        """
        return Workload.attention(
            batch=self.batch if batch is None else batch,
            heads=self.heads,
            head_dim=self.head_dim,
            seq_len=seq_len,
            kv_len=kv_len,
            name=self.name,
        )

    def linear_layers(self, seq_len: int, batch: int | None = None) -> Workload:
        """Return the linear layers' workload.

        N = batch · seq_len, D = model_dim, G = heads · head_dim, S = ffn_dim.

        Raises:
            InputError: a size is not a whole number of 1 or more.
        """
        shape = self.attention(seq_len, batch=batch)
        sizes = {
            "N": shape.batch * shape.size("P"),
            "D": self.model_dim,
            "G": self.heads * self.head_dim,
            "S": self.ffn_dim,
        }
        return Workload(tuple(sizes.items()), name=self.name)


class ModelSpec(Section):
    """The shape of a model's YAML file."""

    name: Text = Field(description="For tables.")
    citation: Text | None = Field(default=None, description="Where the sizes come from.")
    heads: Size = Field(description="Attention heads.")
    head_dim: Size = Field(description="Values of a query, a key and a value of one head.")
    model_dim: Size = Field(description="Values of a token between layers.")
    ffn_dim: Size = Field(description="Values of a token inside the feed-forward network.")
    batch: Size = Field(default=1, description="Sequences at a time where none is asked for.")


def model_names() -> tuple[str, ...]:
    """Return the names of the models that come with the package."""
    return named_files.names(_FOLDER)


def load_model(name_or_path: str) -> Model:
    """Return a model by name (in any case), from a YAML file, or from a Hugging Face ``config.json``.

    Raises:
        InputError: no such name or file, or a key or value that a model cannot have.
    """
    path = named_files.find("model", str(name_or_path), _FOLDER)
    if path.suffix == ".json":
        return model_from_hf_config(path)
    spec = check(ModelSpec, named_files.load("model", path, _FOLDER))
    return Model(spec.name, spec.heads, spec.head_dim, spec.model_dim, spec.ffn_dim, spec.batch, spec.citation or "")


def model_from_hf_config(path: str | Path) -> Model:
    """Return the model that a Hugging Face ``config.json`` describes, batch 1.

    Sizes left out follow the library's defaults: head_dim = model_dim / heads, ffn_dim = 4 · model_dim. Keys
    and values shared by several heads are counted once per head, and the model's note says so.

    Raises:
        InputError: no such file, no JSON object, or a size missing or not a whole number of 1 or more.
    """
    config = _Config(Source(str(path), read_text(path)))
    model_dim, heads = config.sizes(("model size", _MODEL_DIM), ("number of heads", _HEADS))
    head_dim = config.optional_size(_HEAD_DIM)
    if head_dim is None:
        head_dim, rest = divmod(model_dim, heads)
        if rest or not head_dim:
            raise config.error(_MODEL_DIM, f"{heads} heads do not divide a model size of {model_dim}", "give head_dim")
    kv_heads = config.optional_size(("num_key_value_heads",)) or heads
    shared = f"{kv_heads} key-value heads serve {heads} heads: their traffic is counted once per head"
    name = config.values.get("_name_or_path") or config.values.get("model_type")
    return Model(
        name=name if isinstance(name, str) else Path(path).stem,
        heads=heads,
        head_dim=head_dim,
        model_dim=model_dim,
        ffn_dim=config.optional_size(_FFN_DIM) or 4 * model_dim,
        citation=f"Hugging Face configuration {Path(path).name}",
        note=shared if kv_heads != heads else "",
    )


class _Config:
    """A JSON object and the text that it comes from."""

    def __init__(self, source: Source) -> None:
        self.source = source
        try:
            values = json.loads(source.text, object_pairs_hook=self._object)
        except InputError:
            raise
        except json.JSONDecodeError as error:
            place = source.location(error.pos)
            raise InputError(f"this is not JSON: {error.msg}", location=place) from None
        except (RecursionError, ValueError):
            message = "this JSON is nested too deeply, or a number in it has too many digits"
            raise InputError(message, location=Location(source.file)) from None
        if not isinstance(values, dict):
            raise InputError(
                "the text is no JSON object",
                location=source.location(0),
                hint='expected {"hidden_size": ..., ...}',
            )
        self.values: dict[str, Any] = values

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise self.error((re.escape(twice),), f"the key '{short(twice, 60)}' is given twice", "give it once")
        return found

    def optional_size(self, keys: tuple[str, ...]) -> int | None:
        """The size given under one of some names; null counts as not given."""
        for key in keys:
            value = self.values.get(key)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= LARGEST:
                raise self.error(
                    (key,), f"{key} is {short(json.dumps(value), 40)}", "a whole number from 1 to 2^50 is expected"
                )
            return value
        return None

    def sizes(self, *wanted: tuple[str, tuple[str, ...]]) -> list[int]:
        """The sizes that must be there, each with the names that it may have; all that is wrong is told at once."""
        found: list[int] = []
        faults: list[InputError] = []
        for what, keys in wanted:
            try:
                size = self.optional_size(keys)
            except InputError as error:
                faults.append(error)
                continue
            if size is None:
                hint = "expected one of " + ", ".join(keys)
                faults.append(InputError(f"the {what} is missing", location=self.source.location(0), hint=hint))
            else:
                found.append(size)
        if faults:
            raise all_of(faults)
        return found

    def error(self, keys: tuple[str, ...], message: str, hint: str) -> InputError:
        """An error at the first of some names."""
        found = re.search(f'"(?:{"|".join(keys)})"' + r"\s*:", self.source.text)
        place = self.source.location(found.start(), found.end()) if found else Location(self.source.file)
        return InputError(message, location=place, hint=hint)
