"""What llama.cpp makes of a GGUF file: a question as JSON comes in, an answer goes out.

It runs in an environment of its own, and imports nothing of the course.
"""

import json
import sys

import llama_cpp

F32 = 0
"""The type of keys and values that are kept; llama.cpp would keep half of the bits."""


def main() -> None:
    asked = json.load(sys.stdin)
    model = llama_cpp.Llama(
        asked["file"],
        n_ctx=asked["context"],
        n_threads=1,
        n_threads_batch=1,
        type_k=F32,
        type_v=F32,
        logits_all=True,
        verbose=False,
    )
    json.dump(
        {
            "tokens": [read(model, text) for text in asked["texts"]],
            "logits": [logits(model, prompt) for prompt in asked["prompts"]],
            "written": [
                write(model, prompt, asked["steps"]) for prompt in asked["prompts"]
            ],
            "answers": [answer(model, messages) for messages in asked["dialogues"]],
        },
        sys.stdout,
    )


def read(model: llama_cpp.Llama, text: str) -> list[int]:
    """The tokens of a text, special ones included."""
    return model.tokenize(text.encode(), add_bos=False, special=True)


def logits(model: llama_cpp.Llama, prompt: list[int]) -> list[float]:
    """After the last token."""
    model.reset()
    model.eval(prompt)
    return model.scores[len(prompt) - 1].tolist()


def write(
    model: llama_cpp.Llama, prompt: list[int], steps: int
) -> tuple[list[int], str]:
    """The likeliest tokens, up to one that ends the text, and the text."""
    done = []
    for token in model.generate(prompt, temp=0.0, repeat_penalty=1.0):
        if token == model.token_eos() or len(done) == steps:
            break
        done.append(token)
    return done, model.detokenize(done).decode(errors="replace")


def answer(model: llama_cpp.Llama, messages: list[dict[str, str]]) -> str:
    """To a dialogue, in the form of the file's own chat template."""
    done = model.create_chat_completion(messages, temperature=0.0, max_tokens=40)
    return done["choices"][0]["message"]["content"]


if __name__ == "__main__":
    main()
