r"""The GPT: feed-forward layers, the block, and the whole model, exactly GPT-2's.

A block is attention and a feed-forward layer, each behind a LayerNorm, each adding to
the stream. A GPT is embeddings, a stack of blocks, one more LayerNorm, and the token
table once more, read the other way: every token's score is how well its vector fits.

    x = embedding(ids)                                   (B, T, C)
    x = x + attention(norm(x));  x = x + feed_forward(norm(x))     per block
    logits = norm(x) E^T                                 (B, T, V)

Shapes: `B` texts, `T` tokens each, `C` channels, `H` heads, `V` tokens in the
vocabulary. `GPTConfig` has the names in the configuration file that `transformers` uses
for GPT-2. Left out: training (the next chapter), and keeping keys and values between
steps (week 5).

Sources: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", and
the code published with it, github.com/openai/gpt-2; Hendrycks and Gimpel 2016,
"Gaussian Error Linear Units"; for top-p, Holtzman et al. 2020, "The Curious Case of
Neural Text Degeneration".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from solutions.causal_masking import Dropout
from solutions.language_models import generate
from solutions.multi_head import MultiHeadAttention
from solutions.normalization import LayerNorm
from solutions.tokens import TokenAndPositionEmbedding


@dataclass(frozen=True)
class GPTConfig:
    """The sizes of a GPT, by default those of the smallest GPT-2.

    The names are those in the configuration file that `transformers` uses for GPT-2. It
    has a dropout of 0.1 at all three places; here it is off unless asked for.

    Raises:
        ValueError: if there can be no such model.
    """

    vocab_size: int = 50_257  # V
    n_positions: int = 1_024  # the context: the longest T
    n_embd: int = 768  # C
    n_layer: int = 12
    n_head: int = 12  # H
    embd_pdrop: float = 0.0  # dropout on the embeddings,
    attn_pdrop: float = 0.0  # on the weights of attention,
    resid_pdrop: float = 0.0  # and on what is added to the stream
    layer_norm_epsilon: float = 1e-5
    initializer_range: float = 0.02  # the standard deviation of new weights

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type == "int" and (not isinstance(value, int) or value < 1):
                raise ValueError(f"{field.name} is {value!r}, expected 1 or more")
            if field.name.endswith("pdrop") and not 0 <= value <= 1:
                raise ValueError(f"{field.name} is {value!r}, expected 0 to 1")
        if self.n_embd % self.n_head:
            raise ValueError(
                f"n_head {self.n_head} does not divide n_embd {self.n_embd}: choose "
                "a number of heads that does"
            )


PRESETS = {
    "tiny": GPTConfig(2_048, 256, n_embd=128, n_layer=4, n_head=4),
    "small": GPTConfig(2_048, 256, n_embd=384, n_layer=6, n_head=6),
    "gpt2": GPTConfig(),
    "gpt2-medium": GPTConfig(n_embd=1_024, n_layer=24, n_head=16),
    "gpt2-large": GPTConfig(n_embd=1_280, n_layer=36, n_head=20),
    "gpt2-xl": GPTConfig(n_embd=1_600, n_layer=48, n_head=25),
}
"""Two sizes for the course's stories, and the four in which GPT-2 was published."""


def gelu(x: Tensor) -> Tensor:
    r"""The Gaussian error linear unit, exactly: any shape, number by number.

        gelu(x) = x * Phi(x),   Phi(x) = (1 + erf(x / sqrt(2))) / 2

    `Phi(x)` is the share of a standard normal distribution that lies below x. Like
    `F.gelu`.

    >>> gelu(torch.tensor([-1.0, 0.0, 1.0]))
    tensor([-0.1587,  0.0000,  0.8413])

    Source: Hendrycks and Gimpel 2016, arXiv:1606.08415.
    """
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def gelu_tanh(x: Tensor) -> Tensor:
    r"""GELU as GPT-2 computes it, with a tanh for the error function.

        x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))

    It differs from `gelu` by less than 0.0005 everywhere. Like
    `F.gelu(x, approximate="tanh")`.

    Source: Hendrycks and Gimpel 2016, section 2.
    """
    inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
    return 0.5 * x * (1 + torch.tanh(inner))


