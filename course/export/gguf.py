r"""A model as a GGUF file, which llama.cpp runs, and with a Modelfile Ollama.

The file holds everything in one: sizes, weights, tokenizer. llama.cpp knows GPT-2. Its
matrices lie as torch has them, (out, in), and its names come from the table that the
`gguf` package has of GPT-2's.

Weights are `f32`, `f16` or `q8_0`: numbers of 32 or 16 bits, or blocks of 32 numbers
that share a scale, 8 bits each. What is small and exact in llama.cpp's own files, the
position table, biases and norms, stays in 32 bits.

llama.cpp has its own list of letters, one of an older Unicode than that of tiktoken:
the letters that came in 2024, of scripts that few can read, are signs there.

Source: the format, github.com/ggml-org/ggml, `docs/gguf.md`; what a GPT-2 has in it,
github.com/ggml-org/llama.cpp, `conversion/gpt2.py`.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
from gguf import (
    GGML_QUANT_VERSION,
    MODEL_ARCH,
    GGMLQuantizationType,
    GGUFWriter,
    LlamaFileType,
    TokenType,
    get_tensor_name_map,
)
from gguf.quants import QuantError, quantize

from course.corpus import SEPARATOR
from course.export import tokenizer
from course.export.huggingface import CHAT_TEMPLATE
from course.export.model import Model
from course.files import write_atomically
from solutions.gpt_block import gpt2_names

TYPES = {
    "f32": (GGMLQuantizationType.F32, LlamaFileType.ALL_F32),
    "f16": (GGMLQuantizationType.F16, LlamaFileType.MOSTLY_F16),
    "q8_0": (GGMLQuantizationType.Q8_0, LlamaFileType.MOSTLY_Q8_0),
}
"""How weights may be stored: of a matrix, and what the whole file is called."""

MODELFILE = """\
# ollama create NAME -f Modelfile
FROM ./{file}
{comment}
TEMPLATE \"\"\"{template}\"\"\"
{stop}PARAMETER num_ctx {context}
# As the model says: nothing is cut off, and nothing is made less likely.
PARAMETER temperature 1
PARAMETER top_k 0
PARAMETER top_p 1
PARAMETER min_p 0
PARAMETER repeat_penalty 1
"""

CHAT = (
    '{{ "\\n" }}{{ range .Messages }}{{ .Content }}{{ "\\n" }}'
    '{{ if eq .Role "assistant" }}{{ "\\n" }}{{ end }}{{ end }}'
)
"""The form of a dialogue as a template of Go, which Ollama fills in."""


def file_name(kind: str) -> str:
    """The name of the file with the weights stored so.

    >>> file_name("q8_0")
    'model-q8_0.gguf'
    """
    return f"model-{kind}.gguf"


def write(folder: Path, model: Model, kind: str) -> None:
    """Put the file and its Modelfile into the folder; `kind` is one of `TYPES`.

    Raises:
        ValueError: if a token cannot be made of others, see `tokenizer.merges`.
        OSError: if a file cannot be written.
    """
    path = folder / file_name(kind)
    writer = GGUFWriter(path, "gpt2")
    try:
        _add_sizes(writer, model, kind)
        _add_tokens(writer, model)
        _add_weights(writer, model, kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    except OSError as error:
        if error.errno is None:  # of numpy, when the disk did not take all
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from None
        raise
    finally:
        writer.close()
    with path.open("rb+") as file:
        os.fsync(file.fileno())
    write_atomically(folder / "Modelfile", modelfile(model, path.name))


def modelfile(model: Model, file: str) -> str:
    """What Ollama makes of a request before the model reads it, and where it stops."""
    if model.chat:
        comment = "# A dialogue as the model is tuned on; an answer is one line."
        template, stop = CHAT, "\n"
    elif model.end_of_text is None:
        comment = (
            "# A text begins after a line break. A story ends with a blank line: take "
            "the\n# stop out for a model of other texts."
        )
        template, stop = '{{ "\\n" }}{{ .Prompt }}', SEPARATOR
    else:
        comment = "# The model goes on with what it is given."
        template, stop = "{{ .Prompt }}", None
    return MODELFILE.format(
        file=file,
        comment=comment,
        template=template,
        # A Modelfile knows no escapes: a line break in quotes is one.
        stop=f'PARAMETER stop "{stop}"\n' if stop else "",
        context=model.gpt.config.n_positions,
    )


def _add_sizes(writer: GGUFWriter, model: Model, kind: str) -> None:
    config = model.gpt.config
    writer.add_type("model")
    writer.add_name(model.name)
    writer.add_block_count(config.n_layer)
    writer.add_context_length(config.n_positions)
    writer.add_embedding_length(config.n_embd)
    writer.add_feed_forward_length(4 * config.n_embd)
    writer.add_head_count(config.n_head)
    writer.add_layer_norm_eps(config.layer_norm_epsilon)
    writer.add_file_type(TYPES[kind][1])
    writer.add_quantization_version(GGML_QUANT_VERSION)


def _add_tokens(writer: GGUFWriter, model: Model) -> None:
    """The tokenizer, under the names that llama.cpp has for GPT-2's."""
    tokens = {rank: tokenizer.visible(token) for token, rank in model.ranks.items()}
    types = dict.fromkeys(tokens, TokenType.NORMAL)
    for name, special_id in model.special_tokens.items():
        tokens[special_id], types[special_id] = name, TokenType.CONTROL
    pairs = tokenizer.merges(model.ranks)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([tokens[i] for i in range(len(tokens))])
    writer.add_token_types([types[i] for i in range(len(tokens))])
    writer.add_token_merges(
        [f"{tokenizer.visible(a)} {tokenizer.visible(b)}" for a, b in pairs]
    )
    # llama.cpp wants both; else it takes token 11 of any vocabulary. Where nothing ends
    # a text, it is the byte 0xFF, which is in no text, so that nothing ends early.
    end = model.ranks[b"\xff"] if model.end_of_text is None else model.end_of_text
    writer.add_bos_token_id(model.start)
    writer.add_eos_token_id(end)
    writer.add_add_bos_token(False)
    if model.chat:
        writer.add_chat_template(CHAT_TEMPLATE)
        # The end of a turn. Not of a text: a prompt ends so, too, and some programs
        # write nothing after a text that has ended.
        writer.add_eot_token_id(model.end_of_answer)


def _add_weights(writer: GGUFWriter, model: Model, kind: str) -> None:
    table = get_tensor_name_map(MODEL_ARCH.GPT2, model.gpt.config.n_layer)
    state = model.gpt.state_dict()
    for name, (theirs, _) in gpt2_names(model.gpt.config).items():
        known = table.get_name(f"transformer.{theirs}", (".weight", ".bias"))
        numbers, stored = _stored(known, state[name].cpu().numpy(), kind)
        writer.add_tensor(known, numbers, raw_dtype=stored)


def _stored(
    name: str, numbers: np.ndarray, kind: str
) -> tuple[np.ndarray, GGMLQuantizationType]:
    """Numbers as they lie in the file, and what they are called there."""
    wanted = TYPES[kind][0]
    if numbers.ndim == 1 or name.startswith("position_embd"):
        wanted = GGMLQuantizationType.F32
    try:
        return quantize(numbers, wanted), wanted
    except QuantError:  # the rows have no whole number of blocks
        wanted = GGMLQuantizationType.F16
        return quantize(numbers, wanted), wanted
