r"""Writing fast: the keys and values of what has been read are kept.

No token sees a later one, so keys and values of the earlier positions never change.
They are computed once and kept (a KV cache), and one more token costs a pass over that
token alone, not over the whole text.

    cache = Cache(model, batch=1)
    logits = cache.read(prompt)         ids (B, T) -> (B, V), for the token after them
    logits = cache.read(next_token)     ids (B, 1) -> (B, V)

`stream` and `write` draw tokens, `text` makes them a text, and `run` is what `sundays
generate` does. The tokens are those that `solutions.gpt_block.write` draws with the
model's context. Once a text is longer than the context, every step moves all positions,
and what was kept is of no use: each token then costs a pass over the whole window.

Shapes: `B` texts, `T` tokens each, `C` channels, `H` heads of `D` channels, `L` layers,
`V` tokens in the vocabulary. There is no dropout, as after `model.eval()`.

Source: Shazeer 2019, "Fast Transformer Decoding: One Write-Head is All You Need",
arXiv:1911.02150, section 2.4, for keys and values that are kept.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from itertools import takewhile
from pathlib import Path

import tiktoken
import torch
import torch.nn.functional as F
from torch import Tensor

from course.int8 import INT8
from course.layers import PLAIN, Layers
from course.pretrained import load
from course.small_model import START
from solutions.causal_masking import causal_mask
from solutions.gpt_block import GPT, keep_top_k, keep_top_p
from solutions.language_models import sample_next
from solutions.local_deployment import StopAt, StreamingDecoder
from solutions.tokens import END_OF_TEXT

COLDEST = 1e-6
"""The lowest temperature above 0: logits divided by less may be infinite."""


class Cache:
    """A GPT that remembers what it has read: the keys and values of every layer.

    Keys and values have their place in one tensor from the beginning. Device and type
    are those of the model; in int8, the matrices are copies, and all the rest is in
    float32.
    """

    def __init__(self, model: GPT | Layers, batch: int, *, int8: bool = False) -> None:
        """`batch`: the number of texts B; `int8`: see `course.int8`.

        Raises:
            ValueError: if a weight is missing or one too many, as with other norms; or
                int8 is not to be had, for the model or on this machine.
        """
        if not isinstance(model, Layers):
            model = Layers(model, INT8 if int8 else PLAIN)
        self.layers, config = model, model.config
        self.context, self.heads = config.n_positions, config.n_head
        # Of each layer the keys, then the values: (L, 2, B, H, context, D).
        width = config.n_embd // self.heads
        self.kept = model.positions.new_empty(
            config.n_layer, 2, batch, self.heads, self.context, width
        )
        self.length = 0  # of the texts that have been read

    def forget(self) -> None:
        """Begin new texts: the next token stands at position 0 again."""
        self.length = 0

    @torch.inference_mode()
    def read(self, ids: Tensor) -> Tensor:
        """The next T tokens of each text: ids (B, T) -> logits (B, V) after the last.

        Raises:
            ValueError: if there is no token, or they do not fit the context.
        """
        return self.layers.logits(self._hidden(ids)[:, -1])

    @torch.inference_mode()
    def read_all(self, ids: Tensor) -> Tensor:
        """The same: ids (B, T) -> logits (B, T, V), after each of them."""
        return self.layers.logits(self._hidden(ids))

    @torch.inference_mode()
    def take_in(self, ids: Tensor) -> None:
        """The same, with no answer: for a beginning of which only the rest is asked."""
        self._hidden(ids)

    def _hidden(self, ids: Tensor) -> Tensor:
        start, end = self.length, self.length + ids.shape[1]
        if not start < end <= self.context:
            raise ValueError(
                f"{end - start} tokens after {start}: expected 1 or more, and a text "
                f"no longer than the context of {self.context}"
            )
        # A token sees all that were read before, and none that are read with it and
        # come later. From position 0 on, that is the usual causal mask.
        first, mask = start == 0, None
        if end - start > 1 and not first:
            mask = causal_mask(end, ids.device)[start:]  # (T, end)
        places = self.kept[..., start:end, :].unbind()  # L of (2, B, H, T, D)
        seen = self.kept[..., :end, :].unbind()  # L of (2, B, H, end, D)

        def attend(layer: int, qkv: Tensor) -> Tensor:
            new = qkv.view(*ids.shape, 3, self.heads, -1)
            new = new.permute(2, 0, 3, 1, 4)  # queries, keys, values: (3, B, H, T, D)
            places[layer].copy_(new[1:])
            found = F.scaled_dot_product_attention(
                new[0], *seen[layer].unbind(), attn_mask=mask, is_causal=first
            )  # (B, H, T, D)
            return found.transpose(1, 2).flatten(2)  # (B, T, C)

        x = self.layers.hidden(ids, self.layers.positions[start:end], attend)
        self.length = end
        return x  # (B, T, C)


# ---- tokens -------------------------------------------------------------------------


def stream(
    model: GPT | Layers,
    ids: Tensor,
    steps: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
) -> Iterator[Tensor]:
    """Go on with a text, token by token: ids (B, T) -> `steps` times (B,), int64.

    Each token is there as soon as it is drawn. The settings are those of
    `solutions.gpt_block.write`. Of a text longer than the context, the last tokens are
    read.

    Raises:
        ValueError: if a setting cannot be, or there is no token to start from.
    """
    check_settings(temperature, top_k, top_p)
    if steps < 0:
        raise ValueError(f"steps is {steps}, expected 0 or more")
    if ids.dim() != 2 or ids.shape[1] == 0:
        raise ValueError(f"expected ids (B, T) with T >= 1, got {tuple(ids.shape)}")
    cache = Cache(model, len(ids))
    return _stream(cache, ids, steps, temperature, top_k, top_p, generator)


def _stream(
    cache: Cache,
    ids: Tensor,
    steps: int,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    generator: torch.Generator | None,
) -> Iterator[Tensor]:
    prompt = ids.shape[1]
    ids = torch.cat([ids, ids.new_empty(len(ids), steps)], dim=1)  # room for all
    begin = max(0, prompt - cache.context)  # of what is read: its position is 0
    for end in range(prompt, prompt + steps):
        if end - begin > cache.context:
            begin += 1
            cache.forget()
        logits = cache.read(ids[:, begin + cache.length : end]) / (temperature or 1.0)
        if top_k is not None:
            logits = keep_top_k(logits, top_k)
        if top_p is not None:
            logits = keep_top_p(logits, top_p)
        # Divided already, or greedy.
        drawn = sample_next(logits, 1.0 if temperature else 0.0, generator)
        ids[:, end] = drawn
        yield drawn


def write(
    model: GPT | Layers,
    ids: Tensor,
    steps: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Go on with a text: ids (B, T) -> (B, T + steps), the given ids come first.

    The same as `stream`, at once.

    Raises:
        ValueError: as `stream`.
    """
    drawn = stream(
        model,
        ids,
        steps,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        generator=generator,
    )
    return torch.cat([ids, *(token.unsqueeze(1) for token in drawn)], dim=1)