class FeedForward(nn.Module):
    """Two matrices with a GELU between them, for each position by itself.

        output = gelu(x W_1^T + b_1) W_2^T + b_2,   W_1 (4 C, C),  W_2 (C, 4 C)

    (B, T, C) -> (B, T, C). Attention moves information between positions; this layer
    works on what has arrived. Its step in the middle is `F.gelu`, which computes the
    formula of `gelu_tanh` in one piece.

    Source: Vaswani et al. 2017, section 3.3; with GELU, Radford et al. 2018.
    """

    def __init__(self, width: int) -> None:
        """`width`: the channels C; between the two matrices there are 4 C."""
        super().__init__()
        self.expand = nn.Linear(width, 4 * width)
        self.projection = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.gelu(self.expand(x), approximate="tanh")  # (B, T, 4 C)
        return self.projection(hidden)  # (B, T, C)


class Block(nn.Module):
    """A layer of GPT-2, which adds twice to the stream: (B, T, C) -> (B, T, C).

        x = x + dropout(attention(attention_norm(x)))
        x = x + dropout(feed_forward(feed_forward_norm(x)))

    Pre-norm: the stream itself is never normalised, only what a layer reads.

    Source: Radford et al. 2019, section 2.3.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        context: int,
        attention_dropout: float = 0.0,
        dropout: float = 0.0,
        eps: float = 1e-5,
    ) -> None:
        """`width`: the channels C; `context`: the longest T; `eps`: of both norms."""
        super().__init__()
        self.attention_norm = LayerNorm(width, eps)
        self.attention = MultiHeadAttention(width, heads, context, attention_dropout)
        self.feed_forward_norm = LayerNorm(width, eps)
        self.feed_forward = FeedForward(width)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.dropout(self.attention(self.attention_norm(x)))
        return x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))


class GPT(nn.Module):
    """GPT-2: ids (B, T) -> logits (B, T, V).

    The token table is used twice: its row for a token is what goes in, and the product
    with all rows is what comes out (tied weights).

    A new model is initialised in the way usually called GPT-2's: normal numbers of
    standard deviation 0.02, biases 0; the two matrices of a block that write to the
    stream get 0.02 divided by the root of how many write to it, 2 per block, so that
    the sum keeps its size. The 0.02 is from GPT-2's code (there the position table gets
    0.01), the root from its paper.

    Source: Radford et al. 2019, section 2.3, and src/model.py of the code; for tied
    weights, Press and Wolf 2017, "Using the Output Embedding to Improve Language
    Models", arXiv:1608.05859.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        width, context = config.n_embd, config.n_positions
        self.embedding = TokenAndPositionEmbedding(config.vocab_size, context, width)
        self.dropout = Dropout(config.embd_pdrop)
        self.blocks = nn.ModuleList(
            Block(
                width,
                config.n_head,
                context,
                config.attn_pdrop,
                config.resid_pdrop,
                config.layer_norm_epsilon,
            )
            for _ in range(config.n_layer)
        )
        self.norm = LayerNorm(width, config.layer_norm_epsilon)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw all weights anew, in the way that the class describes."""
        std = self.config.initializer_range
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                module.weight.normal_(0.0, std)
            if isinstance(module, nn.Linear) and module.bias is not None:
                module.bias.zero_()
        writers = 2 * self.config.n_layer
        for block in self.blocks:
            for writer in block.attention, block.feed_forward:
                writer.projection.weight.normal_(0.0, std / math.sqrt(writers))

    def forward(self, ids: Tensor) -> Tensor:
        """ids (B, T) -> logits (B, T, V).

        Raises:
            ValueError: if T is more than the context.
        """
        x = self.dropout(self.embedding(ids))  # (B, T, C)
        for block in self.blocks:
            x = block(x)  # (B, T, C)
        table = self.embedding.token_embedding.weight  # (V, C)
        return F.linear(self.norm(x), table)  # (B, T, V)


def gpt_parameters(config: GPTConfig) -> int:
    """How many numbers a GPT of this size learns, counted without building it.

        V C + P C + layers * (12 C^2 + 13 C) + 2 C,   P = n_positions

    A block has 4 C^2 + 4 C in attention, 8 C^2 + 5 C in the feed-forward layer, and
    2 C in each of its norms. The output has no table of its own.

    >>> gpt_parameters(PRESETS["gpt2"])
    124439808
    """
    width = config.n_embd
    tables = (config.vocab_size + config.n_positions) * width
    block = 12 * width**2 + 13 * width
    return tables + config.n_layer * block + 2 * width


def forward_flops(config: GPTConfig, length: int) -> int:
    """Multiplications and additions to read one token, in a text of `length` tokens.

        2 * (layers * 12 C^2 + V C) + layers * 4 T C

    Each number of a matrix takes part in one multiplication and one addition per token;
    scores and averages take 2 T C each. Counted as if every token looked at all T; a
    causal one looks at half of them. Training costs three times as much: the way back
    takes two matrix products for each one of the way forward.

    Source: Kaplan et al. 2020, "Scaling Laws for Neural Language Models", section 2.1,
    who leave out the output table and count half of the scores and averages; and
    Chowdhery et al. 2022, "PaLM", arXiv:2204.02311, appendix B, who count them all.
    """
    width = config.n_embd
    matrices = config.n_layer * 12 * width**2 + config.vocab_size * width
    return 2 * matrices + config.n_layer * 4 * length * width


def keep_top_k(logits: Tensor, k: int) -> Tensor:
    """All but the k largest logits become -inf: (..., V) -> (..., V).

    Those that equal the k-th largest stay, too, so there may be more than k.

    >>> keep_top_k(torch.tensor([1.0, 3.0, 2.0]), k=2)
    tensor([-inf, 3., 2.])

    Raises:
        ValueError: if k is less than 1.
    """
    if k < 1:
        raise ValueError(f"k is {k}, expected 1 or more")
    k = min(k, logits.shape[-1])
    least = logits.topk(k, dim=-1).values[..., -1:]  # (..., 1)
    return logits.masked_fill(logits < least, -math.inf)


def keep_top_p(logits: Tensor, p: float) -> Tensor:
    """Keep the fewest tokens that have p of the probability: (..., V) -> (..., V).

    From the most probable token on, tokens are kept until they have at least p
    together; the logits of all others become -inf. One token always stays; which of
    several equally probable tokens stay is left open.

    >>> keep_top_p(torch.tensor([0.5, 0.3, 0.2]).log(), p=0.7).exp()
    tensor([0.5000, 0.3000, 0.0000])

    Raises:
        ValueError: if p is not in 0 .. 1.

    Source: Holtzman et al. 2020, section 3.1 (nucleus sampling).
    """
    if not 0 <= p <= 1:
        raise ValueError(f"p is {p}, expected 0 to 1")
    if p == 1:
        return logits.clone()  # all, even those whose share is rounded to 0
    ordered, places = logits.sort(dim=-1)  # (..., V), the least probable token first
    precise = torch.promote_types(logits.dtype, torch.float32)
    shares = ordered.softmax(dim=-1, dtype=precise)
    # What more probable tokens leave to this one and the rest. Added up from the small
    # ones, so that rounding loses none of them.
    spare = shares.cumsum(dim=-1) <= 1 - p
    spare[..., -1] = False  # the most probable token always stays
    # Back from the sorted places to those of the tokens.
    return logits.masked_fill(spare.scatter(-1, places, spare), -math.inf)


def write(
    model: Callable[[Tensor], Tensor],
    ids: Tensor,
    steps: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    context: int | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Go on with a text: ids (B, T) -> (B, T + steps), the given ids come first.

    At each step the logits are divided by the temperature, then cut to the top k, then
    to the top p of what is left, and one token is drawn. Temperature 0 always takes the
    most probable token. Put the model into `eval()` first.

    Args:
        context: how many of the last tokens the model can see; None: all.

    Raises:
        ValueError: if a setting cannot be, or there is no token to start from.
    """
    if temperature < 0:
        raise ValueError(f"the temperature is {temperature}, expected 0 or more")

    def chosen(seen: Tensor) -> Tensor:
        logits = model(seen)[:, -1:] / (temperature or 1.0)  # (B, 1, V)
        if top_k is not None:
            logits = keep_top_k(logits, top_k)
        return logits if top_p is None else keep_top_p(logits, top_p)

    return generate(
        chosen,
        ids,
        steps,
        temperature=1.0 if temperature else 0.0,  # divided already, or greedy
        context=context,
        generator=generator,
    )


