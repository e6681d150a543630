"""What the answers of "Many heads" must satisfy.

Oracles: torch's own cutting and joining of tensors, `F.multi_head_attention_forward`
(what `nn.MultiheadAttention` runs), the parameters of `nn.MultiheadAttention`, and sums
over a few weights that can be added in one's head.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from course.case import Case, Complaint, Exercise, Mistake, build
from course.counts import TOO_LARGE_TO_BUILD, whole
from course.refusal import is_refused, refusal, refused


def _numbered(*sizes: int) -> Tensor:
    """Every value another number, so that it shows where each one went."""
    return torch.arange(math.prod(sizes), dtype=torch.float32).view(sizes)


def _random(*sizes: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(sizes, generator=generator, dtype=torch.float64)


# Split and merge


def _cut(x: Tensor, heads: int) -> Tensor:
    """Cut the channels into pieces of equal width, and stack the pieces as heads."""
    return torch.stack(x.split(x.shape[-1] // heads, dim=-1), dim=1)


def split_heads() -> Iterator[Case]:
    x = _numbered(2, 3, 10)  # B, T, C; five heads of two channels
    listed = Mistake(
        "A list of heads cannot be multiplied at once. Make one tensor of four axes.",
        when=lambda got: isinstance(got, list | tuple),
    )
    yield Case(
        "two texts of three tokens, ten channels for five heads",
        args=(x, 5),
        expected=_cut,
        gradient=True,
        mistakes=(
            listed,
            Mistake(
                "The shape is right, but `view(B, H, T, D)` cuts each text into H "
                "pieces of its own order: a head gets channels of other tokens. Cut "
                "the last axis first, into (B, T, H, D), and then swap T and H.",
                equals=x.view(2, 5, 3, 2),
            ),
            Mistake(
                "The heads are interleaved: head 0 has the channels 0, 5, and so on. "
                "Each head gets D channels that lie side by side: cut C into (H, D), "
                "not into (D, H).",
                equals=x.view(2, 3, 2, 5).permute(0, 3, 1, 2),
            ),
            Mistake(
                "The heads stand behind the tokens, (B, T, H, D). Swap the axes 1 and "
                "2, so that each head has a (T, D) of its own.",
                when=lambda got: got.shape == (2, 3, 5, 2),
            ),
            Mistake(
                "`heads` is how many heads there are. You took it for the width D of "
                "one; that is C // heads.",
                when=lambda got: got.shape in ((2, 2, 3, 5), (2, 3, 2, 5)),
            ),
            Mistake(
                "The last two axes are swapped: (B, H, D, T). Each token of a head is "
                "a row of D channels.",
                when=lambda got: got.shape == (2, 5, 2, 3),
            ),
            Mistake(
                "The heads come first, (H, B, T, D). The batch stays in front.",
                when=lambda got: got.shape == (5, 2, 3, 2),
            ),
            Mistake(
                "Sizes in `view` are whole numbers: divide with `//`, not with `/`.",
                raises=TypeError,
            ),
        ),
    )
    yield Case(
        "one head keeps all channels",
        args=(_numbered(3, 2, 7), 1),
        expected=_cut,
        mistakes=(
            listed,
            Mistake(
                "One head is a head, too: the axis H is there, and its size is 1.",
                when=lambda got: got.dim() == 3,
            ),
        ),
    )
    yield Case(
        "as many heads as channels, one token",
        args=(_numbered(2, 1, 3), 3),
        expected=_cut,
        mistakes=(listed,),
    )
    yield Case(
        "the keys of a tensor that holds queries, keys and values",
        # A part of a wider tensor: its rows do not lie side by side in memory.
        args=(_numbered(2, 5, 18),),
        call=lambda answer, qkv: answer(qkv.chunk(3, dim=-1)[1], 2),
        expected=lambda qkv: _cut(qkv.chunk(3, dim=-1)[1], 2),
        mistakes=(listed,),
    )
    yield Case(
        # Five pieces of ceil(8 / 5) channels are four: `chunk` says nothing.
        "five heads for eight channels: a ValueError",
        args=(_numbered(2, 3, 8), 5),
        call=lambda answer, x, heads: refusal(answer, x, heads),
        judge=is_refused,
        mistakes=refused(
            "Eight channels cannot be shared out among five heads, yet your code "
            "returned something: some channels are lost, or there are fewer heads. "
            "Raise a `ValueError` if C % heads is not 0."
        ),
    )


def _joined(x: Tensor) -> Tensor:
    """The heads one by one, side by side."""
    return torch.cat(x.unbind(1), dim=-1)


def merge_heads() -> Iterator[Case]:
    x = _numbered(2, 3, 5, 7)  # B, H, T, D
    no_view = Mistake(
        "After `transpose` the numbers no longer lie in order, and `view` copies "
        "nothing. Use `reshape`, or `.contiguous()` before `view`.",
        raises=RuntimeError,
        mentions="view",
    )
    yield Case(
        "three heads of seven channels, five tokens",
        args=(x,),
        expected=_joined,
        gradient=True,
        mistakes=(
            no_view,
            Mistake(
                "The shape is right, but the heads were not moved back: a row holds "
                "one head's channels of *several* tokens. Swap T and H first, to (B, "
                "T, H, D), and then join the last two axes.",
                equals=x.reshape(2, 5, 21),
            ),
            Mistake(
                "The channels are interleaved: one of each head in turn. First all D "
                "channels of head 0, then those of head 1: (B, T, H, D), not (B, T, D, "
                "H).",
                equals=x.permute(0, 2, 3, 1).reshape(2, 5, 21),
            ),
            Mistake(
                "Heads and tokens are swapped back, but not joined yet: make one axis "
                "of C = H * D channels.",
                when=lambda got: got.shape == (2, 5, 3, 7),
            ),
            Mistake(
                "The heads are added up. Put them side by side: C is H * D.",
                when=lambda got: got.shape == (2, 5, 7),
            ),
            Mistake(
                "The heads stand one after another in *time*. Each token keeps one "
                "row: (B, T, C).",
                when=lambda got: got.shape in ((2, 15, 7), (2, 3, 35)),
            ),
            Mistake(
                "Channels and tokens are swapped: (B, C, T). A token is a row.",
                when=lambda got: got.shape == (2, 21, 5),
            ),
        ),
    )
    yield Case(
        "one token, and then one head",
        args=(_numbered(3, 2, 1, 5), _numbered(2, 1, 4, 3)),
        call=lambda answer, a, b: (answer(a), answer(b)),
        expected=lambda a, b: (_joined(a), _joined(b)),
        mistakes=(
            no_view,
            Mistake(
                "An axis of size 1 must stay: `squeeze` removes more than you mean.",
                when=lambda got: any(one.dim() != 3 for one in got),
            ),
        ),
    )


# Multi-head attention

CASE_WIDTHS = ((2, 5, 6, 3), (1, 7, 10, 2))  # B, T, C, H


def _state(width: int, bias: bool = True, seed: int = 1) -> dict[str, Tensor]:
    """Weights of which no part resembles another; large, so that attention is sharp."""
    state = {
        "qkv.weight": _random(3 * width, width, seed=seed) * 0.8,
        "projection.weight": _random(width, width, seed=seed + 1) * 0.6,
    }
    if bias:
        state["qkv.bias"] = _random(3 * width, seed=seed + 2)
        state["projection.bias"] = _random(width, seed=seed + 3)
    return state


def _torchs(x: Tensor, heads: int, state: dict[str, Tensor]) -> Tensor:
    """Causal multi-head attention as torch computes it, with these weights."""
    length, width = x.shape[1:]
    future = torch.ones(length, length, dtype=torch.bool).triu(1)
    output, _ = F.multi_head_attention_forward(
        *(x.transpose(0, 1),) * 3,
        width,
        heads,
        state["qkv.weight"],
        state.get("qkv.bias"),
        None,
        None,
        False,
        0.0,
        state["projection.weight"],
        state.get("projection.bias"),
        need_weights=False,
        attn_mask=future,
    )
    return output.transpose(0, 1)


def _made(
    cls: type,
    width: int,
    heads: int,
    context: int,
    state: dict[str, Tensor],
    **options: Any,
) -> nn.Module:
    """The reader's module with these weights; a stored mask is no parameter.

    Raises:
        Complaint: if a parameter is missing, too many, or of another shape.
    """
    module = build(cls, width, heads, context, **options)
    own = {name: tuple(value.shape) for name, value in module.named_parameters()}
    for name, value in state.items():
        if name not in own:
            raise Complaint(
                f"The module has no parameter `{name}` of shape {tuple(value.shape)}; "
                f"it has {', '.join(f'`{found}`' for found in own) or 'none'}. Two "
                "linear layers are enough: `self.qkv` and `self.projection`."
            )
        if own[name] != tuple(value.shape):
            raise Complaint(
                f"`{name}` has shape {own[name]}, expected {tuple(value.shape)}. "
                "`qkv` leads from C to 3 C, `projection` from C to C."
            )
    for name in own:
        if name not in state:
            raise Complaint(
                f"The module has a parameter too many: `{name}`. With `bias=False` "
                "neither of the two layers has a bias: pass it on."
                if name.endswith("bias")
                else f"The module has a parameter too many: `{name}`."
            )
    module.to(torch.float64)
    module.load_state_dict(state, strict=False)
    return module.eval()


def _attends(
    state: dict[str, Tensor], **options: Any
) -> Callable[[type, Tensor, int, int], Tensor]:
    """Build the reader's module and call it; gradients reach `x`."""

    def attends(cls: type, x: Tensor, heads: int, context: int) -> Tensor:
        return _made(cls, x.shape[-1], heads, context, state, **options)(x)

    return attends