def check_settings(
    temperature: float, top_k: int | None = None, top_p: float | None = None
) -> None:
    """Refuse what nothing can be drawn with, before anything is computed.

    Raises:
        ValueError: if a setting cannot be.
    """
    if not (temperature == 0 or temperature >= COLDEST):
        raise ValueError(
            f"the temperature is {temperature}, expected 0 (always the likeliest "
            f"token), or {COLDEST} or more"
        )
    if top_k is not None:
        keep_top_k(torch.zeros(1), top_k)
    if top_p is not None:
        keep_top_p(torch.zeros(1), top_p)


# ---- text ---------------------------------------------------------------------------


def text(
    model: GPT | Layers,
    encoding: tiktoken.Encoding,
    prompt: str,
    *,
    tokens: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | None = None,
    stop: str | None = None,
) -> Iterator[str]:
    """What comes after a prompt, piece by piece: at most so many tokens.

    A character whose bytes are spread over several tokens comes when it is whole. Bytes
    that are no character become U+FFFD, as in `solutions.tokens.decode`.

    Args:
        prompt: may be empty, see `prompt_ids`.
        seed: the same seed gives the same text; None gives another one each time.
        stop: the text ends before this string, if the model writes it. It ends before
            `<|endoftext|>` in any case.

    Raises:
        ValueError: if a setting cannot be, or model and encoding do not fit.
    """
    if not isinstance(model, Layers):
        model = Layers(model)
    if encoding.n_vocab != model.config.vocab_size:
        raise ValueError(
            f"the encoding has {encoding.n_vocab} tokens and the model "
            f"{model.config.vocab_size}: take those that belong together"
        )
    if stop == "":
        raise ValueError("stop is empty: give the string to stop before, or None")
    ids = torch.tensor([prompt_ids(prompt, encoding)])  # (1, T)
    device = model.positions.device
    generator = torch.Generator(device)
    generator.seed() if seed is None else generator.manual_seed(seed)
    drawn = stream(
        model,
        ids.to(device),
        tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        generator=generator,
    )
    end = None
    if END_OF_TEXT in encoding.special_tokens_set:
        end = encoding.encode_single_token(END_OF_TEXT)
    document = takewhile(lambda token: token != end, (t.item() for t in drawn))
    pieces = characters(map(encoding.decode_single_token_bytes, document))
    return pieces if stop is None else before(pieces, stop)


