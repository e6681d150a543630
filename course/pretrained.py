"""Models in folders: ours, and any GPT-2 that `transformers` can read.

    model, encoding = pretrained.load()                  # the one that the course has
    model, encoding = pretrained.load("my-model")        # a folder
    model, encoding = pretrained.load("openai-community/gpt2")   # the Hugging Face hub

A folder holds three files: `config.json`, the sizes of the model; `model.safetensors`,
its weights under GPT-2's names; and the tokens, in `vocabulary.txt` as `save` writes
them, or in GPT-2's `vocab.json` and `merges.txt`. `transformers` reads the first two.

The three belong together, and a file says nothing of the others. So `save` notes in the
weights which sizes and which vocabulary they were trained with, and `load` compares.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

import httpx
import safetensors.torch
import tiktoken
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from course.files import write_atomically
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
TOGETHER = "five_sundays"
"""The name under which the weights hold the fingerprint of the other two files."""

KIND = {
    "model_type": ("gpt2",),
    "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
    "tie_word_embeddings": (True,),
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "reorder_and_upcast_attn": (False,),
    "add_cross_attention": (False,),
}
"""What a configuration must say to be that of a GPT-2; the first is GPT-2's own."""

NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
"""How a model is called on the hub: OWNER/NAME, or NAME alone."""


class PretrainedError(ValueError):
    """A model that cannot be used: says what was wrong and what to do."""