def _astray(
    x: Tensor,
    heads: int,
    state: dict[str, Tensor],
    *,
    order: str = "qkv",
    split: str = "right",
    mask: str = "causal",
    fill: float = -torch.inf,
    scale: float | None = None,
    axis: int = -1,
    merge: str = "right",
    projection: bool = True,
) -> Tensor:
    """Multi-head attention with one thing done wrong, step by step."""
    batch, length, width = x.shape
    head_width = width // heads
    parts = dict(
        zip(
            order,
            F.linear(x, state["qkv.weight"], state.get("qkv.bias")).chunk(3, -1),
            strict=True,
        )
    )
    if split == "per head":  # (H, 3, D) in place of (3, H, D)
        together = F.linear(x, state["qkv.weight"], state.get("qkv.bias"))
        thirds = together.view(batch, length, heads, 3, head_width).permute(
            3, 0, 2, 1, 4
        )
        queries, keys, values = thirds.unbind(0)
    else:
        cut = {
            "right": lambda part: part.view(batch, length, heads, head_width).transpose(
                1, 2
            ),
            "view": lambda part: part.reshape(batch, heads, length, head_width),
            "interleaved": lambda part: part.view(
                batch, length, head_width, heads
            ).permute(0, 3, 1, 2),
        }[split]
        queries, keys, values = (cut(parts[name]) for name in "qkv")
    scores = (
        queries
        @ keys.transpose(-2, -1)
        * (head_width**-0.5 if scale is None else scale)
    )
    ones = torch.ones(length, length, dtype=torch.bool)
    seen = {
        "causal": ones.tril(),
        "none": ones,
        "future": ones.triu(),
        "inverted": ones.triu(1),
        "strict": ones.tril(-1),
        "after": ones,
    }[mask]
    weights = scores.masked_fill(~seen, fill).softmax(axis).nan_to_num(0.0)
    if mask == "after":
        weights = weights * ones.tril()
    found = weights @ values  # (B, H, T, D)
    merged = (
        found.transpose(1, 2).reshape(batch, length, width)
        if merge == "right"
        else found.reshape(batch, length, width)
    )
    if not projection:
        return merged
    return F.linear(merged, state["projection.weight"], state.get("projection.bias"))


