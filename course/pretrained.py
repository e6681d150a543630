"""Models in folders: those of the course, and any GPT-2 of `transformers`.

    model, encoding = pretrained.load()                        # comes with the course
    model, encoding = pretrained.load("my-model")              # a folder
    model, encoding = pretrained.load("openai-community/gpt2") # the Hugging Face hub

A folder holds `config.json`, the sizes of the model; `model.safetensors`, its weights;
and its tokens: `vocabulary.txt`, which `save` writes; or GPT-2's own `vocab.json` and
`merges.txt`; or `tokenizer.json`, which `sundays export` writes. All but the first of
these are as `transformers` reads and writes them.

The three belong together. So that a mixture of two models is not taken for one, `save`
leaves a fingerprint of the other two files in the weights, and `load` compares it.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path

import safetensors.torch
import tiktoken
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from course import hub
from course.export import tokenizer
from course.files import write_atomically
from course.hub import HubError
from solutions.gpt_block import (
    GPT,
    GPTConfig,
    from_gpt2,
    gpt2_names,
    gpt_parameters,
    to_gpt2,
)
from solutions.tokens import from_gpt2_files, load_ranks, save_ranks, to_tiktoken

FOLDER = Path(__file__).with_name("pretrained")
"""The model that comes with the course."""

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
VOCABULARY = "vocabulary.txt"
GPT2_VOCABULARY = ("vocab.json", "merges.txt")
TOKENIZER = "tokenizer.json"

KIND = {
    "model_type": ("gpt2",),
    "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
    "tie_word_embeddings": (True,),
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "reorder_and_upcast_attn": (False,),
    "add_cross_attention": (False,),
}
"""What makes a model a GPT-2: field of the configuration -> what it may be.