def prompt_ids(prompt: str, encoding: tiktoken.Encoding) -> list[int]:
    """The tokens that the model is given; at least one.

    No prompt is the beginning of a document, `<|endoftext|>`. If the encoding has no
    such token, a text begins as a story of the course does, after a "\\n", with or
    without a prompt. In a prompt, the name of a special token is plain text.

    Raises:
        ValueError: if the prompt is no Unicode, as after a byte that is no UTF-8.
    """
    try:
        prompt.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"character {error.start} of the prompt is {prompt[error.start]!r}, half a "
            "surrogate pair and no character; give the prompt as UTF-8"
        ) from None
    if END_OF_TEXT not in encoding.special_tokens_set:
        return encoding.encode_ordinary(START + prompt.removeprefix(START))
    if not prompt:
        return [encoding.encode_single_token(END_OF_TEXT)]
    return encoding.encode_ordinary(prompt)


def characters(chunks: Iterable[bytes]) -> Iterator[str]:
    """UTF-8 in pieces -> text in pieces, each of whole characters.

    >>> list(characters([b"a", b"\\xec\\x95", b"\\x88", b"b\\xec"]))
    ['a', '안', 'b', '\ufffd']
    """
    decoder = StreamingDecoder()
    for chunk in chunks:
        if piece := decoder.push(chunk):
            yield piece
    if rest := decoder.finish():
        yield rest


def before(pieces: Iterable[str], stop: str) -> Iterator[str]:
    """The text up to the first `stop`, in pieces; all of it if there is none.

    What may be the beginning of `stop` is held back until the next piece decides.

    >>> list(before(["one. T", "he ", "En", "d. two"], stop="The End"))
    ['one. ']
    """
    shown = StopAt([stop])
    for piece in pieces:
        if ready := shown.push(piece):
            yield ready
        if shown.stopped:
            return
    if rest := shown.finish():
        yield rest


# ---- the command --------------------------------------------------------------------


def run(
    prompt: str = "",
    *,
    where: str | Path | None = None,
    tokens: int = 200,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | None = None,
    count: int = 1,
    stop: str | None = None,
    int8: bool = False,
) -> None:
    """Print `count` texts that go on from the prompt, as they come.

    The prompt is printed, too; a blank line stands between two texts. The second text
    has the seed after that of the first, and so on.

    Args:
        where: the model, see `course.pretrained.load`.
        int8: see `course.int8`; the model's float32 matrices are let go.

    Raises:
        SystemExit: with one line, if the model or a setting cannot be used; with 130
            after Ctrl+C.
    """
    try:
        check_settings(temperature, top_k, top_p)
        for name, number in (("tokens", tokens), ("count", count)):
            if number < 1:
                raise ValueError(f"{name} is {number}, expected 1 or more")
        if seed is not None and not 0 <= seed < 2**63 - count:
            raise ValueError(f"the seed is {seed}, expected 0 to 2^63 - 1")
        model, encoding = load(where)
        given, context = len(prompt_ids(prompt, encoding)), model.config.n_positions
        if given > context:
            print(
                f"The prompt has {given} tokens: the model sees the last {context}.",
                file=sys.stderr,
            )
        layers = Layers(model, INT8, take=True) if int8 else Layers(model)
        for number in range(count):
            pieces = text(
                layers,
                encoding,
                prompt,
                tokens=tokens,
                temperature=temperature,
                top_k=top_k,
                top_p=top_p,
                seed=None if seed is None else seed + number,
                stop=stop,
            )
            print("\n" * (number > 0) + prompt, end="", flush=True)
            for piece in pieces:
                print(piece, end="", flush=True)
            print(flush=True)
    except ValueError as problem:
        sys.exit(str(problem))
    except KeyboardInterrupt:
        print(flush=True)  # the shell's prompt gets a line of its own
        sys.exit(130)