def _likely_mistakes(
    x: Tensor, heads: int, state: dict[str, Tensor]
) -> tuple[Mistake, ...]:
    """What goes wrong most often, for this input and these weights."""

    def astray(hint: str, **wrong: Any) -> Mistake:
        return Mistake(hint, equals=_astray(x, heads, state, **wrong))

    def nan_in(*tokens: int) -> Callable[[Tensor], bool]:
        """Whether the outputs of these tokens, and of no others, are NaN."""
        wanted = torch.zeros(x.shape[1], dtype=torch.bool)
        wanted[list(tokens)] = True
        return lambda got: bool((got.isnan().all(0).all(-1) == wanted).all())

    width = x.shape[-1]
    head_width = width // heads
    turned = (
        "The mask is the other way round: every token sees only what comes *after* it, "
        "and the last one nothing. `F.scaled_dot_product_attention` takes your mask as "
        "it is, True where a token may look; `masked_fill` fills where the mask is "
        "True, so it takes `~mask`."
    )
    over_heads = (
        "The softmax goes over the heads, axis 1, which is also what `F.softmax` "
        "chooses when you name no axis. Each *row* of weights sums to 1: softmax over "
        "dim=-1."
    )
    return (
        astray(
            "The mask is missing: every token sees the whole text, the future "
            "included. A token may look at itself and at what stands before it.",
            mask="none",
        ),
        astray(
            "The mask is upside down: every token sees only itself and the future.",
            mask="future",
        ),
        astray(turned, mask="inverted"),
        Mistake(turned, when=nan_in(x.shape[1] - 1)),
        Mistake(
            "The first token has nothing to look at, and a softmax over nothing is "
            "NaN: the mask hides the diagonal. A token may look at itself.",
            when=nan_in(0),
        ),
        astray(
            "Hidden scores are set to 0, which is a score like any other: the softmax "
            "still gives it a weight. Set them to -inf.",
            fill=0.0,
        ),
        Mistake(over_heads, when=nan_in(*range(x.shape[1] - 1))),
        astray(over_heads, fill=-1e9, axis=1),
        astray(
            "A token does not see itself: the diagonal belongs to what is seen.",
            mask="strict",
        ),
        astray(
            "The mask comes after the softmax: then the weights no longer sum to 1. "
            "Set the hidden scores to -inf *before* it.",
            mask="after",
        ),
        astray(
            "The last step is missing: after the merge, `projection` mixes what the "
            "heads found.",
            projection=False,
        ),
        astray(
            "The scores are divided by the root of the full width C. A query of one "
            "head has D = C / H channels: divide by the root of D.",
            scale=width**-0.5,
        ),
        astray(
            "The scores are not scaled: divide them by the root of D, the width of one "
            "head.",
            scale=1.0,
        ),
        astray(
            "The scores are divided by D. Divide by its square root.",
            scale=1 / head_width,
        ),
        astray(
            "The scores are scaled twice. `F.scaled_dot_product_attention` and "
            "`attention_scores` divide by the root of D themselves.",
            scale=1 / head_width,
        ),
        astray(
            "The softmax goes down the columns. Each *row* of weights sums to 1: "
            "softmax over dim=-1.",
            axis=-2,
        ),
        astray(
            "Heads are split without swapping axes: `view(B, H, T, D)` mixes tokens "
            "and heads. `split_heads` does it right.",
            split="view",
        ),
        astray(
            "Heads are split the wrong way *and* merged the same way, so every shape "
            "fits, and yet tokens and heads are mixed. Use `split_heads` and "
            "`merge_heads`.",
            split="view",
            merge="view",
        ),
        astray(
            "The heads are interleaved. Each head has D channels side by side; "
            "`split_heads` does it right.",
            split="interleaved",
        ),
        astray(
            "The merge forgot to swap the axes back: a token gets what a head found "
            "for other tokens. `merge_heads` does it right.",
            merge="view",
        ),
        astray(
            "The 3 C outputs of `qkv` are cut per head: queries, keys and values of "
            "head 0 first. GPT-2's order is all queries, then all keys, then all "
            "values: cut with `chunk(3, dim=-1)` first, and split the heads then.",
            split="per head",
        ),
        *(
            astray(
                "The three parts of `qkv` are mixed up. The first C outputs are the "
                "queries, the next C the keys, the last C the values.",
                order=order,
            )
            for order in ("kqv", "vkq", "qvk", "kvq", "vqk")
        ),
        Mistake(
            "The input is added to the output. That step comes later, in the block; "
            "here return the projection alone.",
            equals=_torchs(x, heads, state) + x,
        ),
    )