The first is what GPT-2 has, and what `transformers` takes where a field is missing.
"""

FINGERPRINT = "five_sundays_fingerprint"
"""Its name among the notes that a safetensors file can hold."""

UNUSED = re.compile(r"(.*\.)?attn\.(masked_)?bias|lm_head\.weight")
"""What older files hold beside the weights: masks, and the token table once more."""

SPECIAL = re.compile(r"<.*>|\[.*\]")
"""How special tokens look, `<|endoftext|>` or `[PAD]`."""

FLOATS = {
    "F64": torch.float64,
    "F32": torch.float32,
    "BF16": torch.bfloat16,
    "F16": torch.float16,
}
"""What weights may be: its name in a safetensors file -> its type."""

HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
"""OWNER/NAME, or NAME alone."""


class PretrainedError(ValueError):
    """A model that cannot be used: says what was wrong and what to do."""


def save(folder: str | Path, model: GPT, ranks: Mapping[bytes, int]) -> None:
    """Write a model and its vocabulary into a folder, which is made if need be.

    No file is ever half written, and the weights come last. A crash in between leaves
    either a model that `load` loads, or files of which it says that they do not belong
    together.

    Raises:
        PretrainedError: if the vocabulary has not as many tokens as the model, or the
            model is no GPT-2, with other norms, for example.
        OSError: if the folder cannot be written, or the disk is full.
    """
    folder, config = Path(folder), model.config
    if len(ranks) != config.vocab_size:
        raise PretrainedError(
            f"the vocabulary has {len(ranks)} tokens and the model "
            f"{config.vocab_size}: save those that belong together"
        )
    if odd := model.state_dict().keys() ^ gpt2_names(config).keys():
        raise PretrainedError(
            f"{min(odd)} is missing in this model, or no part of a GPT-2: a folder "
            "can hold a GPT-2 alone"
        )
    weights = weights_file(model, ranks)
    save_ranks(ranks, folder / VOCABULARY)  # makes the folder, too
    write_atomically(folder / CONFIG, config_file(config))
    write_atomically(folder / WEIGHTS, weights)


def config_file(config: GPTConfig, end: int | None = None) -> str:
    """What `config.json` holds.

    Args:
        end: the id of the token between two documents, if there is one.
    """
    described = {
        "architectures": ["GPT2LMHeadModel"],
        **{field: allowed[0] for field, allowed in KIND.items()},
        **vars(config),
        "n_inner": None,
        "bos_token_id": end,  # said even if None, or transformers would take 50256
        "eos_token_id": end,
    }
    return json.dumps(described, indent=2) + "\n"


def weights_file(model: GPT, ranks: Mapping[bytes, int]) -> bytes:
    """What `model.safetensors` holds."""
    return safetensors.torch.save(
        {name: value.detach().cpu() for name, value in to_gpt2(model).items()},
        metadata={"format": "pt", FINGERPRINT: _fingerprint(model.config, ranks)},
    )


def load(where: str | Path | None = None) -> tuple[GPT, tiktoken.Encoding]:
    """A model and the tokenizer that it reads with: in evaluation mode, float32.

    Args:
        where: a folder; or, if there is no such folder, the name of a model on the
            Hugging Face hub, whose files are then fetched and kept in the hub's own
            cache; None: the model that comes with the course.

    Raises:
        PretrainedError: if a file is missing or damaged, the files do not belong
            together, or the model is no GPT-2; the line says what to do.
    """
    folder = folder_of(where)
    config = _config(folder / CONFIG)
    ranks, special_tokens = _vocabulary(folder)
    if (size := len(ranks) + len(special_tokens)) != config.vocab_size:
        raise PretrainedError(
            f"the vocabulary in {folder} has {size} tokens, but {CONFIG} says "
            f"vocab_size {config.vocab_size}: take both from the same model"
        )
    state = _weights(folder / WEIGHTS, config)
    if state.fingerprint not in (None, _fingerprint(config, ranks)):
        raise PretrainedError(
            f"{folder / WEIGHTS} was saved with another {CONFIG} or vocabulary than "
            "lies beside it, perhaps because saving was cut short: save the model again"
        )
    try:
        model = from_gpt2(state, config)
    except ValueError as problem:
        raise PretrainedError(f"{folder / WEIGHTS}: {problem}") from None
    return model.float().eval(), to_tiktoken(ranks, special_tokens)


def _fingerprint(config: GPTConfig, ranks: Mapping[bytes, int]) -> str:
    """Of what the weights need, and what their own names and sizes do not tell."""
    tokens = [token.hex() for token in sorted(ranks, key=ranks.__getitem__)]
    needed = [config.n_head, float(config.layer_norm_epsilon), tokens]
    return hashlib.sha256(json.dumps(needed).encode()).hexdigest()


# ---- where it is --------------------------------------------------------------------


def folder_of(where: str | Path | None) -> Path:
    """The folder that `load` reads; what the hub has is fetched.

    Raises:
        PretrainedError: if there is none.
    """
    if where is None:
        if FOLDER.is_dir():
            return FOLDER
        raise PretrainedError(
            f"the model of the course is not here: there is no folder {FOLDER}; get "
            "the course once more, or give the folder of another model"
        )
    if Path(where).is_dir():
        return Path(where)
    if Path(where).exists():
        raise PretrainedError(f"{where} is a file: give the folder that it lies in")
    if not isinstance(where, str) or not HUB_NAME.fullmatch(where):
        raise PretrainedError(
            f"there is no folder {str(where)!r}; give a folder with a model in it, or "
            "a name on the Hugging Face hub, such as openai-community/gpt2"
        )
    return _from_hub(where)


def _from_hub(name: str) -> Path:
    try:
        names = [CONFIG, WEIGHTS, VOCABULARY, *GPT2_VOCABULARY, TOKENIZER]
        return hub.fetch(name, names)
    except HubError as problem:
        raise PretrainedError(
            f"there is no folder {name}, and {problem}; put the model's {CONFIG}, "
            f"{WEIGHTS}, {' and '.join(GPT2_VOCABULARY)} into a folder and give that "
            "one"
        ) from None


# ---- what is in it ------------------------------------------------------------------


def _config(path: Path) -> GPTConfig:
    try:
        given = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise PretrainedError(
            f"{path} is missing: give a folder with a model in it, as `save` or "
            "transformers writes it"
        ) from None
    except (OSError, ValueError) as error:
        raise PretrainedError(
            f"{path} cannot be read ({error}): copy or save it again"
        ) from None
    if not isinstance(given, dict):
        raise PretrainedError(f"{path} is no table of fields: copy or save it again")
    for field, allowed in KIND.items():
        # Only a model that says so is taken for a GPT-2.
        value = given.get(field, None if field == "model_type" else allowed[0])
        if value not in allowed:
            raise PretrainedError(
                f"{path} says {field} {json.dumps(value)}, expected "
                f"{' or '.join(map(json.dumps, allowed))}: only models built like "
                "GPT-2 can be read, take one of these"
            )
    values = {}
    for field in fields(GPTConfig):
        value = values[field.name] = given.get(field.name, field.default)
        whole = isinstance(field.default, int)
        if type(value) not in ((int,) if whole else (int, float)) or not (
            0 <= value < math.inf
        ):
            raise PretrainedError(
                f"{path} says {field.name} {json.dumps(value)}, expected a "
                f"{'whole ' * whole}number of 0 or more: copy or save it again"
            )
    try:
        config = GPTConfig(**values)
    except ValueError as problem:
        raise PretrainedError(f"{path}: {problem}") from None
    if given.get("n_inner") not in (None, 4 * config.n_embd):
        raise PretrainedError(
            f"{path} says n_inner {json.dumps(given['n_inner'])}, expected null or "
            f"{4 * config.n_embd}, 4 times n_embd: only models built like GPT-2 can be "
            "read, take one of these"
        )
    return config


def _vocabulary(folder: Path) -> tuple[dict[bytes, int], dict[str, int]]:
    """Ranks and special tokens."""
    theirs = [folder / name for name in GPT2_VOCABULARY]
    try:
        if (folder / VOCABULARY).is_file():
            return load_ranks(folder / VOCABULARY), {}
        if all(path.is_file() for path in theirs):
            ranks, special_tokens = from_gpt2_files(*theirs)
            _check_special(special_tokens, *theirs)
            return ranks, special_tokens
        if (folder / TOKENIZER).is_file():
            return tokenizer.from_json(folder / TOKENIZER)
    except (OSError, ValueError) as problem:
        raise PretrainedError(str(problem)) from None
    raise PretrainedError(
        f"{folder} has no vocabulary: put {' and '.join(GPT2_VOCABULARY)} of the "
        f"model's tokenizer there, or its {TOKENIZER}; "
        "solutions.tokens.download_gpt2_files fetches those of GPT-2"
    )


def _check_special(
    special_tokens: Mapping[str, int], vocab: Path, merges: Path
) -> None:
    """What `merges` does not make is taken for special: a file cut short shows there.

    Raises:
        PretrainedError: if a token has no brackets around it, as special ones have.
    """
    for name in special_tokens:
        if not SPECIAL.fullmatch(name):
            raise PretrainedError(
                f"the token {name!r} in {vocab} is in no line of {merges}, and does "
                "not look like a special one: copy both files again"
            )


class _Weights(Mapping[str, Tensor]):
    """The weights in a safetensors file, each read when it is asked for.

    `safe_open` checks the file; but what it hands out stays in memory as long as the
    file is open: beside the model, all weights would take their room a second time.

    Source: the format, on the page of safetensors.
    """

    def __init__(self, path: Path) -> None:
        """Raises OSError or SafetensorError: if there is no such file in good order."""
        with safe_open(path, framework="pt") as checked:
            names = checked.keys()
            self.fingerprint = (checked.metadata() or {}).get(FINGERPRINT)
        self.path = path
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(size))
        self.begin = 8 + size
        self.told = {n: header[n] for n in names if not UNUSED.fullmatch(n)}

    def __getitem__(self, name: str) -> Tensor:
        told = self.told[name]
        begin, end = told["data_offsets"]
        with self.path.open("rb") as file:
            file.seek(self.begin + begin)
            data = bytearray(file.read(end - begin))
        if not data:  # which `frombuffer` does not take
            return torch.empty(told["shape"])
        return torch.frombuffer(data, dtype=FLOATS[told["dtype"]]).view(told["shape"])

    def __iter__(self) -> Iterator[str]:
        return iter(self.told)

    def __len__(self) -> int:
        return len(self.told)


def _weights(path: Path, config: GPTConfig) -> _Weights:
    """The weights under the names of the file."""
    try:
        weights = _Weights(path)
    except FileNotFoundError:
        raise PretrainedError(_missing(path)) from None
    except (OSError, SafetensorError) as error:
        raise PretrainedError(
            f"{path} cannot be read ({error}): it is damaged or no safetensors file, "
            "copy or save it again"
        ) from None
    held = sum(math.prod(told["shape"]) for told in weights.told.values())
    if held != (wanted := gpt_parameters(config)):
        raise PretrainedError(
            f"{path} holds {held:,} numbers, but a model of the sizes in {CONFIG} has "
            f"{wanted:,}: take both from the same model"
        )
    for name, told in weights.told.items():
        if told["dtype"] not in FLOATS:
            raise PretrainedError(
                f"{name} in {path} is of type {told['dtype']}, expected F32 or half of "
                "it, F16: take weights that are not quantized"
            )
        if not weights[name].isfinite().all():
            raise PretrainedError(
                f"{name} in {path} holds numbers that are not finite: the training "
                "failed, take an earlier checkpoint"
            )
    return weights


def _missing(path: Path) -> str:
    """What to say of a folder without weights: it may hold them in another form."""
    folder = path.parent
    if found := sorted(p.name for p in folder.glob("*.bin")):
        return (
            f"{folder} has its weights in {found[0]} alone, a file that can run any "
            "program when it is opened, and so is not read: if you trust it, convert "
            "it, GPT2LMHeadModel.from_pretrained(...).save_pretrained(...)"
        )
    if found := sorted(p.name for p in folder.glob("model-*.safetensors")):
        return (
            f"{folder} has its weights in {len(found)} files, {found[0]} and so on: "
            f"make it one {path.name} with transformers, "
            'save_pretrained(..., max_shard_size="100GB")'
        )
    return f"{path} is missing: copy it there, or save the model again"
