r"""Your own model on your own machine: keys and values kept, int8 weights, whole text.

A GPT that reads a text again for every token it writes does most of its work twice.
Here it keeps the keys and values of what it has read (a KV cache). Its weights are
stored in one byte each in place of four. What it writes comes out as it is drawn, but
never half a character, and it ends where it was asked to end.

    logits, past = read(model, ids, past)      only the new tokens, (B, T) -> (B, T, V)
    shown = stop.push(decoder.push(token))     bytes of a token -> text that may be seen

Shapes: `B` texts, `T` new tokens and `S` that were read before, `C` channels, `H` heads
of `D` channels, `V` tokens in the vocabulary. Left out: what makes it fast. A cache
that has its place from the beginning is in `course/generation.py`, and kernels that
compute with the int8 numbers themselves are torch's.

Sources: Shazeer 2019, "Fast Transformer Decoding: One Write-Head is All You Need",
arXiv:1911.02150, section 2.4, for keys and values that are kept; Jacob et al. 2018,
"Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference", arXiv:1712.05877, section 2.1; The Unicode Standard, section 3.9, for UTF-8.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from solutions.gpt_block import GPT, GPTConfig, gpt_parameters
from solutions.language_models import sample_next
from solutions.multi_head import MultiHeadAttention, merge_heads, split_heads

Past = tuple[Tensor, Tensor]
"""Keys and values of what a layer has read: two (B, H, S, D)."""


# ---- the KV cache -------------------------------------------------------------------


def cached_attention(
    attention: MultiHeadAttention, x: Tensor, past: Past | None = None
) -> tuple[Tensor, Past]:
    """Attention for the new tokens alone: x (B, T, C) -> (B, T, C), keys and values.

        K = [K_past, K_new],   V = [V_past, V_new],   found = Attention(Q_new, K, V)

    New token t stands at position S + t. It sees all S tokens of the past, and the new
    ones up to itself. The output is what `attention` computes for these positions in
    the whole text, without dropout.

    Args:
        past: what the last call returned, two (B, H, S, D); None at the beginning.

    Returns:
        The output (B, T, C), and keys and values (B, H, S + T, D) for the next call.
        `past` itself is not changed.

    Raises:
        ValueError: if `past` is of other texts or of another layer than fits x.
    """
    queries, keys, values = (
        split_heads(part, attention.heads) for part in attention.qkv(x).chunk(3, dim=-1)
    )  # (B, H, T, D) each
    if past is not None:
        for kept, new in zip(past, (keys, values), strict=True):
            if kept.shape[:2] != new.shape[:2] or kept.shape[3:] != new.shape[3:]:
                raise ValueError(
                    f"the past is {tuple(kept.shape)} and the new tokens make "
                    f"{tuple(new.shape)}: only the third sizes may differ"
                )
        keys = torch.cat([past[0], keys], dim=2)  # (B, H, S + T, D)
        values = torch.cat([past[1], values], dim=2)  # (B, H, S + T, D)
    new, seen = queries.shape[2], keys.shape[2]  # T, S + T
    mask = torch.ones(new, seen, dtype=torch.bool, device=x.device).tril(seen - new)
    found = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
    return attention.projection(merge_heads(found)), (keys, values)


def read(
    model: GPT, ids: Tensor, past: Sequence[Past] | None = None
) -> tuple[Tensor, list[Past]]:
    """The next tokens of each text: ids (B, T) -> logits (B, T, V), and the new past.

    The logits are those of `model` for the whole text, at these positions. There is no
    dropout, as after `model.eval()`.

    Args:
        past: what the last call returned, one entry per layer; None at the beginning.

    Raises:
        ValueError: if the text gets longer than the context.
    """
    before = 0 if past is None else past[0][0].shape[2]  # S
    after, context = before + ids.shape[1], model.config.n_positions
    if after > context:
        raise ValueError(
            f"{ids.shape[1]} tokens after {before} do not fit the context of {context}"
        )
    positions = torch.arange(before, after, device=ids.device)  # (T,)
    tables = model.embedding
    x = tables.token_embedding(ids) + tables.position_embedding(positions)  # (B, T, C)
    kept = []
    for layer, block in enumerate(model.blocks):
        normed, known = block.attention_norm(x), None if past is None else past[layer]
        found, now_known = cached_attention(block.attention, normed, known)
        kept.append(now_known)
        x = x + found
        x = x + block.feed_forward(block.feed_forward_norm(x))  # (B, T, C)
    return F.linear(model.norm(x), tables.token_embedding.weight), kept


@torch.no_grad()
def write_cached(
    model: GPT,
    ids: Tensor,
    steps: int,
    *,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """The next-token loop with a cache: ids (B, T) -> (B, T + steps).

    It draws what `solutions.language_models.generate` draws, and each token is read
    once: the prompt in the first step, then one token a step.

    Raises:
        ValueError: if there is no token to start from, or the text gets longer than the
            context. There every step would move all positions, and the cache be of no
            use.
    """
    if ids.dim() != 2 or ids.shape[1] == 0:
        raise ValueError(f"expected ids (B, T) with T >= 1, got {tuple(ids.shape)}")
    new, past = ids, None
    for _ in range(steps):
        logits, past = read(model, new, past)
        new = sample_next(logits[:, -1], temperature, generator).unsqueeze(1)  # (B, 1)
        ids = torch.cat([ids, new], dim=1)
    return ids


# ---- int8 ---------------------------------------------------------------------------


def quantize(weight: Tensor) -> tuple[Tensor, Tensor]:
    """A matrix in one byte per number: (out, in) -> int8 (out, in), scale (out, 1).

        scale[o] = max over i of |weight[o, i]| / 127
        int8[o, i] = round(weight[o, i] / scale[o]),   weight ~ int8 * scale

    Per channel: each row, which makes one output, has its own scale. Symmetric: 0 stays
    0, and -128 is not used. No number is off by more than half its row's scale. A row
    of zeros has the scale 1. The scale has the type of `weight`; in half precision it
    is itself rounded, which adds to the error.

    >>> quantize(torch.tensor([[127.0, -64.4, 0.0]]))
    (tensor([[127, -64,   0]], dtype=torch.int8), tensor([[1.]]))

    Raises:
        ValueError: if `weight` is no matrix, or not all of its numbers are finite.

    Source: Jacob et al. 2018, section 2.1, with a zero point of 0.
    """
    if weight.dim() != 2:
        raise ValueError(f"expected a weight (out, in), got {tuple(weight.shape)}")
    if not weight.isfinite().all():
        raise ValueError("the weight has numbers that are not finite: it is damaged")
    scale = weight.detach().abs().amax(dim=1, keepdim=True) / 127  # (out, 1)
    scale = scale.masked_fill(scale == 0, 1.0)
    # The clamp is for half precision, where the largest may be rounded up to 128.
    steps = (weight.detach() / scale).round().clamp(-127, 127)  # (out, in)
    return steps.to(torch.int8), scale


class QuantizedLinear(nn.Module):
    """A linear layer that keeps its matrix in int8: (..., in) -> (..., out).

        y = x (int8 * scale)^T + b

    The matrix is made again, in the type of the scale, each time it is used: memory is
    saved, time is not. It does not learn: `weight`, `scale` and `bias` are buffers.
    """

    def __init__(self, linear: nn.Linear) -> None:
        """`linear`: the layer to take over. It is not changed."""
        super().__init__()
        weight, scale = quantize(linear.weight)
        bias = None if linear.bias is None else linear.bias.detach().clone()
        self.register_buffer("weight", weight)  # int8 (out, in)
        self.register_buffer("scale", scale)  # (out, 1)
        self.register_buffer("bias", bias)  # (out,), or None

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.scale, self.bias)


def quantized(model: GPT) -> GPT:
    """A copy of a GPT in which every linear layer keeps its matrix in int8.

    The token table, the position table, biases and norms stay as they are. `model` is
    not changed.
    """
    model = copy.deepcopy(model)
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.Linear):
                setattr(module, name, QuantizedLinear(child))
    return model


# ---- text ---------------------------------------------------------------------------


def character_length(first: int) -> int:
    """How many bytes a character has in UTF-8, by its first byte; 0 if none begins so.

        0xxxxxxx 1      110xxxxx 2      1110xxxx 3      11110xxx 4

    A byte 10xxxxxx goes on with a character. C0 and C1 would write in two bytes what
    fits one; F5 and above would pass the last character, U+10FFFF.

    >>> [character_length(character.encode()[0]) for character in "aé안🙂"]
    [1, 2, 3, 4]
    """
    if first < 0x80:
        return 1
    if 0xC2 <= first < 0xE0:
        return 2
    if 0xE0 <= first < 0xF0:
        return 3
    return 4 if 0xF0 <= first < 0xF5 else 0


SECOND = {0xE0: (0xA0, 0xBF), 0xF0: (0x90, 0xBF), 0xF4: (0x80, 0x8F)}
"""First byte -> from where to where the second may be; after all others, 80 to BF.