def multi_head_attention() -> Iterator[Case]:
    sliced = Mistake(
        "A mask of the whole context meets a shorter text. Take its first T rows and "
        "columns: `mask[:T, :T]`.",
        raises=RuntimeError,
        mentions="size of tensor",
    )
    stale = Mistake(
        "After `transpose` the numbers no longer lie in order, and `view` copies "
        "nothing. Use your `merge_heads`, or `reshape`.",
        raises=RuntimeError,
        mentions="view",
    )
    double = Mistake(
        "Inputs in float64 meet a tensor in float32. Make new tensors with the dtype "
        "of the input, or use a mask of bools.",
        raises=RuntimeError,
        mentions="dtype",
    )
    single = Mistake(
        "Inputs in float64 meet a tensor in float32. Make new tensors with the dtype "
        "of the input, and convert nothing.",
        raises=RuntimeError,
        mentions="scalar type",
    )
    for title, (batch, length, width, heads) in zip(
        ("three heads of two channels", "two heads of five channels, one text"),
        CASE_WIDTHS,
        strict=True,
    ):
        x, state = _random(batch, length, width, seed=5), _state(width)
        yield Case(
            title,
            args=(x, heads, 11),
            call=_attends(state),
            expected=lambda x, heads, _, state=state: _torchs(x, heads, state),
            gradient=True,
            mistakes=(
                *_likely_mistakes(x, heads, state),
                sliced,
                stale,
                double,
                single,
            ),
        )
    x, state = _random(2, 3, 4, seed=6), _state(4)
    yield Case(
        "as many tokens as the context has room for",
        args=(x, 2, 3),
        call=_attends(state),
        expected=lambda x, heads, _: _torchs(x, heads, state),
        mistakes=(
            Mistake(
                "Three tokens fit into a context of three. Refuse a text only if T is "
                "*more* than `context`.",
                raises=(ValueError, AssertionError, IndexError),
            ),
            *_likely_mistakes(x, 2, state),
        ),
    )
    yield Case(
        "a single token",
        args=(x[:, :1], 2, 3),
        call=_attends(state),
        expected=lambda x, heads, _: _torchs(x, heads, state),
        mistakes=(sliced,),
    )
    plain = _state(4, bias=False)
    yield Case(
        "without biases",
        args=(x, 4, 3),
        call=_attends(plain, bias=False),
        expected=lambda x, heads, _: _torchs(x, heads, plain),
    )
    yield from _refusals(x, state)
    yield from _dropout(x, state)
    yield Case(
        "the module and its input on a device that is not the default",
        args=(x, 2),
        call=lambda cls, x, heads: _where_new_tensors_go(
            _made(cls, 4, heads, 3, state), x
        ),
        expected="all on the device of the input",
        mistakes=(
            Mistake(
                "A tensor, probably the mask, is made on the default device, so this "
                "fails on a GPU: make it with `device=x.device`, or store it with "
                "`self.register_buffer`.",
                equals="some on the default device",
            ),
        ),
    )


def _refusals(x: Tensor, state: dict[str, Tensor]) -> Iterator[Case]:
    yield Case(
        "four tokens in a context of three: a ValueError",
        args=(_random(2, 4, 4), 2, 3),
        call=lambda cls, x, heads, context: refusal(
            _made(cls, 4, heads, context, state), x
        ),
        judge=is_refused,
        mistakes=refused(
            "There are more tokens than the context has room for, yet your code "
            "returned something. Raise a `ValueError` in `forward` if T is more than "
            "`context`."
        ),
    )
    yield Case(
        "five heads for eleven channels: a ValueError",
        args=(11, 5),
        call=lambda cls, width, heads: refusal(build, cls, width, heads, 3),
        judge=is_refused,
        mistakes=refused(
            "Eleven channels cannot be shared out among five heads. Say so in "
            "`__init__`, with a `ValueError`, before anybody trains the module."
        ),
    )
    yield Case(
        "the number of heads, for who uses the module",
        args=(2,),
        call=lambda cls, heads: getattr(
            _made(cls, 4, heads, 3, state), "heads", "no such attribute"
        ),
        expected=2,
        mistakes=(
            Mistake(
                "Keep the number of heads as `self.heads`. Exercise 6 reads it there.",
                when=lambda got: True,
            ),
        ),
    )


def _dropout(x: Tensor, state: dict[str, Tensor]) -> Iterator[Case]:
    expected = _torchs(x[:1], 2, state)

    def evaluates(cls: type, x: Tensor) -> Tensor:
        return _made(cls, 4, 2, 3, state, dropout=0.5)(x)

    def trains(cls: type, x: Tensor) -> Tensor:
        module = _made(cls, 4, 2, 3, state, dropout=0.5).train()
        return module(x.expand(4000, 3, 4))

    def on_average(got: Tensor) -> str | None:
        if got.isnan().any():
            return "In training mode, with dropout 0.5, outputs are NaN."
        if got.std(dim=0).max() < 1e-6:
            return "In training mode, with dropout 0.5, every output is the same."
        if got[:, 0].std(dim=0).max() < 1e-6:
            # Its one score per head becomes a weight of 1, whatever the score is.
            return (
                "With dropout, the output of the first token is always the same, "
                "though its only weight should be dropped half of the time."
            )
        if got[:, 0].unique(dim=0, return_counts=True)[1].max() < 500:
            # The first token has one weight per head: kept or dropped, four outcomes.
            return (
                "Dropout hits something else than the weights. Drop weights, after the "
                "softmax and before they meet the values."
            )
        far = (got.mean(dim=0) - expected[0]).abs().max()
        if far > 0.25:
            return (
                "With dropout, the output is on average another one: what is kept must "
                "be divided by 1 - p."
            )
        return None

    yield Case(
        "dropout while evaluating: none",
        args=(x[:1],),
        call=evaluates,
        expected=expected,
        mistakes=(
            Mistake(
                "The output differs from the one without dropout, after `eval()`. "
                "Dropout works in training only: give it `self.training`. "
                "`F.scaled_dot_product_attention` does not know the mode: its "
                "`dropout_p` must be 0 when you evaluate.",
                when=lambda got: got.shape == (1, 3, 4),
            ),
        ),
    )
    yield Case(
        "dropout while training: weights are dropped, the average stays",
        args=(x[:1],),
        call=trains,
        judge=on_average,
        mistakes=(
            Mistake(
                "`dropout` is ignored. Drop weights after the softmax, in training "
                "mode only.",
                when=lambda got: got.std(dim=0).max() < 1e-6,
            ),
            Mistake(
                "Dropout comes before the softmax, on the *scores*. A score of 0 still "
                "gets a weight, and 0 times -inf is NaN. Drop the weights: after the "
                "softmax.",
                when=lambda got: got.isnan().any() or got[:, 0].std(dim=0).max() < 1e-6,
            ),
        ),
    )


