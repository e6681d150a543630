r"""A model as a Hugging Face folder: transformers, vLLM and many others load it.

The folder holds the files of `transformers`, no code. What it cannot say is that texts
begin after a "\n" if the vocabulary has no special token: no file may add it, or a text
would have other tokens than in the course. Who writes with the model puts it first.
"""

from __future__ import annotations

import json
from pathlib import Path

from course import pretrained
from course.export import tokenizer
from course.export.model import Model
from course.files import write_atomically
from solutions.tokens import END_OF_TEXT

CHAT_TEMPLATE = r"""
{{- '\n' }}
{%- for message in messages %}
    {%- if message['role'] != ['user', 'assistant'][loop.index0 % 2] %}
        {{- raise_exception('the user begins, and user and assistant take turns') }}
    {%- endif %}
    {{- message['content'] | trim + '\n' }}
    {%- if message['role'] == 'assistant' %}{{- '\n' }}{%- endif %}
{%- endfor %}
""".strip()
"""The form of a dialogue, `solutions.instruction_tuning.dialogue`, in Jinja."""


def write(folder: Path, model: Model) -> None:
    """Put all files into the folder.

    Raises:
        ValueError: if a token cannot be made of others, see `tokenizer.merges`.
        OSError: if a file cannot be written.
    """
    config = model.gpt.config
    files = {
        pretrained.TOKENIZER: tokenizer.to_json(model.ranks, model.special_tokens),
        "tokenizer_config.json": _json(tokenizer_config(model)),
        "generation_config.json": _json(generation_config(model)),
        pretrained.CONFIG: pretrained.config_file(config, model.end_of_text),
        pretrained.WEIGHTS: pretrained.weights_file(model.gpt, model.ranks),
    }
    for name, content in files.items():
        write_atomically(folder / name, content)


def tokenizer_config(model: Model) -> dict:
    """What a tokenizer needs to know beside its tokens.

    The class is the one that takes `tokenizer.json` as it is.
    """
    special = END_OF_TEXT if END_OF_TEXT in model.special_tokens else None
    told = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": model.gpt.config.n_positions,
        "clean_up_tokenization_spaces": False,  # or some spaces would be lost
        "bos_token": special,
        "eos_token": special,
    }
    return told | ({"chat_template": CHAT_TEMPLATE} if model.chat else {})


def generation_config(model: Model) -> dict:
    """Where writing ends. Short texts of a batch are filled up with the same token."""
    return {
        "bos_token_id": model.end_of_text,
        "eos_token_id": model.end,
        "pad_token_id": model.end,
    }


def _json(told: dict) -> str:
    return json.dumps(told, indent=2, ensure_ascii=False) + "\n"
