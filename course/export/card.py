"""The README of an exported folder: what it is, and the command of each program."""

from __future__ import annotations

from course.export import gguf
from course.export.model import Model
from solutions.gpt_block import gpt_parameters

HEAD = """\
---
{front_matter}---

# {name}

A GPT-2 of {parameters:,} parameters: {layers} layers, {width} channels, {heads} heads,
a context of {context:,} tokens, a vocabulary of {vocab_size:,}. Exported from Five
Sundays with `sundays export`.

{reads}

Below, FOLDER is the folder of this file.
"""

READS = {
    "chat": """\
It answers: a dialogue is "\\n", then each message of the user and a "\\n", each answer
and "\\n\\n". The chat template does so. An answer ends at the first "\\n".""",
    "plain": """\
**A text begins after a line break.** There is no special token, and no program puts
anything before a text: give `"\\n" + prompt`. It never ends by itself; stories of the
course end with a blank line.""",
    "special": """\
It goes on with what it is given, until it writes `<|endoftext|>`.""",
}

HUGGINGFACE = """
## transformers, vLLM

    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained("FOLDER")
    tokenizer = AutoTokenizer.from_pretrained("FOLDER")

    vllm serve FOLDER

`course.pretrained.load("FOLDER")` reads it, too.
"""

GGUF = """
## llama.cpp, Ollama

    {program} -m FOLDER/{file} -c {context}{prompt}

    cd FOLDER
    ollama create NAME -f Modelfile
    ollama run NAME

Prompt and answer have at most {context:,} tokens together.
"""


def card(model: Model, formats: list[str], kind: str) -> str:
    """The text of the card, with the commands for these formats."""
    config = model.gpt.config
    how = "chat" if model.chat else "plain" if model.end_of_text is None else "special"
    text = HEAD.format(
        front_matter=model.front_matter,
        name=model.name,
        parameters=gpt_parameters(config),
        layers=config.n_layer,
        width=config.n_embd,
        heads=config.n_head,
        context=config.n_positions,
        vocab_size=config.vocab_size,
        reads=READS[how],
    )
    if "huggingface" in formats:
        text += HUGGINGFACE
    if "gguf" in formats:
        begin = "\\n" if model.end_of_text is None else ""
        text += GGUF.format(
            program="llama-cli" if model.chat else "llama-completion",
            file=gguf.file_name(kind),
            context=config.n_positions,
            prompt="" if model.chat else f" -n 100 -no-cnv -p '{begin}Mina'",
        )
    return text