class _OneDevice(TorchFunctionMode):
    """Refuses what a GPU would: one operation on tensors of two devices."""

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        devices = {
            value.device.type
            for value in (*args, *(kwargs or {}).values())
            if isinstance(value, Tensor) and value.dim()
        }
        moves = getattr(func, "__name__", "") in ("to", "cpu", "copy_")
        if len(devices) > 1 and not moves:
            raise RuntimeError("tensors on two devices")
        return func(*args, **(kwargs or {}))


def _where_new_tensors_go(module: nn.Module, x: Tensor) -> str:
    """Whether tensors made inside the module follow its input, without a second device.

    While the default device is "meta", a tensor made without `device=` ends up there.
    """
    try:
        with torch.device("meta"), _OneDevice():
            module(x)
    except NotImplementedError:
        pass  # moved to the device of the input, which "meta" cannot do: that is right
    except RuntimeError:
        return "some on the default device"
    return "all on the device of the input"


# Counting


def _counted(width: int, heads: int, bias: bool = True) -> int:
    """Build torch's module, without memory for its numbers, and count."""
    module = nn.MultiheadAttention(width, heads, bias=bias, device="meta")
    return sum(parameter.numel() for parameter in module.parameters())


def multi_head_parameters() -> Iterator[Case]:
    def mistakes(width: int, heads: int, bias: bool = True) -> tuple[Mistake, ...]:
        whole = 4 * width * width + (4 * width if bias else 0)
        return (
            Mistake(
                "The biases are counted, though `bias` is False."
                if not bias
                else "The biases are missing: each output of a linear layer has one.",
                equals=4 * width * width + (0 if bias else 4 * width),
            ),
            Mistake(
                "One bias is missing. `qkv` has 3 C outputs, so 3 C biases; the "
                "`projection` has C more.",
                when=lambda got: got in (whole - width, whole - 3 * width) and bias,
            ),
            Mistake(
                "This is `qkv` alone: the `projection` is missing.",
                equals=3 * width * width + (3 * width if bias else 0),
            ),
            Mistake(
                "You count the full matrices once for each head. The heads share the "
                "channels out: together they are one matrix.",
                when=lambda got: got % whole == 0 and got > whole,
            ),
            Mistake(
                "You divide by the number of heads, as if there were one head only. "
                "All heads together fill the full width.",
                when=lambda got: got < 3 * width * width,
            ),
        )

    for title, width, heads, bias in (
        ("six channels, one head", 6, 1, True),
        ("six channels, three heads", 6, 3, True),
        ("ten channels, two heads, no biases", 10, 2, False),
        ("one attention layer of GPT-2", 768, 12, True),
    ):
        yield Case(
            title,
            args=(width, heads),
            kwargs={"bias": bias},
            expected=_counted,
            mistakes=mistakes(width, heads, bias),
        )
    yield Case(
        "the bias when nothing is said",
        args=(5, 5),
        expected=_counted,
        mistakes=(
            Mistake("`bias` is True unless something else is given.", equals=100),
            *mistakes(5, 5),
        ),
    )
    yield Case(
        "a module that no memory holds",
        args=(3 * 10**8, 8),
        expected=36 * 10**16 + 12 * 10**8,
        mistakes=(TOO_LARGE_TO_BUILD,),
    )
    yield whole(6, 2)
    yield Case(
        "seven channels, two heads: a ValueError",
        args=(7, 2),
        call=lambda answer, width, heads: refusal(answer, width, heads),
        judge=is_refused,
        mistakes=refused(
            "There is no such module: two heads cannot share seven channels out. Raise "
            "a `ValueError`."
        ),
    )


# Ablation


class _Attention(nn.Module):
    """Multi-head attention in GPT-2's layout, from torch's parts.

    It calls its layers, so that a hook or another layer in their place takes effect.
    """

    def __init__(self, heads: int, state: dict[str, Tensor]) -> None:
        super().__init__()
        width = state["projection.weight"].shape[0]
        options = {"bias": "qkv.bias" in state, "dtype": torch.float64}
        self.heads = heads
        self.context = 16
        self.dropout = 0.0
        self.qkv = nn.Linear(width, 3 * width, **options)
        self.projection = nn.Linear(width, width, **options)
        self.load_state_dict(state)

    def forward(self, x: Tensor) -> Tensor:
        parts = (_cut(part, self.heads) for part in self.qkv(x).chunk(3, dim=-1))
        found = F.scaled_dot_product_attention(*parts, is_causal=True)
        return self.projection(_joined(found))