def gpt2_names(config: GPTConfig) -> dict[str, tuple[str, bool]]:
    """Our name of each parameter -> that of `transformers`, and whether it is turned.

    The names are those that `transformers` uses for GPT-2. GPT-2 stores the matrices of
    its blocks as (in, out), torch as (out, in).
    """
    names = {
        "embedding.token_embedding.weight": ("wte.weight", False),
        "embedding.position_embedding.weight": ("wpe.weight", False),
        "norm.weight": ("ln_f.weight", False),
        "norm.bias": ("ln_f.bias", False),
    }
    parts = {
        "attention_norm": "ln_1",
        "attention.qkv": "attn.c_attn",
        "attention.projection": "attn.c_proj",
        "feed_forward_norm": "ln_2",
        "feed_forward.expand": "mlp.c_fc",
        "feed_forward.projection": "mlp.c_proj",
    }
    for layer in range(config.n_layer):
        for ours, theirs in parts.items():
            for kind in "weight", "bias":
                transposed = kind == "weight" and "norm" not in ours
                names[f"blocks.{layer}.{ours}.{kind}"] = (
                    f"h.{layer}.{theirs}.{kind}",
                    transposed,
                )
    return names


def to_gpt2(model: GPT) -> dict[str, Tensor]:
    """The weights as `transformers` loads them into a GPT-2: its names, its layout."""
    ours = model.state_dict()
    return {
        f"transformer.{theirs}": ours[name].T.contiguous() if turned else ours[name]
        for name, (theirs, turned) in gpt2_names(model.config).items()
    }


def from_gpt2(state: Mapping[str, Tensor], config: GPTConfig) -> GPT:
    """A GPT with GPT-2's weights, as `transformers` names them.

    The names may begin with `transformer.`, or not.

    Raises:
        ValueError: if a weight is missing or has another shape than the config says.
    """
    names = {name.removeprefix("transformer."): name for name in state}
    with torch.device("meta"):
        model = GPT(config)
    ours = {}
    for name, (theirs, turned) in gpt2_names(config).items():
        wanted = model.get_parameter(name).shape
        if theirs not in names:
            raise ValueError(
                f"the checkpoint has no {theirs}: is it a GPT-2 of "
                f"{config.n_layer} layers?"
            )
        # One at a time: a state that reads its file when asked need not hold them all.
        value, stored = state[names[theirs]], wanted[::-1] if turned else wanted
        if value.shape != stored:
            raise ValueError(
                f"{theirs} is {tuple(value.shape)} in the checkpoint, but the config "
                f"makes it {tuple(stored)}"
            )
        value = value.T if turned else value
        ours[name] = value.clone(memory_format=torch.contiguous_format)
    model.load_state_dict(ours, assign=True)
    return model
