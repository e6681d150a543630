"""Answers to "Many heads": right in other ways, and plausibly wrong."""

from __future__ import annotations

import copy
import math

import torch
import torch.nn.functional as F
from torch import nn

from tests.answers import right, wrong


def _shared(channels, heads):
    if channels % heads:
        raise ValueError("heads must divide the channels")
    return channels // heads


# Splitting


@right("split_heads")
def splits_with_view_and_transpose(x, heads):
    B, T, C = x.shape
    if C % heads != 0:
        raise ValueError(f"{C} channels, {heads} heads")
    return x.view(B, T, heads, C // heads).transpose(1, 2)


@right("split_heads")
def splits_by_slices(x, heads):
    D = _shared(x.shape[2], heads)
    return torch.stack([x[:, :, h * D : (h + 1) * D] for h in range(heads)], 1)


@right("split_heads")
def splits_the_transposed(x, heads):
    B, T, C = x.shape
    columns = x.mT.reshape(B, heads, _shared(C, heads), T)
    return columns.transpose(2, 3).contiguous()


@right("split_heads")
def splits_with_unfold(x, heads):
    D = _shared(x.size(-1), heads)
    return x.unfold(-1, D, D).permute(0, 2, 1, 3)


@wrong("split_heads", says="channels of other tokens")
def splits_with_one_view(x, heads):
    B, T, C = x.shape
    return x.reshape(B, heads, T, C // heads)


@wrong("split_heads", says="interleaved")
def deals_channels_like_cards(x, heads):
    B, T, C = x.shape
    return x.reshape(B, T, C // heads, heads).permute(0, 3, 1, 2)


@wrong("split_heads", says="behind the tokens")
def forgets_to_swap(x, heads):
    B, T, C = x.shape
    return x.reshape(B, T, heads, C // heads)


@wrong("split_heads", says="took it for the width")
def takes_heads_for_the_width(x, heads):
    B, T, C = x.shape
    return x.reshape(B, T, C // heads, heads).transpose(1, 2)


@wrong("split_heads", says="(B, H, D, T)")
def swaps_the_last_two(x, heads):
    B, T, C = x.shape
    return x.reshape(B, T, heads, C // heads).permute(0, 2, 3, 1)


@wrong("split_heads", says="The heads come first")
def puts_heads_first(x, heads):
    return torch.stack(x.chunk(heads, dim=-1))


@wrong("split_heads", says="one tensor of four axes")
def returns_a_list(x, heads):
    return list(x.chunk(heads, dim=-1))


@wrong("split_heads", says="with `//`")
def divides_with_a_fraction(x, heads):
    B, T, C = x.shape
    return x.view(B, T, heads, C / heads).transpose(1, 2)


@wrong("split_heads", says="some channels are lost")
def drops_what_does_not_fit(x, heads):
    B, T, C = x.shape
    D = C // heads
    return x[:, :, : heads * D].reshape(B, T, heads, D).transpose(1, 2)


@wrong("split_heads", says="its size is 1")
def leaves_one_head_out(x, heads):
    if heads == 1:
        return x
    B, T, C = x.shape
    return x.reshape(B, T, heads, C // heads).transpose(1, 2)


@wrong("split_heads", says="do not name the cause")
def lets_view_complain(x, heads):
    B, T, C = x.shape
    return x.view(B, T, heads, C // heads).transpose(1, 2)


@wrong("split_heads", says="`python -O`")
def asserts_the_split(x, heads):
    B, T, C = x.shape
    assert C % heads == 0
    return x.view(B, T, heads, C // heads).transpose(1, 2)


@wrong("split_heads", says="there are fewer heads")
def trusts_chunk(x, heads):
    return torch.stack(x.chunk(heads, dim=-1), dim=1)


# Merging


@right("merge_heads")
def merges_with_reshape(x):
    B, H, T, D = x.shape
    return x.transpose(1, 2).reshape(B, T, H * D)


@right("merge_heads")
def merges_by_concatenation(x):
    return torch.cat([x[:, h] for h in range(x.shape[1])], dim=2)


@right("merge_heads")
def merges_contiguously(x):
    B, H, T, D = x.size()
    return x.permute(0, 2, 1, 3).contiguous().view(B, T, -1)


@wrong("merge_heads", says="were not moved back")
def merges_without_swapping(x):
    B, H, T, D = x.shape
    return x.reshape(B, T, H * D)


@wrong("merge_heads", says="`reshape`, or `.contiguous()`")
def merges_with_view(x):
    B, H, T, D = x.shape
    return x.transpose(1, 2).view(B, T, H * D)


@wrong("merge_heads", says="interleaved")
def merges_one_of_each_in_turn(x):
    B, H, T, D = x.shape
    return x.permute(0, 2, 3, 1).reshape(B, T, H * D)


@wrong("merge_heads", says="not joined yet")
def swaps_and_stops(x):
    return x.transpose(1, 2)


@wrong("merge_heads", says="added up")
def adds_the_heads(x):
    return x.sum(dim=1)


@wrong("merge_heads", says="in *time*")
def lines_up_in_time(x):
    return x.flatten(1, 2)


@wrong("merge_heads", says="A token is a row")
def merges_as_columns(x):
    return x.transpose(2, 3).flatten(1, 2)


@wrong("merge_heads", says="must stay")
def squeezes(x):
    return x.transpose(1, 2).flatten(2).squeeze()


# Multi-head attention


class _Layers(nn.Module):
    """What most answers below have in common."""

    def __init__(self, width, heads, context, dropout=0.0, bias=True):
        super().__init__()
        if width % heads:
            raise ValueError("heads must divide the width")
        self.heads, self.context, self.p = heads, context, dropout
        self.qkv = nn.Linear(width, 3 * width, bias=bias)
        self.projection = nn.Linear(width, width, bias=bias)

    def parts(self, x):
        return self.qkv(x).chunk(3, dim=-1)

    def split(self, x):
        B, T, C = x.shape
        return x.view(B, T, self.heads, C // self.heads).transpose(1, 2)

    def merge(self, x):
        return x.transpose(1, 2).flatten(2)

    def scores(self, q, k):
        return q @ k.mT / math.sqrt(q.shape[-1])

    def seen(self, T, device):
        return torch.ones(T, T, dtype=torch.bool, device=device).tril()

    def weigh(self, scores, seen):
        return scores.masked_fill(~seen, -torch.inf).softmax(-1)

    def drop(self, weights):
        return F.dropout(weights, self.p, self.training)

    def finish(self, merged):
        return self.projection(merged)

    def forward(self, x):
        T = x.shape[1]
        if T > self.context:
            raise ValueError("too long")
        q, k, v = (self.split(part) for part in self.parts(x))
        weights = self.weigh(self.scores(q, k), self.seen(T, x.device))
        return self.finish(self.merge(self.drop(weights) @ v))


@right("MultiHeadAttention")
class StepByStep(_Layers):
    pass


@right("MultiHeadAttention")
class WithAStoredMask(nn.Module):
    """As nanoGPT has it: the mask of the whole context is a buffer of the module."""

    def __init__(self, width, heads, context, dropout=0.0, bias=True):
        super().__init__()
        if width % heads:
            raise ValueError("n_embd must be a multiple of n_head")
        self.qkv = nn.Linear(width, 3 * width, bias=bias)
        self.projection = nn.Linear(width, width, bias=bias)
        self.attn_dropout = nn.Dropout(dropout)
        mask = torch.tril(torch.ones(context, context))
        self.register_buffer("mask", mask.view(1, 1, context, context))
        self.heads, self.n_embd = heads, width

    def forward(self, x):
        B, T, C = x.size()
        if self.mask.size(-1) < T:
            raise ValueError("block size exhausted")
        q, k, v = self.qkv(x).split(self.n_embd, dim=2)
        k = k.view(B, T, self.heads, C // self.heads).transpose(1, 2)
        q = q.view(B, T, self.heads, C // self.heads).transpose(1, 2)
        v = v.view(B, T, self.heads, C // self.heads).transpose(1, 2)
        att = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.size(-1)))
        att = att.masked_fill(self.mask[:, :, :T, :T] == 0, float("-inf"))
        att = self.attn_dropout(F.softmax(att, dim=-1))
        y = (att @ v).transpose(1, 2).contiguous().view(B, T, C)
        return self.projection(y)


@right("MultiHeadAttention")
class OneHeadAfterTheOther(_Layers):
    def forward(self, x):
        T, C = x.shape[1:]
        if T > self.context:
            raise ValueError("too long")
        D = C // self.heads
        q, k, v = self.parts(x)
        found = []
        for h in range(self.heads):
            own = slice(h * D, (h + 1) * D)
            scores = self.scores(q[..., own], k[..., own])
            weights = self.drop(self.weigh(scores, self.seen(T, x.device)))
            found.append(weights @ v[..., own])
        return self.projection(torch.cat(found, dim=-1))


@right("MultiHeadAttention")
class WithTorchsKernel(_Layers):
    def forward(self, x):
        if x.shape[1] > self.context:
            raise ValueError("too long")
        q, k, v = map(self.split, self.parts(x))
        p = self.p if self.training else 0.0
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=p)
        return self.projection(self.merge(y))


@right("MultiHeadAttention")
class WithEinsum(_Layers):
    def forward(self, x):
        B, T, C = x.shape
        if T > self.context:
            raise ValueError("too long")
        qkv = self.qkv(x).view(B, T, 3, self.heads, C // self.heads)
        q, k, v = qkv.unbind(2)
        scores = torch.einsum("bthd,bshd->bhts", q, k) / (C // self.heads) ** 0.5
        weights = self.drop(self.weigh(scores, self.seen(T, x.device)))
        return self.projection(torch.einsum("bhts,bshd->bthd", weights, v).flatten(2))


@wrong("MultiHeadAttention", says="The mask is missing")
class SeesEverything(_Layers):
    def weigh(self, scores, seen):
        return scores.softmax(-1)


@wrong("MultiHeadAttention", says="upside down")
class SeesTheFuture(_Layers):
    def seen(self, T, device):
        return torch.ones(T, T, dtype=torch.bool, device=device).triu()


@wrong("MultiHeadAttention", says="does not see itself")
class SeesOnlyBefore(_Layers):
    def weigh(self, scores, seen):
        return super().weigh(scores, seen.tril(-1)).nan_to_num(0.0)


@wrong("MultiHeadAttention", says="the mask hides the diagonal")
class SeesNothingAtFirst(_Layers):
    def seen(self, T, device):
        return super().seen(T, device).tril(-1)


@wrong("MultiHeadAttention", says="it takes `~mask`")
class FillsWhatIsSeen(_Layers):
    def weigh(self, scores, seen):
        return scores.masked_fill(seen, -torch.inf).softmax(-1)


@wrong("MultiHeadAttention", says="takes your mask as it is")
class InvertsTheMaskForTorch(_Layers):
    def forward(self, x):
        T = x.shape[1]
        if T > self.context:
            raise ValueError("too long")
        q, k, v = map(self.split, self.parts(x))
        mask = ~self.seen(T, x.device)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.projection(self.merge(y))


@wrong("MultiHeadAttention", says="a score like any other")
class FillsWithZero(_Layers):
    def weigh(self, scores, seen):
        return scores.masked_fill(~seen, 0).softmax(-1)


@wrong("MultiHeadAttention", says="goes over the heads")
class NormalisesHeads(_Layers):
    def weigh(self, scores, seen):
        return scores.masked_fill(~seen, -torch.inf).softmax(1)


@wrong("MultiHeadAttention", says="goes over the heads")
class NormalisesHeadsOfLargeNumbers(_Layers):
    def weigh(self, scores, seen):
        return scores.masked_fill(~seen, -1e9).softmax(1)


@wrong("MultiHeadAttention", says="comes after the softmax")
class MasksAfterTheSoftmax(_Layers):
    def weigh(self, scores, seen):
        return scores.softmax(-1) * seen


@wrong("MultiHeadAttention", says="The last step is missing")
class ForgetsTheProjection(_Layers):
    def finish(self, merged):
        return merged


@wrong("MultiHeadAttention", says="root of the full width")
class ScalesByTheFullWidth(_Layers):
    def scores(self, q, k):
        return q @ k.mT / math.sqrt(q.shape[-1] * self.heads)


@wrong("MultiHeadAttention", says="not scaled")
class ForgetsToScale(_Layers):
    def scores(self, q, k):
        return q @ k.mT


@wrong("MultiHeadAttention", says="Divide by its square root")
class ScalesByTheWidthItself(_Layers):
    def scores(self, q, k):
        return q @ k.mT / q.shape[-1]


@wrong("MultiHeadAttention", says="down the columns")
class NormalisesColumns(_Layers):
    def weigh(self, scores, seen):
        return scores.masked_fill(~seen, -torch.inf).softmax(-2)


@wrong("MultiHeadAttention", says="`view(B, H, T, D)` mixes tokens and heads")
class SplitsWithOneView(_Layers):
    def split(self, x):
        B, T, C = x.shape
        return x.reshape(B, self.heads, T, C // self.heads)


@wrong("MultiHeadAttention", says="so every shape fits")
class ViewsThereAndBack(SplitsWithOneView):
    def merge(self, x):
        B, H, T, D = x.shape
        return x.reshape(B, T, H * D)


@wrong("MultiHeadAttention", says="The heads are interleaved")
class InterleavesHeads(_Layers):
    def split(self, x):
        B, T, C = x.shape
        return x.reshape(B, T, C // self.heads, self.heads).permute(0, 3, 1, 2)


@wrong("MultiHeadAttention", says="forgot to swap the axes back")
class MergesWithoutSwapping(_Layers):
    def merge(self, x):
        B, H, T, D = x.shape
        return x.reshape(B, T, H * D)


@wrong("MultiHeadAttention", says="`view` copies nothing")
class MergesWithView(_Layers):
    def merge(self, x):
        B, H, T, D = x.shape
        return x.transpose(1, 2).view(B, T, H * D)


@wrong("MultiHeadAttention", says="cut per head")
class CutsPerHead(_Layers):
    def parts(self, x):
        B, T, C = x.shape
        qkv = self.qkv(x).view(B, T, self.heads, 3, C // self.heads)
        return (part.flatten(2) for part in qkv.unbind(3))


@wrong("MultiHeadAttention", says="are mixed up")
class TakesKeysFirst(_Layers):
    def parts(self, x):
        k, q, v = self.qkv(x).chunk(3, dim=-1)
        return q, k, v


@wrong("MultiHeadAttention", says="are mixed up")
class TakesValuesFirst(_Layers):
    def parts(self, x):
        v, k, q = self.qkv(x).chunk(3, dim=-1)
        return q, k, v


@wrong("MultiHeadAttention", says="input is added")
class AddsTheInput(_Layers):
    def forward(self, x):
        return x + super().forward(x)


@wrong("MultiHeadAttention", says="mask[:T, :T]")
class KeepsTheWholeMask(_Layers):
    def seen(self, T, device):
        return super().seen(self.context, device)


@wrong("MultiHeadAttention", says="no parameter `qkv.weight`")
class HasThreeLayers(_Layers):
    def __init__(self, width, heads, context, dropout=0.0, bias=True):
        super().__init__(width, heads, context, dropout, bias)
        del self.qkv
        self.query = nn.Linear(width, width, bias=bias)
        self.key = nn.Linear(width, width, bias=bias)
        self.value = nn.Linear(width, width, bias=bias)

    def parts(self, x):
        return self.query(x), self.key(x), self.value(x)


@wrong("MultiHeadAttention", says="pass it on")
class AlwaysHasABias(_Layers):
    def __init__(self, width, heads, context, dropout=0.0, bias=True):
        super().__init__(width, heads, context, dropout)


@wrong("MultiHeadAttention", says="more tokens than the context")
class HasNoLimit(_Layers):
    def __init__(self, width, heads, context, dropout=0.0, bias=True):
        super().__init__(width, heads, 10**9, dropout, bias)


@wrong("MultiHeadAttention", says="*more* than `context`")
class HasNoRoomForTheLast(_Layers):
    def forward(self, x):
        if x.shape[1] >= self.context:
            raise ValueError("too long")
        return super().forward(x)


@wrong("MultiHeadAttention", says="`python -O`")
class AssertsTheContext(_Layers):
    def forward(self, x):
        assert x.shape[1] <= self.context
        return super().forward(x)


@wrong("MultiHeadAttention", says="do not name the cause")
class LetsTheMaskComplain(HasNoLimit):
    """A stored mask is too small for a longer text, and torch says so."""

    def __init__(self, width, heads, context, dropout=0.0, bias=True):
        super().__init__(width, heads, context, dropout, bias)
        self.room = context

    def seen(self, T, device):
        return super().seen(self.room, device)[:T, :T]


@wrong("MultiHeadAttention", says="as `self.heads`")
class NamesItNHeads(_Layers):
    def __init__(self, width, heads, context, dropout=0.0, bias=True):
        super().__init__(width, heads, context, dropout, bias)
        del self.heads
        self.n_heads = heads

    def split(self, x):
        B, T, C = x.shape
        return x.view(B, T, self.n_heads, C // self.n_heads).transpose(1, 2)


@wrong("MultiHeadAttention", says="before anybody trains")
class TakesAnyWidth(_Layers):
    def __init__(self, width, heads, context, dropout=0.0, bias=True):
        super().__init__(width, 1, context, dropout, bias)
        self.heads = heads


@wrong("MultiHeadAttention", says="give it `self.training`")
class DropsAlways(_Layers):
    def drop(self, weights):
        return F.dropout(weights, self.p)


@wrong("MultiHeadAttention", says="`dropout` is ignored")
class NeverDrops(_Layers):
    def drop(self, weights):
        return weights


@wrong("MultiHeadAttention", says="divided by 1 - p")
class DropsWithoutRescaling(_Layers):
    def drop(self, weights):
        if not self.training:
            return weights
        return weights * (torch.rand_like(weights) >= self.p)


@wrong("MultiHeadAttention", says="on the *scores*")
class DropsScores(_Layers):
    def drop(self, weights):
        return weights

    def scores(self, q, k):
        return F.dropout(super().scores(q, k), self.p, self.training)


@wrong("MultiHeadAttention", says="0 times -inf is NaN")
class DropsMaskedScores(_Layers):
    def drop(self, weights):
        return weights

    def weigh(self, scores, seen):
        hidden = scores.masked_fill(~seen, -torch.inf)
        return F.dropout(hidden, self.p, self.training).softmax(-1)


@wrong("MultiHeadAttention", says="hits something else")
class DropsTheOutput(_Layers):
    def drop(self, weights):
        return weights

    def finish(self, merged):
        return F.dropout(self.projection(merged), self.p, self.training)


@wrong("MultiHeadAttention", says="device=x.device")
class MakesTheMaskAnywhere(_Layers):
    def seen(self, T, device):
        return torch.tril(torch.ones(T, T, dtype=torch.bool))


@wrong("MultiHeadAttention", says="dtype of the input")
class InsistsOnFloat32(_Layers):
    def weigh(self, scores, seen):
        return super().weigh(scores, seen).float()


# Counting


@right("multi_head_parameters")
def counts_layer_by_layer(width, heads, bias=True):
    if width % heads != 0:
        raise ValueError("no such module")
    total = 0
    for inputs, outputs in ((width, 3 * width), (width, width)):
        total += inputs * outputs
        if bias:
            total += outputs
    return total


@right("multi_head_parameters")
def counts_head_by_head(width, heads, bias=True):
    D, rest = divmod(width, heads)
    if rest:
        raise ValueError(f"{rest} channels are left over")
    one = 3 * (width + bias) * D + D * width
    return heads * one + bias * width


@right("multi_head_parameters")
def counts_on_the_meta_device(width, heads, bias=True):
    _shared(width, heads)
    layers = [nn.Linear(width, n * width, bias=bias, device="meta") for n in (3, 1)]
    return sum(p.numel() for layer in layers for p in layer.parameters())


@wrong("multi_head_parameters", says="The biases are missing")
def forgets_the_biases(width, heads, bias=True):
    return 4 * width**2


@wrong("multi_head_parameters", says="One bias is missing")
def forgets_the_bias_of_the_projection(width, heads, bias=True):
    return 4 * width**2 + (3 * width if bias else 0)


@wrong("multi_head_parameters", says="One bias is missing")
def counts_one_bias(width, heads, bias=True):
    return 4 * width**2 + (width if bias else 0)


@wrong("multi_head_parameters", says="`projection` is missing")
def forgets_the_projection(width, heads, bias=True):
    return 3 * width**2 + (3 * width if bias else 0)


@wrong("multi_head_parameters", says="once for each head")
def multiplies_by_the_heads(width, heads, bias=True):
    return heads * (4 * width**2 + (4 * width if bias else 0))


@wrong("multi_head_parameters", says="one head only")
def divides_by_the_heads(width, heads, bias=True):
    D = width // heads
    return 3 * width * D + D * width + (3 * D + width if bias else 0)


@wrong("multi_head_parameters", says="though `bias` is False")
def always_counts_biases(width, heads, bias=True):
    return 4 * width**2 + 4 * width


@wrong("multi_head_parameters", says="`bias` is True unless")
def has_no_bias_by_default(width, heads, bias=False):
    return _shared(width, heads) * heads * 4 * (width + bias)


@wrong("multi_head_parameters", says="no room in any memory")
def builds_it(width, heads, bias=True):
    attention = nn.MultiheadAttention(width, heads, bias=bias)
    return sum(p.numel() for p in attention.parameters())


@wrong("multi_head_parameters", says="Divide with `//`")
def counts_with_a_fraction(width, heads, bias=True):
    _shared(width, heads)
    D = width / heads
    return heads * 4 * width * D + (4 * width if bias else 0)


@wrong("multi_head_parameters", says="no such module")
def counts_any_width(width, heads, bias=True):
    return 4 * width**2 + (4 * width if bias else 0)


# Ablation


def _existing(attention, head):
    if not 0 <= head < attention.heads:
        raise ValueError("no such head")
    return attention.projection.in_features // attention.heads


@right("without_head")
def zeroes_columns(attention, head):
    D = _existing(attention, head)
    quiet = copy.deepcopy(attention)
    with torch.no_grad():
        quiet.projection.weight[:, head * D : (head + 1) * D] = 0
    return quiet


@right("without_head")
def zeroes_the_values_and_their_bias(attention, head):
    D = _existing(attention, head)
    quiet = copy.deepcopy(attention)
    start = 2 * attention.heads * D + head * D
    for parameter in quiet.qkv.parameters():
        parameter.data[start : start + D] = 0.0
    return quiet


@right("without_head")
def multiplies_by_a_mask(attention, head):
    D = _existing(attention, head)
    quiet = copy.deepcopy(attention)
    keep = torch.ones(quiet.heads, dtype=quiet.projection.weight.dtype)
    keep[head] = 0
    masked = quiet.projection.weight * keep.repeat_interleave(D)
    quiet.projection.weight = nn.Parameter(masked.detach())
    return quiet


@right("without_head")
def hooks_the_projection(attention, head):
    D = _existing(attention, head)
    quiet = copy.deepcopy(attention)

    def silence(layer, args):
        merged = args[0].clone()
        merged[..., head * D : (head + 1) * D] = 0
        return (merged,)

    quiet.projection.register_forward_pre_hook(silence)
    return quiet


class _Silence(nn.Module):
    def __init__(self, first, last):
        super().__init__()
        self.own = slice(first, last)

    def forward(self, merged):
        merged = merged.clone()
        merged[..., self.own] = 0
        return merged


@right("without_head")
def puts_a_layer_before_the_projection(attention, head):
    D = _existing(attention, head)
    quiet = copy.deepcopy(attention)
    silence = _Silence(head * D, (head + 1) * D)
    quiet.projection = nn.Sequential(silence, quiet.projection)
    return quiet


@wrong("without_head", says="copy.deepcopy")
def changes_the_original(attention, head):
    D = _existing(attention, head)
    with torch.no_grad():
        attention.projection.weight[:, head * D : (head + 1) * D] = 0
    return attention


@wrong("without_head", says="*rows*")
def zeroes_rows(attention, head):
    D = _existing(attention, head)
    quiet = copy.deepcopy(attention)
    with torch.no_grad():
        quiet.projection.weight[head * D : (head + 1) * D] = 0
    return quiet


@wrong("without_head", says="the bias belongs to no head")
def zeroes_rows_and_their_bias(attention, head):
    D = _existing(attention, head)
    quiet = copy.deepcopy(attention)
    for parameter in quiet.projection.parameters():
        parameter.data[head * D : (head + 1) * D] = 0
    return quiet


@wrong("without_head", says="*evenly*")
def zeroes_the_queries(attention, head):
    D = _existing(attention, head)
    quiet = copy.deepcopy(attention)
    with torch.no_grad():
        quiet.qkv.weight[head * D : (head + 1) * D] = 0
    return quiet


@wrong("without_head", says="have a bias, which reaches the output")
def zeroes_the_values_only(attention, head):
    D = _existing(attention, head)
    quiet = copy.deepcopy(attention)
    start = 2 * attention.projection.in_features + head * D
    with torch.no_grad():
        quiet.qkv.weight[start : start + D] = 0
    return quiet


@wrong("without_head", says="interleaved")
def zeroes_every_so_many_columns(attention, head):
    _existing(attention, head)
    quiet = copy.deepcopy(attention)
    with torch.no_grad():
        quiet.projection.weight[:, head :: attention.heads] = 0
    return quiet


@wrong("without_head", says="*other* heads")
def keeps_this_head_only(attention, head):
    D = _existing(attention, head)
    quiet = copy.deepcopy(attention)
    kept = torch.zeros_like(quiet.projection.weight)
    own = slice(head * D, (head + 1) * D)
    kept[:, own] = quiet.projection.weight.detach()[:, own]
    quiet.projection.weight.data = kept
    return quiet


@wrong("without_head", says="number of heads for its width")
def takes_heads_for_the_width_of_one(attention, head):
    _existing(attention, head)
    quiet = copy.deepcopy(attention)
    H = attention.heads
    with torch.no_grad():
        quiet.projection.weight[:, head * H : (head + 1) * H] = 0
    return quiet


@wrong("without_head", says="Only one column")
def zeroes_one_column(attention, head):
    _existing(attention, head)
    quiet = copy.deepcopy(attention)
    with torch.no_grad():
        quiet.projection.weight[:, head] = 0
    return quiet


@wrong("without_head", says="still heard")
def only_copies(attention, head):
    return copy.deepcopy(attention)


@wrong("without_head", says="It belongs to no head")
def zeroes_the_bias_too(attention, head):
    quiet = zeroes_columns(attention, head)
    if quiet.projection.bias is not None:
        quiet.projection.bias.data.zero_()
    return quiet


@wrong("without_head", says="Return the changed module")
def returns_the_weight(attention, head):
    return zeroes_columns(attention, head).projection.weight


@wrong("without_head", says="A slice beyond the end")
def trusts_the_number(attention, head):
    D = attention.projection.in_features // attention.heads
    quiet = copy.deepcopy(attention)
    with torch.no_grad():
        quiet.projection.weight[:, head * D : (head + 1) * D] = 0
    return quiet


@wrong("without_head", says="from -1 * D to 0 * D is empty")
def looks_at_one_end_only(attention, head):
    if head >= attention.heads:
        raise ValueError("no such head")
    return trusts_the_number(attention, head)


# Whom a head looks at


@right("attention_mass")
def loops_over_tokens(weights, asking, sought):
    if asking.sum() == 0:
        raise ValueError("nobody asks")
    rows = []
    for b, t in asking.nonzero().tolist():
        rows.append(weights[b, :, t][:, sought[b]].sum(dim=1))
    return torch.stack(rows).mean(0)


@right("attention_mass")
def multiplies_everything(weights, asking, sought):
    if not asking.any():
        raise ValueError("nobody asks")
    asking, sought = asking.to(weights.dtype), sought.to(weights.dtype)
    return torch.einsum("bhts,bt,bs->h", weights, asking, sought) / asking.sum()


@right("attention_mass")
def fills_what_is_not_sought(weights, asking, sought):
    if not asking.any():
        raise ValueError("nobody asks")
    kept = weights.masked_fill(~sought[:, None, None], 0.0).sum(-1)
    return torch.stack([head[asking].mean() for head in kept.unbind(1)])


@wrong("attention_mass", says="Rows and columns are swapped")
def swaps_rows_and_columns(weights, asking, sought):
    if not asking.any():
        raise ValueError("nobody asks")
    mass = (weights * sought[:, None, :, None]).sum(dim=-2)
    return mass.transpose(1, 2)[asking].mean(dim=0)


@wrong("attention_mass", says="*add* them")
def averages_over_the_sought(weights, asking, sought):
    rows = [
        weights[b, :, t][:, sought[b]].mean(dim=1) for b, t in asking.nonzero().tolist()
    ]
    return torch.stack(rows).mean(0)


@wrong("attention_mass", says="You add over the tokens that ask")
def adds_over_the_asking(weights, asking, sought):
    both = asking[:, None, :, None] & sought[:, None, None, :]
    return (weights * both).sum(dim=(0, 2, 3))


@wrong("attention_mass", says="You divide by all T tokens")
def divides_by_all_tokens(weights, asking, sought):
    both = asking[:, None, :, None] & sought[:, None, None, :]
    return (weights * both).sum(-1).mean(dim=(0, 2))


@wrong("attention_mass", says="All tokens ask here")
def ignores_who_asks(weights, asking, sought):
    return (weights * sought[:, None, None, :]).sum(-1).mean(dim=(0, 2))


@wrong("attention_mass", says="counts as sought")
def ignores_what_is_sought(weights, asking, sought):
    return weights.sum(-1).transpose(1, 2)[asking].mean(0)


@wrong("attention_mass", says="One number for all heads")
def averages_over_heads(weights, asking, sought):
    return (weights * sought[:, None, None, :]).sum(-1).transpose(1, 2)[asking].mean()


@wrong("attention_mass", says="One number for each token")
def forgets_the_average(weights, asking, sought):
    return (weights * sought[:, None, None, :]).sum(-1).transpose(1, 2)[asking]


@wrong("attention_mass", says="over each text first")
def averages_text_by_text(weights, asking, sought):
    if not asking.any():
        raise ValueError("nobody asks")
    texts = [
        loops_over_tokens(weights[b : b + 1], asking[b : b + 1], sought[b : b + 1])
        for b in range(len(weights))
    ]
    return torch.stack(texts).mean(0)


@wrong("attention_mass", says="masks of the first text")
def looks_at_the_first_masks(weights, asking, sought):
    rows = weights[:, :, asking[0]][..., sought[0]].sum(-1)
    return rows.mean(dim=(0, 2))


@wrong("attention_mass", says="though not in every text")
def wants_somebody_to_ask_in_every_text(weights, asking, sought):
    if not asking.any(dim=1).all():
        raise ValueError("nobody asks")
    return loops_over_tokens(weights, asking, sought)


@wrong("attention_mass", says="in which nothing is sought")
def leaves_out_where_nothing_is_sought(weights, asking, sought):
    return loops_over_tokens(weights, asking & sought.any(1, keepdim=True), sought)


@wrong("attention_mass", says="are exchanged")
def exchanges_the_masks(weights, asking, sought):
    return loops_over_tokens(weights, sought, asking)


@wrong("attention_mass", says="the largest of the sought")
def takes_the_largest(weights, asking, sought):
    largest = (weights * sought[:, None, None, :]).amax(dim=-1)
    return largest.transpose(1, 2)[asking].mean(dim=0)


@wrong("attention_mass", says="mixes heads and tokens")
def reshapes_the_mass(weights, asking, sought):
    mass = (weights * sought[:, None, None, :]).sum(dim=-1)
    B, H, T = mass.shape
    return mass.reshape(B, T, H)[asking].mean(dim=0)


@wrong("attention_mass", says="0 / 0 is NaN")
def averages_nothing(weights, asking, sought):
    mass = (weights * sought[:, None, None, :]).sum(dim=-1)
    return mass.transpose(1, 2)[asking].mean(dim=0)