def _heads_apart(x: Tensor, heads: int, state: dict[str, Tensor]) -> Tensor:
    """What each head adds to the output: (B, T, C) -> (H, B, T, C), without the bias.

    Torch computes it: in turn all columns of the projection but one head's are zero.
    """
    width = x.shape[-1]
    found = []
    for columns in torch.arange(width).chunk(heads):
        weight = torch.zeros(width, width, dtype=torch.float64)
        weight[:, columns] = state["projection.weight"][:, columns]
        alone = {**state, "projection.weight": weight}
        alone.pop("projection.bias", None)
        if "qkv.bias" not in state:
            found.append(_torchs(x, heads, alone))
        else:
            zero = torch.zeros(width, dtype=torch.float64)
            found.append(_torchs(x, heads, {**alone, "projection.bias": zero}))
    return torch.stack(found)


def _silenced(
    heads: int, state: dict[str, Tensor]
) -> Callable[[Callable, Tensor, int], Tensor]:
    """Let the answer silence a head, and run what it returns."""

    def silenced(answer: Callable, x: Tensor, head: int) -> Tensor:
        attention = _Attention(heads, state)
        before = attention(x).detach()
        quiet = answer(attention, head)
        if not torch.equal(attention(x), before):
            raise Complaint(
                "Your code silences the head in the module that it was given, which "
                "the caller still needs. Work on a copy: `copy.deepcopy(attention)`."
            )
        if quiet is None:
            return None
        if not isinstance(quiet, nn.Module):
            raise Complaint(
                f"Return the changed module, as your code returned a "
                f"`{type(quiet).__name__}`."
            )
        return quiet(x).detach()

    return silenced


def without_head() -> Iterator[Case]:
    for title, heads, width, head, bias in (
        ("the first of two heads of three channels", 2, 6, 0, True),
        ("the second of five heads of two channels", 5, 10, 1, True),
        ("the last of three heads, no biases", 3, 6, 2, False),
        ("the only head there is", 1, 4, 0, True),
    ):
        x, state = _random(2, 4, width, seed=7), _state(width, bias, seed=11)
        yield Case(
            title,
            args=(x, head),
            call=_silenced(heads, state),
            expected=_without(x, heads, head, state),
            mistakes=_silencing_mistakes(x, heads, head, state),
        )
    x, state = _random(1, 3, 6), _state(6)
    for title, head, why in (
        (
            "the fourth of three heads: a ValueError",
            3,
            "A slice beyond the end is empty and changes nothing",
        ),
        (
            "head -1: a ValueError",
            -1,
            "Heads are counted from 0, and the slice from -1 * D to 0 * D is empty",
        ),
    ):
        yield Case(
            title,
            args=(x, head),
            call=lambda answer, x, head: refusal(_silenced(3, state), answer, x, head),
            judge=is_refused,
            mistakes=refused(
                f"There is no such head, yet your code returned something. {why}: "
                "raise a `ValueError`."
            ),
        )


def _without(x: Tensor, heads: int, head: int, state: dict[str, Tensor]) -> Tensor:
    """What the other heads add up to, and the bias."""
    apart = _heads_apart(x, heads, state)
    apart[head] = 0.0
    return apart.sum(dim=0) + state.get("projection.bias", 0.0)


def _silencing_mistakes(
    x: Tensor, heads: int, head: int, state: dict[str, Tensor]
) -> tuple[Mistake, ...]:
    width = x.shape[-1]
    head_width = width // heads
    own = torch.arange(head * head_width, (head + 1) * head_width)

    def changed(name: str, *index: Any) -> dict[str, Tensor]:
        values = state[name].clone()
        values[index] = 0.0
        return {**state, name: values}

    everything = slice(None)
    rows = changed("projection.weight", own)
    if "projection.bias" in state:
        rows_and_bias = {**rows, **{k: v.clone() for k, v in state.items() if "b" in k}}
        rows_and_bias["projection.weight"] = rows["projection.weight"]
        rows_and_bias["projection.bias"][own] = 0.0
    else:
        rows_and_bias = rows
    one_by_one = torch.arange(head, width, heads)
    mistakes = [
        (
            "The head is still heard: the output is the same as before.",
            _torchs(x, heads, state),
        ),
        (
            "You zeroed *rows* of `projection.weight`. A row makes one output out of "
            "all heads; what comes from this head meets D *columns*: "
            "`weight[:, head * D : (head + 1) * D]`.",
            _torchs(x, heads, rows),
        ),
        (
            "You zeroed *outputs*, that is rows. What comes from this head meets D "
            "*columns* of `projection.weight`; the bias belongs to no head.",
            _torchs(x, heads, rows_and_bias),
        ),
        (
            "Without queries the scores of this head are all equal, so it looks at "
            "everything *evenly*; it is not silent. Zero its columns in the "
            "projection.",
            _torchs(x, heads, changed("qkv.weight", own)),
        ),
        (
            "Without queries or keys this head looks at everything *evenly*; it is not "
            "silent. Zero its columns in the projection.",
            _torchs(x, heads, changed("qkv.weight", own + width)),
        ),
        (
            "The columns are interleaved. A head's D columns lie side by side, from "
            "head * D to (head + 1) * D.",
            _torchs(x, heads, changed("projection.weight", everything, one_by_one)),
        ),
    ]
    if heads > 1:
        columns = torch.arange(head * heads, min((head + 1) * heads, width))
        others = torch.tensor([c for c in range(width) if c not in own.tolist()])
        mistakes += [
            (
                "You silenced all the *other* heads, and kept this one.",
                _torchs(x, heads, changed("projection.weight", everything, others)),
            ),
            (
                "The slice has the number of heads for its width. A head is D = C // H "
                "channels wide: from head * D to (head + 1) * D.",
                _torchs(x, heads, changed("projection.weight", everything, columns)),
            ),
            (
                "Only one column is zero. A head has D = C // H of them, from head * D "
                "to (head + 1) * D.",
                _torchs(x, heads, changed("projection.weight", everything, head)),
            ),
        ]
    if "qkv.bias" in state:
        bias = state["projection.bias"]
        mistakes += [
            (
                "The values of this head still have a bias, which reaches the output. "
                "Zero it, too, or zero the head's columns in the projection.",
                _torchs(x, heads, changed("qkv.weight", own + 2 * width)),
            ),
            (
                "The bias of the projection is gone. It belongs to no head: leave it.",
                _without(x, heads, head, state) - bias,
            ),
        ]
    return tuple(Mistake(hint, equals=value) for hint, value in mistakes)