The rest would be a character in more bytes than it needs, or more than U+10FFFF. After
ED, A0 to BF is half a surrogate pair and no character, either; that turns out with the
third byte, as in Python. Source: The Unicode Standard, table 3-7.
"""


def unfinished(data: bytes) -> int:
    """How many bytes at the end are the beginning of a character: 0 to 3.

    >>> unfinished("안".encode()[:2]), unfinished("안".encode())
    (2, 0)
    """
    for count in range(1, min(len(data), 3) + 1):
        first, *others = data[-count:]
        if 0x80 <= first < 0xC0:
            continue  # this byte goes on with a character: it began before
        lowest, highest = SECOND.get(first, (0x80, 0xBF))
        possible = not others or lowest <= others[0] <= highest
        return count if count < character_length(first) and possible else 0
    return 0


class StreamingDecoder:
    """Bytes in pieces -> text in pieces, each of whole characters.

    A token may end in the middle of a character. What has come of it is held back until
    the rest is there. Bytes that are no UTF-8 become U+FFFD, the replacement character,
    as in `bytes.decode(errors="replace")`. Each call returns what the decoder of
    `codecs.getincrementaldecoder("utf-8")` would.

    >>> decoder = StreamingDecoder()
    >>> [decoder.push(b) for b in (b"a", b"\\xec\\x95", b"\\x88b", b"\\xec")]
    ['a', '', '안b', '']
    >>> decoder.finish()
    '\ufffd'
    """

    def __init__(self) -> None:
        self.held = b""  # 3 bytes at most

    def push(self, chunk: bytes) -> str:
        """The next bytes -> all characters that are whole by now, perhaps none."""
        data = self.held + chunk
        whole = len(data) - unfinished(data)
        self.held = data[whole:]
        return data[:whole].decode(errors="replace")

    def finish(self) -> str:
        """The text is over: what is held can be no character any more."""
        rest, self.held = self.held, b""
        return rest.decode(errors="replace")


class StopAt:
    """Shows a text up to the first stop string, which may come in pieces.

    What may be the beginning of a stop string is held back until it is decided. The
    text ends before the stop string that begins first. What is shown, taken together,
    does not depend on how the text was cut into pieces.

    >>> stop = StopAt(["The End"])
    >>> [stop.push(piece) for piece in ("one. T", "hen two. The", " End", "less")]
    ['one. ', 'Then two. ', '', '']
    >>> stop.stopped
    True
    """

    def __init__(self, stops: Sequence[str]) -> None:
        """`stops`: the strings to stop before; none: the whole text is shown.

        Raises:
            ValueError: if `stops` is one string and no list, or one of them is empty.
        """
        if isinstance(stops, str):
            raise ValueError(f"expected a list of strings, got {stops!r}: put it in []")
        if "" in stops:
            raise ValueError("a stop string is empty: every text would end at once")
        self.stops = tuple(stops)
        self.held = ""  # what may be the beginning of a stop string
        self.stopped = False

    def push(self, piece: str) -> str:
        """The next piece -> what may be shown by now; nothing after the stop."""
        if self.stopped:
            return ""
        return self._show(self.held + piece, final=False)

    def finish(self) -> str:
        """The text is over: what was held, unless a stop string stands in it."""
        return self._show(self.held, final=True)

    def _show(self, text: str, final: bool) -> str:
        """Show what stands before a stop string, or before what may become one."""
        self.held = ""
        for start in range(len(text)):
            rest = text[start:]
            if rest.startswith(self.stops):
                self.stopped = True
                return text[:start]
            if not final and any(stop.startswith(rest) for stop in self.stops):
                self.held = rest
                return text[:start]
        return text


# ---- memory -------------------------------------------------------------------------


def memory(
    config: GPTConfig,
    texts: int = 1,
    length: int = 0,
    bytes_per_weight: float = 4,
    bytes_per_cached: float = 4,
) -> int:
    """Bytes of the weights, and of the keys and values of B texts of T tokens.

        parameters * bytes_per_weight + B T * 2 * layers * C * bytes_per_cached

    A number takes 4 bytes in float32, 2 in half precision, 1 in int8 and 0.5 in 4 bits.
    What a step needs while it computes, and the program itself, come on top. A fraction
    of a byte counts as one.

    >>> memory(GPTConfig())  # the smallest GPT-2, without a text
    497759232

    Raises:
        ValueError: if a number is negative, or a text longer than the context.

    Source: for a cache, Kwon et al. 2023, "Efficient Memory Management for Large
    Language Model Serving with PagedAttention", arXiv:2309.06180, section 3.
    """
    if min(texts, length, bytes_per_weight, bytes_per_cached) < 0:
        raise ValueError(
            f"{texts} texts of {length} tokens, {bytes_per_weight} bytes per weight, "
            f"{bytes_per_cached} per cached number: expected 0 or more each"
        )
    if length > config.n_positions:
        raise ValueError(
            f"{length} tokens do not fit the context of {config.n_positions}"
        )
    cached = texts * length * 2 * config.n_layer * config.n_embd
    weights = gpt_parameters(config) * bytes_per_weight
    return math.ceil(weights + cached * bytes_per_cached)