# Whom a head looks at


def attention_mass() -> Iterator[Case]:
    # Sixteenths: exact in binary, and every row sums to 1.
    weights = torch.tensor(
        [
            [[16, 0, 0, 0], [4, 12, 0, 0], [2, 6, 8, 0], [1, 2, 4, 9]],
            [[16, 0, 0, 0], [8, 8, 0, 0], [10, 2, 4, 0], [5, 8, 3, 0]],
            [[16, 0, 0, 0], [1, 15, 0, 0], [3, 3, 10, 0], [6, 1, 7, 2]],
        ]
    ).unsqueeze(0) / torch.tensor(16.0)  # (1, 3, 4, 4)
    yes, no = True, False
    asking = torch.tensor([[no, yes, yes, yes]])
    sought = torch.tensor([[yes, no, yes, no]])
    per_row = torch.tensor([[4.0, 10, 5], [8, 14, 8], [1, 13, 13]]) / 16  # (H, 3)
    swapped = torch.tensor([[6.0, 8, 0], [2, 4, 0], [3, 10, 0]]) / 16
    exchanged = torch.tensor([[0.0, 14], [0, 6], [0, 13]]) / 16
    largest = torch.tensor([[4.0, 8, 4], [8, 10, 5], [1, 10, 7]]) / 16
    all_tokens = torch.tensor(
        [[16.0, 4, 10, 5], [16, 8, 14, 8], [16, 1, 13, 13]]
    ) / torch.tensor(16.0)  # (H, T), asking or not
    yield Case(
        "three heads, three tokens ask, two are sought",
        args=(weights, asking, sought),
        # Head 0: 4, 2 + 8 and 1 + 4 sixteenths, on average 19/48.
        expected=per_row.mean(dim=1),
        mistakes=(
            Mistake(
                "Rows and columns are swapped: a *row* of weights belongs to the token "
                "that asks, its columns to the tokens it looks at.",
                equals=swapped.mean(dim=1),
            ),
            Mistake(
                "`asking` and `sought` are exchanged: `asking` chooses the rows, "
                "`sought` the columns.",
                equals=exchanged.mean(dim=1),
            ),
            Mistake(
                "You take the largest of the sought weights. They belong together: "
                "*add* them.",
                equals=largest.mean(dim=1),
            ),
            Mistake(
                "`reshape` to (B, T, H) mixes heads and tokens. To bring the tokens "
                "before the heads, swap the axes: `transpose(1, 2)`.",
                equals=all_tokens.reshape(4, 3)[1:].mean(dim=0),
            ),
            Mistake(
                "You average over the sought tokens. Their weights belong together: "
                "*add* them, and average over the tokens that ask.",
                equals=per_row.mean(dim=1) / 2,
            ),
            Mistake(
                "You add over the tokens that ask. Average over them, so that the "
                "result is a share from 0 to 1.",
                equals=per_row.sum(dim=1),
            ),
            Mistake(
                "You divide by all T tokens. Only those that ask count.",
                equals=per_row.sum(dim=1) / 4,
            ),
            Mistake(
                "All tokens ask here. Only the rows where `asking` is True count.",
                equals=torch.tensor([35 / 64, 46 / 64, 43 / 64]),
            ),
            Mistake(
                "Every token counts as sought: rows sum to 1, so this says nothing.",
                equals=torch.ones(3),
            ),
            Mistake(
                "One number for all heads. Keep the heads apart: the result is (H,).",
                when=lambda got: isinstance(got, float) or got.numel() == 1,
            ),
            Mistake(
                "One number for each token that asks. Average over them: (H,).",
                when=lambda got: got.dim() > 1,
            ),
        ),
    )
    both = torch.cat([weights, weights.flip(1)])  # (2, 3, 4, 4)
    ask = torch.tensor([[no, no, yes, yes], [no, yes, no, no]])
    seek = torch.tensor([[yes, yes, no, no], [yes, no, no, yes]])
    # Text 0, tokens 2 and 3: 2 + 6 and 1 + 2 sixteenths in head 0, and so on.
    first = torch.tensor([[8.0, 3.0], [12.0, 13.0], [6.0, 7.0]]) / 16  # (H, 2)
    # Text 1, token 1, its heads in reverse: 1/16, 8/16 and 4/16 on token 0.
    counted = torch.tensor([8 + 3 + 1, 12 + 13 + 8, 6 + 7 + 4]) / 48
    text_by_text = torch.tensor([5.5 + 1, 12.5 + 8, 6.5 + 4]) / 32
    yield Case(
        "two texts with different tokens",
        args=(both, ask, seek),
        expected=counted,
        mistakes=(
            Mistake(
                "You average over each text first, and then over the texts. Every "
                "token that asks counts once, in whichever text it stands.",
                equals=text_by_text,
            ),
            Mistake(
                "The masks of the first text are used for all. Each text has its own "
                "row of `asking` and `sought`.",
                equals=(first.mean(1) + first.flip(0).mean(1)) / 2,
            ),
            Mistake(
                "One result per text. Average over all texts: (H,).",
                when=lambda got: got.dim() > 1,
            ),
        ),
    )
    yield Case(
        "two texts, and nobody asks in the second",
        args=(both, torch.tensor([[no, no, yes, yes], [no] * 4]), seek),
        expected=first.mean(dim=1),
        mistakes=(
            Mistake(
                "Somebody asks here, though not in every text. Refuse only if nobody "
                "asks anywhere: `asking.any()`.",
                raises=(ValueError, AssertionError),
            ),
        ),
    )
    yield Case(
        "two texts, and nothing is sought in the second",
        args=(both, ask, torch.tensor([[yes, yes, no, no], [no] * 4])),
        # The token of the second text looks there with 0.
        expected=first.sum(dim=1) / 3,
        mistakes=(
            Mistake(
                "You leave out the text in which nothing is sought. Its token asks, "
                "too, and looks there with a weight of 0: the average is over all "
                "that ask.",
                equals=first.mean(dim=1),
            ),
        ),
    )
    yield Case(
        "nobody asks: a ValueError",
        args=(weights, torch.zeros_like(asking), sought),
        call=lambda answer, weights, asking, sought: refusal(
            answer, weights, asking, sought
        ),
        judge=is_refused,
        mistakes=refused(
            "Where no token asks there is nothing to average, and 0 / 0 is NaN. Raise "
            "a `ValueError`."
        ),
    )


EXERCISES = (
    Exercise(
        "split_heads",
        difficulty=1,
        minutes=10,
        hints=(
            "Which axis is cut into H pieces of D? Which axes does the cut not touch?",
            "`x.view(B, T, heads, C // heads)` cuts the last axis only. Then the heads "
            "have to move beside the batch: `transpose(1, 2)`.",
            "B, T, C = x.shape\nif C % heads: raise ValueError\n"
            "return x.view(B, T, heads, C // heads).transpose(1, 2)",
        ),
        cases=split_heads,
    ),
    Exercise(
        "merge_heads",
        difficulty=1,
        minutes=8,
        hints=(
            "It is `split_heads` backwards: the last step first.",
            "Swap H and T, so that the channels of one token lie side by side: (B, T, "
            "H, D). Then join the last two axes; `view` will refuse, and `reshape` "
            "will not.",
            "B, H, T, D = x.shape\nreturn x.transpose(1, 2).reshape(B, T, H * D)",
        ),
        cases=merge_heads,
    ),
    Exercise(
        "MultiHeadAttention",
        difficulty=3,
        minutes=25,
        hints=(
            "Write down the shape after each step: x, qkv(x), one of its thirds, after "
            "the split, scores, weights, what the heads found, after the merge.",
            "`self.qkv(x).chunk(3, dim=-1)` gives queries, keys and values, each "
            "(B, T, C). Split each into heads. All that you did for one head works for "
            "(B, H, T, D), too: the last two axes are multiplied, the others wait.",
            "in __init__:\n    if width % heads: raise ValueError\n"
            "    super().__init__()\n"
            "    keep self.heads, self.context, self.dropout\n"
            "    self.qkv = nn.Linear(width, 3 * width, bias=bias)\n"
            "    self.projection = nn.Linear(width, width, bias=bias)\n"
            "in forward:\n    if T > self.context: raise ValueError\n"
            "    q, k, v = the three chunks of self.qkv(x), each split into heads\n"
            "    w = masked_weights(attention_scores(q, k),\n"
            "                       causal_mask(T, device=x.device))\n"
            "    w = F.dropout(w, self.dropout, self.training)\n"
            "    return self.projection(merge_heads(w @ v))",
        ),
        cases=multi_head_attention,
    ),
    Exercise(
        "multi_head_parameters",
        difficulty=1,
        minutes=6,
        hints=(
            "Two linear layers. How many inputs and outputs has each?",
            "A linear layer from n to m has n * m weights and, with a bias, m more.",
            "if width % heads: raise ValueError\n"
            "matrices = width * 3 * width + width * width\n"
            "biases = 3 * width + width, if there are any, else 0\n"
            "return matrices + biases",
        ),
        cases=multi_head_parameters,
    ),
    Exercise(
        "attention_mass",
        difficulty=2,
        minutes=12,
        hints=(
            "One token asks: its row of weights, and in it the columns of the sought "
            "tokens. What do you do with these numbers, and what with the results of "
            "several tokens?",
            "`sought[:, None, None, :]` has the shape (B, 1, 1, T): times the weights, "
            "it keeps the sought columns. Sum over the last axis: (B, H, T).",
            "if not asking.any(): raise ValueError\n"
            "mass = (weights * sought[:, None, None, :]).sum(-1)    # (B, H, T)\n"
            "those_that_ask = mass.transpose(1, 2)[asking]    # (N, H)\n"
            "return their mean over dim 0",
        ),
        cases=attention_mass,
    ),
    Exercise(
        "without_head",
        difficulty=2,
        minutes=15,
        hints=(
            "The last thing that happens to a head is the projection. Which of its "
            "numbers does this head alone meet?",
            "The merged (B, T, C) has this head's channels from head * D to "
            "(head + 1) * D. `projection.weight` is (outputs, inputs): its *columns* "
            "meet them.",
            "if there is no such head (not 0 <= head < heads): raise ValueError\n"
            "quiet = copy.deepcopy(attention)\nD = C // quiet.heads\n"
            "with torch.no_grad():\n"
            "    quiet.projection.weight[:, head * D : (head + 1) * D] = 0\n"
            "return quiet",
        ),
        cases=without_head,
    ),
)
