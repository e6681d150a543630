"""Answers to the chapter on your own machine: right in other ways, plausibly wrong."""

from __future__ import annotations

import codecs
import math
import re

import torch
import torch.nn.functional as F
from torch import nn

from solutions.gpt_block import GPT, gpt_parameters
from solutions.local_deployment import character_length, quantize
from solutions.multi_head import merge_heads, split_heads
from tests.answers import right, wrong

# The KV cache


@right("cached_attention")
def goes_from_token_to_token(attention, x, past=None):
    batch, new, width = x.shape
    heads = attention.heads
    q, k, v = attention.qkv(x).view(batch, new, 3, heads, -1).permute(2, 0, 3, 1, 4)
    before = 0
    if past is not None:
        before = past[0].size(2)
        k, v = (torch.cat(both, 2) for both in zip(past, (k, v), strict=True))
    found = []
    for t in range(new):
        keys, values = k[:, :, : before + t + 1], v[:, :, : before + t + 1]
        scores = (keys @ q[:, :, t, :, None]).squeeze(-1) * (width / heads) ** -0.5
        found.append(torch.einsum("bhs,bhsd->bhd", scores.softmax(-1), values))
    merged = torch.stack(found, dim=1).flatten(2)
    return attention.projection(merged), (k, v)


@right("cached_attention")
def compares_positions(attention, x, past=None):
    parts = attention.qkv(x).tensor_split(3, dim=2)
    q, k, v = (split_heads(part, attention.heads) for part in parts)
    if past:
        k, v = torch.cat((past[0], k), -2), torch.cat((past[1], v), -2)
    seen = torch.arange(k.shape[2], device=x.device)
    asking = seen[-q.shape[2] :]
    scores = torch.einsum("bhtd,bhsd->bhts", q, k) / math.sqrt(q.shape[-1])
    scores = scores.masked_fill(seen > asking[:, None], float("-inf"))
    weights = torch.exp(scores - scores.amax(-1, keepdim=True))
    found = weights @ v / weights.sum(-1, keepdim=True)
    return attention.projection(merge_heads(found)), (k, v)


@right("cached_attention")
def asks_for_the_past_again(attention, x, past=None):
    q, k, v = (split_heads(p, attention.heads) for p in attention.qkv(x).chunk(3, -1))
    new = x.shape[1]
    if past is not None:
        k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
        q = torch.cat([torch.zeros_like(past[0]), q], 2)
    found = F.scaled_dot_product_attention(q, k, v, is_causal=True)[:, :, -new:]
    return attention.projection(merge_heads(found)), (k, v)


@right("cached_attention")
def adds_the_mask(attention, x, past=None):
    q, k, v = (split_heads(p, attention.heads) for p in attention.qkv(x).chunk(3, -1))
    if past is None:
        past = (k[:, :, :0], v[:, :, :0])
    before = past[0].shape[2]
    k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
    mask = torch.full((q.shape[2], k.shape[2]), -torch.inf, device=x.device).to(x.dtype)
    mask = mask.triu(before + 1)
    found = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return attention.projection(merge_heads(found)), (k, v)


def _parts(attention, x):
    """What most wrong answers share: queries, keys and values (B, H, T, D)."""
    return [split_heads(p, attention.heads) for p in attention.qkv(x).chunk(3, -1)]


def _joined(k, v, past):
    if past is None:
        return k, v
    return torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)


def _ends(attention, q, k, v, diagonal=0, **options):
    """Attend with a mask that may be shifted, and project."""
    new, seen = q.shape[2], k.shape[2]
    mask = torch.ones(new, seen, dtype=torch.bool, device=q.device)
    mask = mask.tril(seen - new + diagonal)
    found = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, **options)
    return attention.projection(merge_heads(found))


def _attended(attention, x, past, attend):
    """An answer that is right but for `attend`."""
    q, k, v = _parts(attention, x)
    k, v = _joined(k, v, past)
    return attention.projection(merge_heads(attend(q, k, v))), (k, v)


@wrong("cached_attention", says="sees what comes after it")
def does_not_mask(attention, x, past=None):
    return _attended(attention, x, past, F.scaled_dot_product_attention)


@wrong("cached_attention", says="begins at the top left")
def is_causal_from_the_top_left(attention, x, past=None):
    return _attended(
        attention,
        x,
        past,
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
    )


@wrong("cached_attention", says="nothing of the past")
def attends_to_the_new_only(attention, x, past=None):
    q, k, v = _parts(attention, x)
    return _ends(attention, q, k, v), _joined(k, v, past)


@wrong("cached_attention", says="and nothing new")
def attends_to_the_past_only(attention, x, past=None):
    q, k, v = _parts(attention, x)
    if past is None:
        return _ends(attention, q, k, v), (k, v)
    found = F.scaled_dot_product_attention(q, *past)
    return attention.projection(merge_heads(found)), _joined(k, v, past)


@wrong("cached_attention", says="one too narrow")
def does_not_see_itself(attention, x, past=None):
    q, k, v = _parts(attention, x)
    k, v = _joined(k, v, past)
    return _ends(attention, q, k, v, diagonal=-1), (k, v)


@wrong("cached_attention", says="one too wide")
def sees_the_next(attention, x, past=None):
    q, k, v = _parts(attention, x)
    k, v = _joined(k, v, past)
    return _ends(attention, q, k, v, diagonal=1), (k, v)


@wrong("cached_attention", says="(T, S + T)")
def masks_the_new_only(attention, x, past=None):
    def attend(q, k, v):
        scores = q @ k.mT / q.shape[-1] ** 0.5
        mask = torch.ones(q.shape[2], q.shape[2], dtype=torch.bool, device=x.device)
        return scores.masked_fill(~mask.tril(), -torch.inf).softmax(-1) @ v

    return _attended(attention, x, past, attend)


@wrong("cached_attention", says="turned round")
def hides_what_may_be_seen(attention, x, past=None):
    def attend(q, k, v):
        mask = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=x.device)
        mask = mask.triu(k.shape[2] - q.shape[2] + 1)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)

    return _attended(attention, x, past, attend)


@wrong("cached_attention", says="exp(0) is 1")
def sets_scores_to_zero(attention, x, past=None):
    def attend(q, k, v):
        scores = q @ k.mT / q.shape[-1] ** 0.5
        return scores.tril(k.shape[2] - q.shape[2]).softmax(-1) @ v

    return _attended(attention, x, past, attend)


@wrong("cached_attention", says="no longer add up to 1")
def masks_the_weights(attention, x, past=None):
    def attend(q, k, v):
        weights = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)
        return weights.tril(k.shape[2] - q.shape[2]) @ v

    return _attended(attention, x, past, attend)


@wrong("cached_attention", says="root of D")
def forgets_the_scale(attention, x, past=None):
    q, k, v = _parts(attention, x)
    k, v = _joined(k, v, past)
    return _ends(attention, q, k, v, scale=1.0), (k, v)


@wrong("cached_attention", says="stands behind the new")
def appends_the_past(attention, x, past=None):
    q, k, v = _parts(attention, x)
    if past is not None:
        k, v = torch.cat([k, past[0]], 2), torch.cat([v, past[1]], 2)
    return _ends(attention, q, k, v), (k, v)


@wrong("cached_attention", says="the pair is (keys, values)")
def returns_values_first(attention, x, past=None):
    q, k, v = _parts(attention, x)
    if past is not None:
        v, k = torch.cat([past[0], v], 2), torch.cat([past[1], k], 2)
    return _ends(attention, q, k, v), (v, k)


@wrong("cached_attention", says="`past[0]` are keys")
def takes_values_for_keys(attention, x, past=None):
    q, k, v = _parts(attention, x)
    if past is not None:
        k, v = torch.cat([past[1], k], 2), torch.cat([past[0], v], 2)
    return _ends(attention, q, k, v), (k, v)


@wrong("cached_attention", says="dim=2")
def joins_the_wrong_axis(attention, x, past=None):
    q, k, v = _parts(attention, x)
    if past is not None:
        k, v = torch.cat([past[0], k], 1), torch.cat([past[1], v], 1)
    return _ends(attention, q, k, v), (k, v)


@wrong("cached_attention", says="Only the new keys")
def returns_the_new_only(attention, x, past=None):
    q, k, v = _parts(attention, x)
    return _ends(attention, q, *_joined(k, v, past)), (k, v)


@wrong("cached_attention", says="Queries need not be kept")
def keeps_queries(attention, x, past=None):
    q, k, v = _parts(attention, x)
    return _ends(attention, q, *_joined(k, v, past)), (q, k, v)


@wrong("cached_attention", says="before they are split")
def keeps_whole_vectors(attention, x, past=None):
    _, k, v = attention.qkv(x).chunk(3, -1)
    q, *new = _parts(attention, x)
    return _ends(attention, q, *_joined(*new, past)), (k, v)


@wrong("cached_attention", says="split the new keys")
def joins_whole_vectors(attention, x, past=None):
    q, k, v = attention.qkv(x).chunk(3, -1)
    k, v = _joined(k, v, past)
    q, k, v = (split_heads(part, attention.heads) for part in (q, k, v))
    return _ends(attention, q, k, v), (k, v)


@wrong("cached_attention", says="there is no past")
def always_expects_a_past(attention, x, past=None):
    q, k, v = _parts(attention, x)
    k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
    return _ends(attention, q, k, v), (k, v)


@wrong("cached_attention", says="`attention.projection` mixes")
def forgets_the_projection(attention, x, past=None):
    q, k, v = _parts(attention, x)
    k, v = _joined(k, v, past)
    mask = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=x.device)
    mask = mask.tril(k.shape[2] - q.shape[2])
    found = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return merge_heads(found), (k, v)


@wrong("cached_attention", says="the heads together first")
def forgets_to_merge(attention, x, past=None):
    q, k, v = _parts(attention, x)
    k, v = _joined(k, v, past)
    found = F.scaled_dot_product_attention(q, k, v, is_causal=past is None)
    return attention.projection(found), (k, v)


@wrong("cached_attention", says="different tokens are mixed")
def merges_by_reshape(attention, x, past=None):
    q, k, v = _parts(attention, x)
    k, v = _joined(k, v, past)
    mask = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=x.device)
    mask = mask.tril(k.shape[2] - q.shape[2])
    found = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return attention.projection(found.reshape(x.shape)), (k, v)


@wrong("cached_attention", says="Return two things")
def returns_the_output_only(attention, x, past=None):
    q, k, v = _parts(attention, x)
    return _ends(attention, q, *_joined(k, v, past))


@wrong("cached_attention", says="Return two things")
def returns_three(attention, x, past=None):
    q, k, v = _parts(attention, x)
    k, v = _joined(k, v, past)
    return _ends(attention, q, k, v), k, v


@wrong("cached_attention", says="are sure to be there")
def asks_for_project(attention, x, past=None):
    q, k, v = attention.project(x)
    k, v = _joined(k, v, past)
    return _ends(attention, q, k, v), (k, v)


@wrong("cached_attention", says="stays on the CPU")
def makes_the_mask_on_the_cpu(attention, x, past=None):
    def attend(q, k, v):
        mask = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool)
        mask = mask.tril(k.shape[2] - q.shape[2])
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)

    return _attended(attention, x, past, attend)


@wrong("cached_attention", says="changes its input `keys`")
def writes_into_the_past(attention, x, past=None):
    q, k, v = _parts(attention, x)
    k, v = _joined(k, v, past)
    out = _ends(attention, q, k, v)
    if past is not None:
        past[0].zero_()
    return out, (k, v)


# Int8


@right("quantize")
def computes_in_float64(weight):
    wide = weight.detach().double()
    largest = torch.amax(torch.abs(wide), 1, keepdim=True)
    scale = torch.where(largest > 0, torch.div(largest, 127), 1)
    steps = torch.clamp(torch.round(torch.div(wide, scale)), -127, 127)
    return steps.type(torch.int8), scale.to(weight.dtype)


@right("quantize")
def goes_row_by_row(weight):
    rows, scales = [], []
    for row in weight:
        scale = max(row.max(), -row.min()) / 127
        if scale == 0:
            scale = torch.ones_like(scale)
        rows.append(torch.floor(row / scale + 0.5).clamp(-127, 127).to(torch.int8))
        scales.append(scale)
    return torch.stack(rows), torch.stack(scales)[:, None]


@right("quantize")
def multiplies_by_the_inverse(weight):
    largest = weight.abs().max(dim=1).values.clamp(min=1e-30).unsqueeze(1)
    steps = (weight * (127 / largest)).round_().clamp_(-127, 127)
    return steps.char(), largest / 127


def _scaled(weight, scale):
    return (weight / scale).round().clamp(-127, 127).to(torch.int8), scale


def _largest(weight):
    return weight.abs().amax(1, keepdim=True)


def _safe(weight):
    scale = _largest(weight) / 127
    return scale.masked_fill(scale == 0, 1)


@wrong("quantize", says="one scale for the whole matrix")
def one_scale(weight):
    return _scaled(weight, weight.abs().max() / 127)


@wrong("quantize", says="one scale for the whole matrix")
def one_scale_repeated(weight):
    return _scaled(weight, (weight.abs().max() / 127).expand(len(weight), 1))


@wrong("quantize", says="a scale for each column")
def scales_columns(weight):
    return _scaled(weight, weight.abs().amax(0, keepdim=True) / 127)


@wrong("quantize", says="`keepdim=True`")
def loses_the_axis(weight):
    steps, scale = _scaled(weight, _safe(weight))
    return steps, scale.flatten()


@wrong("quantize", says="`keepdim=True`")
def divides_by_a_row(weight):
    scale = weight.abs().amax(1) / 127
    return (weight / scale).round().to(torch.int8), scale


@wrong("quantize", says="`.values`")
def forgets_the_values(weight):
    return _scaled(weight, weight.abs().max(dim=1, keepdim=True) / 127)


@wrong("quantize", says="wrap around")
def divides_by_128(weight):
    scale = _largest(weight) / 128
    return (weight / scale).round().to(torch.int8), scale


@wrong("quantize", says="not by all 255")
def divides_by_255(weight):
    return _scaled(weight, _largest(weight) / 255)


@wrong("quantize", says="from the smallest to the largest")
def takes_the_span(weight):
    span = weight.amax(1, keepdim=True) - weight.amin(1, keepdim=True)
    return _scaled(weight, span / 255)


@wrong("quantize", says="also if it is negative")
def forgets_the_sign(weight):
    return _scaled(weight, weight.amax(1, keepdim=True) / 127)


@wrong("quantize", says="upside down")
def returns_the_inverse(weight):
    inverse = 127 / _largest(weight)
    return (weight * inverse).round().to(torch.int8), inverse


@wrong("quantize", says="divide the largest number by 127")
def scales_to_one(weight):
    scale = _largest(weight)
    return (weight / scale * 127).round().to(torch.int8), scale


@wrong("quantize", says="are cut off")
def cuts_off(weight):
    scale = _safe(weight)
    return (weight / scale).to(torch.int8), scale


@wrong("quantize", says="rounded down")
def rounds_down(weight):
    scale = _safe(weight)
    return (weight / scale).floor().to(torch.int8), scale


@wrong("quantize", says="Divide: a scale")
def multiplies(weight):
    scale = _safe(weight)
    return (weight * scale).round().clamp(-127, 127).to(torch.int8), scale


@wrong("quantize", says="before it is divided")
def rounds_too_early(weight):
    return weight.round().to(torch.int8), _safe(weight)


@wrong("quantize", says="are not int8")
def stays_float(weight):
    scale = _safe(weight)
    return (weight / scale).round(), scale


@wrong("quantize", says="are not int8")
def takes_unsigned_bytes(weight):
    scale = _safe(weight)
    return ((weight / scale).round() + 127).to(torch.uint8), scale


@wrong("quantize", says="exchanged")
def returns_the_scale_first(weight):
    return _scaled(weight, _safe(weight))[::-1]


@wrong("quantize", says="Return two things")
def returns_the_numbers_only(weight):
    return _scaled(weight, _safe(weight))[0]


@wrong("quantize", says="lower limit")
def limits_the_scale(weight):
    return _scaled(weight, (_largest(weight) / 127).clamp(min=1e-5))


@wrong("quantize", says="0 / 0")
def divides_by_zero(weight):
    return _scaled(weight, _largest(weight) / 127)


@wrong("quantize", says="come out as 128")
def does_not_clamp(weight):
    scale = _safe(weight)
    return (weight / scale).round().to(torch.int8), scale


@wrong("quantize", says="has the type of the weight")
def always_float32(weight):
    scale = _safe(weight.float())
    return _scaled(weight.float(), scale)


@wrong("quantize", says="changes its input `weight`")
def changes_the_weight(weight):
    scale = _safe(weight)
    weight /= scale
    return weight.round().clamp(-127, 127).to(torch.int8), scale


@wrong("quantize", says="stays on the CPU")
def makes_scales_on_the_cpu(weight):
    scale = torch.where(_largest(weight) == 0, torch.ones(len(weight), 1), 127)
    return _scaled(weight, _largest(weight) / scale)


# The layer


@right("QuantizedLinear")
class ScalesTheOutputs(nn.Module):
    def __init__(self, linear):
        super().__init__()
        weight, scale = quantize(linear.weight.detach())
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale)
        has_bias = linear.bias is not None
        self.register_buffer("bias", linear.bias.data if has_bias else None)

    def forward(self, x):
        y = (x @ self.weight.to(x.dtype).T) * self.scale.squeeze(1)
        return y if self.bias is None else y + self.bias


@right("QuantizedLinear")
class GivesZerosForNoBias(nn.Module):
    def __init__(self, linear):
        super().__init__()
        bias = linear.bias
        if bias is None:
            bias = linear.weight.new_zeros(linear.out_features)
        kept = dict(zip(("weight", "scale"), quantize(linear.weight), strict=True))
        for name, value in {**kept, "bias": bias}.items():
            self.register_buffer(name, value.detach())

    def forward(self, x):
        matrix = torch.mul(self.weight, self.scale).to(x)
        return torch.einsum("oi,...i->...o", matrix, x).add(self.bias)


@right("QuantizedLinear")
class IsALinearLayer(nn.Linear):
    def __init__(self, linear):
        super().__init__(linear.in_features, linear.out_features, bias=False)
        del self.weight, self.bias
        with torch.no_grad():
            weight, scale = quantize(linear.weight)
            bias = None if linear.bias is None else linear.bias.clone()
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale)
        self.register_buffer("bias", bias)

    def forward(self, x):
        return F.linear(x, self.scale * self.weight, self.bias)


class _Layer(nn.Module):
    """What most wrong answers share."""

    def __init__(self, linear):
        super().__init__()
        weight, scale = quantize(linear.weight)
        bias = None if linear.bias is None else linear.bias.detach().clone()
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale)
        self.register_buffer("bias", bias)

    def forward(self, x):
        return F.linear(x, self.weight * self.scale, self.bias)


@wrong("QuantizedLinear", says="without their scale")
class ForgetsTheScale(_Layer):
    def forward(self, x):
        return F.linear(x, self.weight.to(x.dtype), self.bias)


@wrong("QuantizedLinear", says="matrix of another type")
class MultipliesInt8(_Layer):
    def forward(self, x):
        return F.linear(x, self.weight, self.bias) * self.scale.T


@wrong("QuantizedLinear", says="here multiply")
class DividesByTheScale(_Layer):
    def forward(self, x):
        return F.linear(x, self.weight / self.scale, self.bias)


@wrong("QuantizedLinear", says="that is, to the outputs")
class ScalesTheInputs(_Layer):
    def forward(self, x):
        return F.linear(x, self.weight * self.scale.T, self.bias)


@wrong("QuantizedLinear", says="any number of leading axes")
class AddsAnAxis(_Layer):
    def forward(self, x):
        y = F.linear(x, self.weight.to(x.dtype)) * self.scale.T
        return y if self.bias is None else y + self.bias


@wrong("QuantizedLinear", says="*transposed*")
class ForgetsToTranspose(_Layer):
    def forward(self, x):
        return x @ (self.weight * self.scale) + self.bias


@wrong("QuantizedLinear", says="The bias is lost")
class LosesTheBias(_Layer):
    def forward(self, x):
        return F.linear(x, self.weight * self.scale)


@wrong("QuantizedLinear", says="The bias is multiplied")
class ScalesTheBias(_Layer):
    def forward(self, x):
        return F.linear(x, self.weight.to(x.dtype), self.bias) * self.scale.T


@wrong("QuantizedLinear", says="float matrix")
class KeepsTheLayer(nn.Module):
    def __init__(self, linear):
        super().__init__()
        self.linear = linear
        self.weight, self.scale = quantize(linear.weight)

    def forward(self, x):
        return F.linear(x, self.weight * self.scale, self.linear.bias)


@wrong("QuantizedLinear", says="still computes with the float matrix")
class ComputesAsBefore(_Layer):
    def __init__(self, linear):
        super().__init__(linear)
        self.linear = linear

    def forward(self, x):
        return self.linear(x)


@wrong("QuantizedLinear", says="is a plain attribute")
class KeepsPlainAttributes(nn.Module):
    def __init__(self, linear):
        super().__init__()
        self.weight, self.scale = quantize(linear.weight)
        self.bias = None if linear.bias is None else linear.bias.detach()

    def forward(self, x):
        return F.linear(x, self.weight * self.scale, self.bias)


@wrong("QuantizedLinear", says="int8 has none")
class MakesParameters(nn.Module):
    def __init__(self, linear):
        super().__init__()
        weight, scale = quantize(linear.weight)
        self.weight, self.scale = nn.Parameter(weight), nn.Parameter(scale)


@wrong("QuantizedLinear", says="an optimizer would train it")
class LearnsTheScale(_Layer):
    def __init__(self, linear):
        super().__init__(linear)
        scale = self.scale
        del self.scale
        self.scale = nn.Parameter(scale)


@wrong("QuantizedLinear", says="an optimizer would train it")
class KeepsTheBiasAsParameter(nn.Module):
    def __init__(self, linear):
        super().__init__()
        weight, scale = quantize(linear.weight)
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale)
        self.bias = linear.bias

    def forward(self, x):
        return F.linear(x, self.weight * self.scale, self.bias)


@wrong("QuantizedLinear", says="`.detach()`")
class LeavesTheBiasAttached(_Layer):
    def __init__(self, linear):
        super().__init__(linear)
        if linear.bias is not None:
            self.register_buffer("bias", linear.bias * 1)


@wrong("QuantizedLinear", says="four bytes for each number")
class KeepsTheMatrix(nn.Module):
    def __init__(self, linear):
        super().__init__()
        weight, scale = quantize(linear.weight)
        self.register_buffer("weight", weight * scale)
        bias = None if linear.bias is None else linear.bias.detach()
        self.register_buffer("bias", bias)

    def forward(self, x):
        return F.linear(x, self.weight, self.bias)


@wrong("QuantizedLinear", says="Keep three buffers")
class NamesThemDifferently(nn.Module):
    def __init__(self, linear):
        super().__init__()
        for name, value in zip("ws", quantize(linear.weight), strict=True):
            self.register_buffer(name, value)
        self.register_buffer("b", None if linear.bias is None else linear.bias.data)

    def forward(self, x):
        return F.linear(x, self.w * self.s, self.b)


@wrong("QuantizedLinear", says="matrix that was made before")
class MakesTheMatrixOnce(_Layer):
    def __init__(self, linear):
        super().__init__(linear)
        self.made = [self.weight * self.scale]

    def forward(self, x):
        return F.linear(x, self.made[0], self.bias)


@wrong("QuantizedLinear", says="This layer has no bias")
class AlwaysExpectsABias(nn.Module):
    def __init__(self, linear):
        super().__init__()
        weight, scale = quantize(linear.weight)
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale)
        self.register_buffer("bias", linear.bias.detach())

    def forward(self, x):
        return F.linear(x, self.weight * self.scale, self.bias)


@wrong("QuantizedLinear", says="that you were given has changed")
class ChangesTheLayer(_Layer):
    def __init__(self, linear):
        super().__init__(linear)
        linear.weight.data = self.weight * self.scale


@wrong("QuantizedLinear", says="the type of the scale")
class AlwaysMakesFloat32(_Layer):
    def forward(self, x):
        return F.linear(x, self.weight.float() * self.scale.float(), self.bias)


@wrong("QuantizedLinear", says="super().__init__()")
class ForgetsToBegin(nn.Module):
    def __init__(self, linear):
        weight, scale = quantize(linear.weight)
        self.register_buffer("weight", weight)


# Whole characters


@right("StreamingDecoder")
class AsksPython:
    def __init__(self):
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, chunk):
        return self.decoder.decode(chunk)

    def finish(self):
        return self.decoder.decode(b"", True)


@right("StreamingDecoder")
class LooksWhereDecodingFails:
    def __init__(self):
        self.data = bytearray()

    def push(self, chunk):
        self.data += chunk
        text = ""
        while True:
            try:
                text += self.data.decode()
                self.data.clear()
                return text
            except UnicodeDecodeError as error:
                text += self.data[: error.start].decode()
                if error.reason == "unexpected end of data":
                    del self.data[: error.start]
                    return text
                text += "\N{REPLACEMENT CHARACTER}"
                del self.data[: error.end]

    def finish(self):
        return bytes(self.data).decode("utf-8", "replace")


@right("StreamingDecoder")
class LooksForTheLastFirstByte:
    """Holds what is too short for its first byte, also if it is no UTF-8 anyway."""

    def __init__(self):
        self.held = b""

    def push(self, chunk):
        data = self.held + chunk
        at = len(data) - 1
        while at >= 0 and len(data) - at < 4 and data[at] & 0b11000000 == 0b10000000:
            at -= 1
        if at < 0 or len(data) - at >= character_length(data[at]):
            at = len(data)
        data, self.held = data[:at], data[at:]
        return data.decode("utf-8", "replace")

    def finish(self):
        return self.push(b"\x00")[:-1]


@right("StreamingDecoder")
class TriesToHoldLess:
    def __init__(self):
        self.held = b""

    def push(self, chunk):
        data = self.held + chunk
        for count in range(min(4, len(data) + 1)):
            whole = len(data) - count
            try:
                text = data[:whole].decode()
            except UnicodeDecodeError:
                continue
            self.held = data[whole:]
            if count and character_length(self.held[0]) <= count:
                break
            return text
        self.held = b""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        text = decoder.decode(data)
        self.held = decoder.getstate()[0]
        return text

    def finish(self):
        return self.held.decode("utf-8", "replace")


@right("StreamingDecoder")
class CollectsACharacter:
    """Goes from byte to byte, and shows a character when its last one has come."""

    def __init__(self):
        self.character = b""

    def push(self, chunk):
        text = ""
        for byte in chunk:
            goes_on = self.character and 0x80 <= byte < 0xC0
            if not goes_on:
                text += self.finish()
            self.character += bytes([byte])
            if len(self.character) >= (character_length(self.character[0]) or 1):
                text += self.finish()
        return text

    def finish(self):
        character, self.character = self.character, b""
        return character.decode(errors="replace")


class _Decoder:
    """What most wrong answers share."""

    held = b""

    def unfinished(self, data):
        for count in range(1, min(len(data), 3) + 1):
            if not 0x80 <= data[-count] < 0xC0:
                return count if character_length(data[-count]) > count else 0
        return 0

    def push(self, chunk):
        data = self.held + chunk
        whole = len(data) - self.unfinished(data)
        self.held = data[whole:]
        return data[:whole].decode(errors="replace")

    def finish(self):
        rest, self.held = self.held, b""
        return rest.decode(errors="replace")


@wrong("StreamingDecoder", says="decoded by itself")
class DecodesEachChunk(_Decoder):
    def push(self, chunk):
        return chunk.decode(errors="replace")


@wrong("StreamingDecoder", says="a chunk may end within a character")
class DecodesStrictly(_Decoder):
    def push(self, chunk):
        return chunk.decode()


@wrong("StreamingDecoder", says="a chunk may end within a character")
class DoesNotReplace(_Decoder):
    def push(self, chunk):
        data = self.held + chunk
        whole = len(data) - self.unfinished(data)
        self.held = data[whole:]
        return data[:whole].decode()


@wrong("StreamingDecoder", says="are left out")
class LeavesOutWhatIsBroken(_Decoder):
    def push(self, chunk):
        data = self.held + chunk
        whole = len(data) - self.unfinished(data)
        self.held = data[whole:]
        return data[:whole].decode(errors="ignore")


@wrong("StreamingDecoder", says="what is held at the end is lost")
class LosesTheEnd(_Decoder):
    def finish(self):
        return ""


@wrong("StreamingDecoder", says="for each byte that is held")
class ReplacesEachByte(_Decoder):
    def finish(self):
        return "\ufffd" * len(self.held)


@wrong("StreamingDecoder", says="need not be one U+FFFD")
class ReplacesAllThatIsHeld(_Decoder):
    def finish(self):
        return "\ufffd" if self.held else ""


@wrong("StreamingDecoder", says="what was shown before comes again")
class ShowsEverythingAgain(_Decoder):
    def push(self, chunk):
        self.held += chunk
        return self.held.decode(errors="replace")

    def finish(self):
        return ""


@wrong("StreamingDecoder", says="held back until the end")
class WaitsForTheEnd(_Decoder):
    def push(self, chunk):
        self.held += chunk
        return ""


@wrong("StreamingDecoder", says="whole ones before it wait")
class HoldsTheWholeChunk(_Decoder):
    def push(self, chunk):
        self.held += chunk
        try:
            text = self.held.decode()
        except UnicodeDecodeError:
            return ""
        self.held = b""
        return text


@wrong("StreamingDecoder", says="U+FFFD is a character like any other")
class HoldsReplacements(_Decoder):
    def __init__(self):
        self.shown = 0

    def push(self, chunk):
        self.held += chunk
        text = self.held.decode(errors="replace").rstrip("\ufffd")
        new, self.shown = text[self.shown :], len(text)
        return new

    def finish(self):
        return self.held.decode(errors="replace")[self.shown :]


@wrong("StreamingDecoder", says="taken for characters")
class TakesBytesForCharacters(_Decoder):
    def push(self, chunk):
        return "".join(map(chr, chunk))


@wrong("StreamingDecoder", says="not with `utf-8-sig`")
class DropsTheMark(_Decoder):
    def __init__(self):
        self.decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")

    def push(self, chunk):
        return self.decoder.decode(chunk)

    def finish(self):
        return self.decoder.decode(b"", True)


@wrong("StreamingDecoder", says="come too late")
class HoldsWholeCharacters(_Decoder):
    def unfinished(self, data):
        for count in range(1, min(len(data), 4) + 1):
            if not 0x80 <= data[-count] < 0xC0:
                return count
        return 0


@wrong("StreamingDecoder", says="A part of a character is shown")
class LooksAtTheLastByteOnly(_Decoder):
    def unfinished(self, data):
        return int(bool(data) and character_length(data[-1]) > 1)


@wrong("StreamingDecoder", says="A part of a character is shown")
class KnowsThreeBytesOnly(_Decoder):
    def unfinished(self, data):
        return super().unfinished(data) if data and data[-1] < 0xF0 else 0


@wrong("StreamingDecoder", says="a chunk may be empty")
class ExpectsABytes(_Decoder):
    def unfinished(self, data):
        return super().unfinished(data) if data[-1] else 0


@wrong("StreamingDecoder", says="go in front of the next chunk")
class ForgetsWhatItHeld(_Decoder):
    def push(self, chunk):
        whole = len(chunk) - self.unfinished(chunk)
        self.held = chunk[whole:]
        return chunk[:whole].decode(errors="ignore")


@wrong("StreamingDecoder", says="Something comes twice")
class HoldsItForGood(_Decoder):
    def push(self, chunk):
        data = self.held + chunk
        whole = len(data) - self.unfinished(data)
        self.held = data[whole:] or self.held
        return data[:whole].decode(errors="replace")


@wrong("StreamingDecoder", says="expected a `str`")
class ReturnsBytes(_Decoder):
    def push(self, chunk):
        return super().push(chunk).encode()


@wrong("StreamingDecoder", says="Is there a `return` line?")
class ForgetsToReturn(_Decoder):
    def finish(self):
        self.held.decode(errors="replace")


@wrong("StreamingDecoder", says="Two decoders share")
class SharesWhatItHolds(_Decoder):
    shared = bytearray()

    def push(self, chunk):
        data = bytes(self.shared) + chunk
        whole = len(data) - self.unfinished(data)
        self.shared[:] = data[whole:]
        return data[:whole].decode(errors="replace")

    def finish(self):
        rest = bytes(self.shared)
        self.shared.clear()
        return rest.decode(errors="replace")


@wrong("StreamingDecoder", says="holds up what follows")
class StopsAtABrokenByte(_Decoder):
    def push(self, chunk):
        self.held += chunk
        try:
            text, self.held = self.held.decode(), b""
        except UnicodeDecodeError as error:
            text = self.held[: error.start].decode()
            self.held = self.held[error.start :]
        return text


# Stop strings


@right("StopAt")
class AsksAPattern:
    def __init__(self, stops):
        if "" in stops:
            raise ValueError("an empty stop string")
        self.stopped, self.text, self.shown = False, "", 0
        begins = {stop[:n] for stop in stops for n in range(1, len(stop))}
        self.stop = re.compile("|".join(map(re.escape, stops)) or r"(?!)")
        longest_first = sorted(map(re.escape, begins), key=len, reverse=True)
        self.begin = re.compile(
            rf"(?:{'|'.join(longest_first) or '(?!)'})\Z", re.DOTALL
        )

    def push(self, piece):
        return self._upto(self.text + piece, final=False)

    def finish(self):
        return self._upto(self.text, final=True)

    def _upto(self, text, final):
        if self.stopped:
            return ""
        self.text = text
        stop = self.stop.search(text)
        begin = None if final else self.begin.search(text)
        end = min((m.start() for m in (stop, begin) if m), default=len(text))
        self.stopped = stop is not None and stop.start() == end
        new, self.shown = text[self.shown : end], end
        return new


@right("StopAt")
class KeepsTheWholeText:
    def __init__(self, stops):
        if not all(stops):
            raise ValueError("an empty stop string")
        self.stops = list(stops)
        self.text = ""
        self.shown = 0
        self.stopped = False

    def push(self, piece):
        if not self.stopped:
            self.text += piece
        return self._show(len(self.text), wait=True)

    def finish(self):
        return self._show(len(self.text), wait=False)

    def _show(self, end, wait):
        if self.stopped:
            return ""
        found = [self.text.find(stop, self.shown) for stop in self.stops]
        stop = min([at for at in found if at != -1], default=end)
        hold = end
        for begin in self.stops:
            for n in range(1, len(begin)):
                if wait and self.text.endswith(begin[:n]):
                    hold = min(hold, end - n)
        self.stopped = stop < end and stop <= hold
        until = min(stop, hold)
        new, self.shown = self.text[self.shown : until], until
        return new


@right("StopAt")
class GoesLetterByLetter:
    """Holds letters, and drops the first for as long as it begins no stop string."""

    def __init__(self, stops):
        for stop in stops:
            if len(stop) == 0:
                raise ValueError("an empty stop string")
        self.stops, self.held, self._stopped = stops, "", False

    @property
    def stopped(self):
        return self._stopped

    def push(self, piece):
        return "".join(map(self._add, piece))

    def _add(self, letter):
        if self._stopped:
            return ""
        self.held += letter
        return self._drop(lambda held: any(s.startswith(held) for s in self.stops))

    def _drop(self, waits):
        shown = ""
        while self.held:
            if any(self.held.startswith(stop) for stop in self.stops):
                self.held, self._stopped = "", True
            elif waits(self.held):
                break
            else:
                shown, self.held = shown + self.held[0], self.held[1:]
        return shown

    def finish(self):
        return self._drop(lambda held: False)


class _Stop:
    """What most wrong answers share."""

    def __init__(self, stops):
        if "" in stops:
            raise ValueError("an empty stop string")
        self.stops = tuple(stops)
        self.held = ""
        self.stopped = False

    def push(self, piece):
        return "" if self.stopped else self.show(self.held + piece, False)

    def finish(self):
        return self.show(self.held, True)

    def begins(self, rest):
        return any(stop.startswith(rest) for stop in self.stops)

    def show(self, text, final):
        self.held = ""
        for start in range(len(text)):
            rest = text[start:]
            if rest.startswith(self.stops):
                self.stopped = True
                return text[:start]
            if not final and self.begins(rest):
                self.held = rest
                return text[:start]
        return text

    def first(self, text):
        found = [text.find(stop) for stop in self.stops if stop in text]
        return min(found, default=len(text))


@wrong("StopAt", says="each piece alone")
class LooksInEachPiece(_Stop):
    def push(self, piece):
        if self.stopped:
            return ""
        end = self.first(piece)
        self.stopped = end < len(piece)
        return piece[:end]


@wrong("StopAt", says="its beginning has been shown")
class HoldsNothing(_Stop):
    def push(self, piece):
        if self.stopped:
            return ""
        before = len(self.held)
        self.held += piece
        end = self.first(self.held)
        self.stopped = end < len(self.held)
        return self.held[before:end]

    def finish(self):
        return ""


@wrong("StopAt", says="Everything is held back")
class HoldsEverything(_Stop):
    def push(self, piece):
        self.held += piece
        return ""

    def finish(self):
        end = self.first(self.held)
        self.stopped = end < len(self.held)
        return self.held[:end]


@wrong("StopAt", says="Everything is held back")
class ShowsAtTheStop(_Stop):
    def push(self, piece):
        self.held += piece
        end = self.first(self.held)
        if self.stopped or end == len(self.held):
            return ""
        self.stopped = True
        return self.held[:end]

    def finish(self):
        return "" if self.stopped else self.held


@wrong("StopAt", says="are always held back")
class AlwaysHoldsAFew(_Stop):
    def show(self, text, final):
        end, most = self.first(text), max(map(len, self.stops), default=1) - 1
        self.stopped = end < len(text)
        if not self.stopped and not final:
            end = max(0, len(text) - most)
        self.held = text[end:]
        return text[:end]

    def finish(self):
        return "" if self.stopped else self.show(self.held, True)


@wrong("StopAt", says="Only the first string")
class KnowsOneStop(_Stop):
    def __init__(self, stops):
        super().__init__(stops[:1])


@wrong("StopAt", says="*begins* first")
class TakesThemInOrder(_Stop):
    def push(self, piece):
        text = self.held + piece
        for stop in self.stops:
            if stop in text and not self.stopped:
                self.stopped, self.held = True, ""
                return text[: text.index(stop)]
        return super().push(piece)


@wrong("StopAt", says="The stop string is shown")
class ShowsTheStop(_Stop):
    def show(self, text, final):
        shown = super().show(text, final)
        rest = text[len(shown) :]
        ends = [stop for stop in self.stops if self.stopped and rest.startswith(stop)]
        return shown + "".join(ends[:1])


@wrong("StopAt", says="before the last")
class TakesTheLast(_Stop):
    def push(self, piece):
        text = self.held + piece
        if self.stopped or self.first(text) == len(text):
            return super().push(piece)
        self.stopped, self.held = True, ""
        return text[: max(text.rfind(stop) for stop in self.stops)]


@wrong("StopAt", says="wait for it")
class TakesTheFirstComplete(_Stop):
    def push(self, piece):
        text = self.held + piece
        if self.stopped or self.first(text) == len(text):
            return super().push(piece)
        self.stopped, self.held = True, ""
        return text[: self.first(text)]


@wrong("StopAt", says="shown after the stop")
class GoesOn(_Stop):
    def push(self, piece):
        return self.show(self.held + piece, False)


@wrong("StopAt", says="`stopped` becomes True")
class NeverStops(_Stop):
    def __init__(self, stops):
        super().__init__(stops)
        self.over = False

    def push(self, piece):
        if self.over:
            return ""
        text = super().push(piece)
        self.over, self.stopped = self.over or self.stopped, False
        return text


@wrong("StopAt", says="is lost at the end")
class LosesWhatItHeld(_Stop):
    def finish(self):
        return ""


@wrong("StopAt", says="Look once more in `finish`")
class DoesNotLookAtTheEnd(_Stop):
    def finish(self):
        return self.held


@wrong("StopAt", says="A stop string is overlooked")
class BeginsAgain(_Stop):
    """Counts how many letters fit, and begins at the next letter if one does not."""

    def show(self, text, final):
        start = 0
        while start < len(text):
            rest = text[start:]
            if rest.startswith(self.stops):
                self.held, self.stopped = "", True
                return text[:start]
            fit = max(self.fits(stop, rest) for stop in self.stops or [""])
            if fit == len(rest) and not final:
                self.held = rest
                return text[:start]
            start += max(fit, 1)
        self.held = ""
        return text

    def fits(self, stop, rest):
        pairs = zip(stop, rest, strict=False)
        return next((n for n, (a, b) in enumerate(pairs) if a != b), len(rest))


@wrong("StopAt", says="however short it is")
class IgnoresOneLetter(_Stop):
    def begins(self, rest):
        return len(rest) > 1 and super().begins(rest)


@wrong("StopAt", says="shown too late")
class HoldsTheWholePiece(_Stop):
    def show(self, text, final):
        shown = super().show(text, final)
        if self.held:
            self.held = text
            return ""
        return shown


@wrong("StopAt", says="in front of the next piece")
class ForgetsToPutItInFront(_Stop):
    def push(self, piece):
        if self.begins(self.held + piece):
            self.held += piece
            return ""
        return "" if self.stopped else self.show(piece, False)


@wrong("StopAt", says="Return the new text only")
class ShowsItAgain(_Stop):
    def __init__(self, stops):
        super().__init__(stops)
        self.seen = ""

    def push(self, piece):
        self.seen += super().push(piece)
        return self.seen


@wrong("StopAt", says="as a tuple")
class GivesAList(_Stop):
    def __init__(self, stops):
        super().__init__(stops)
        self.stops = list(stops)


@wrong("StopAt", says="`re.escape`")
class TakesItForAPattern(_Stop):
    def show(self, text, final):
        found = re.search("|".join(self.stops) or "(?!)", text)
        if found is None:
            return super().show(text, final)
        self.held, self.stopped = "", True
        return text[: found.start()]


@wrong("StopAt", says="`stops` may be empty")
class AlwaysExpectsAStop(_Stop):
    def __init__(self, stops):
        super().__init__(stops)
        self.most = max(len(stop) for stop in stops)


@wrong("StopAt", says="all of them would end at once")
class TakesEmptyStops(_Stop):
    def __init__(self, stops):
        super().__init__([stop for stop in stops if stop])


@wrong("StopAt", says="changes its input `stops`")
class SortsTheStops(_Stop):
    def __init__(self, stops):
        super().__init__(stops)
        if isinstance(stops, list):
            stops.append("never")


@wrong("StopAt", says="Is there a `return` line?")
class OnlyReturnsAtAStop(_Stop):
    def push(self, piece):
        text = super().push(piece)
        if self.stopped:
            return text


# Memory


@right("memory")
def counts_one_token(config, texts=1, length=0, bytes_per_weight=4, bytes_per_cached=4):
    per_layer = config.n_embd + config.n_embd
    per_token = per_layer * config.n_layer * bytes_per_cached
    total = bytes_per_weight * gpt_parameters(config) + per_token * texts * length
    return int(total)


@right("memory")
def counts_by_heads(config, texts=1, length=0, bytes_per_weight=4, bytes_per_cached=4):
    head_width = config.n_embd // config.n_head
    sizes = (config.n_layer, 2, texts, config.n_head, length, head_width)
    return round(
        gpt_parameters(config) * bytes_per_weight + math.prod(sizes) * bytes_per_cached
    )


@right("memory")
def counts_in_bits(config, texts=1, length=0, bytes_per_weight=4, bytes_per_cached=4):
    width, layers = config.n_embd, config.n_layer
    weights = (config.vocab_size + config.n_positions + 2) * width
    weights += layers * (12 * width + 13) * width
    bits = weights * int(8 * bytes_per_weight)
    bits += texts * length * layers * width * 2 * int(8 * bytes_per_cached)
    return -(-bits // 8)


def _memory(factor=2, count=gpt_parameters, size=lambda config: config.n_embd):
    """What most wrong answers share."""

    def memory(config, texts, length, bytes_per_weight, bytes_per_cached):
        cached = texts * length * factor * config.n_layer * size(config)
        return math.ceil(count(config) * bytes_per_weight + cached * bytes_per_cached)

    return memory


@wrong("memory", says="keys *and* values")
def counts_keys_only(config, texts=1, length=0, bytes_per_weight=4, bytes_per_cached=4):
    return _memory(1)(config, texts, length, bytes_per_weight, bytes_per_cached)


@wrong("memory", says="the number of heads changes nothing")
def counts_heads(config, texts=1, length=0, bytes_per_weight=4, bytes_per_cached=4):
    return _memory(size=lambda config: config.n_head)(
        config, texts, length, bytes_per_weight, bytes_per_cached
    )


@wrong("memory", says="the number of heads changes nothing")
def counts_one_head(config, texts=1, length=0, bytes_per_weight=4, bytes_per_cached=4):
    return _memory(size=lambda config: config.n_embd // config.n_head)(
        config, texts, length, bytes_per_weight, bytes_per_cached
    )


@wrong("memory", says="the number of heads changes nothing")
def counts_heads_twice(
    config, texts=1, length=0, bytes_per_weight=4, bytes_per_cached=4
):
    return _memory(size=lambda config: config.n_embd * config.n_head)(
        config, texts, length, bytes_per_weight, bytes_per_cached
    )


@wrong("memory", says="multiply by the layers")
def counts_one_layer(config, texts=1, length=0, bytes_per_weight=4, bytes_per_cached=4):
    cached = texts * length * 2 * config.n_embd * bytes_per_cached
    return math.ceil(gpt_parameters(config) * bytes_per_weight + cached)


@wrong("memory", says="multiply by `texts`")
def counts_one_text(config, texts=1, length=0, bytes_per_weight=4, bytes_per_cached=4):
    return _memory()(config, 1, length, bytes_per_weight, bytes_per_cached)


@wrong("memory", says="read by the same weights")
def copies_the_weights(
    config, texts=1, length=0, bytes_per_weight=4, bytes_per_cached=4
):
    return texts * _memory()(config, 1, length, bytes_per_weight, bytes_per_cached)


@wrong("memory", says="`length` tokens")
def takes_the_context(
    config, texts=1, length=0, bytes_per_weight=4, bytes_per_cached=4
):
    length = config.n_positions if length else 0
    return _memory()(config, texts, length, bytes_per_weight, bytes_per_cached)


@wrong("memory", says="plays no part here")
def forgets_the_length(
    config, texts=1, length=0, bytes_per_weight=4, bytes_per_cached=4
):
    return _memory()(config, texts, bool(length), bytes_per_weight, bytes_per_cached)


@wrong("memory", says="is counted twice")
def counts_the_output(
    config, texts=1, length=0, bytes_per_weight=4, bytes_per_cached=4
):
    return _memory(count=lambda c: gpt_parameters(c) + c.vocab_size * c.n_embd)(
        config, texts, length, bytes_per_weight, bytes_per_cached
    )


@wrong("memory", says="in another unit")
def counts_bits(config, texts=1, length=0, bytes_per_weight=4, bytes_per_cached=4):
    return 8 * _memory()(config, texts, length, bytes_per_weight, bytes_per_cached)


@wrong("memory", says="in another unit")
def takes_bits(config, texts=1, length=0, bytes_per_weight=4, bytes_per_cached=4):
    return _memory()(config, texts, length, bytes_per_weight, bytes_per_cached) // 8


@wrong("memory", says="are exchanged")
def exchanges_the_sizes(
    config, texts=1, length=0, bytes_per_weight=4, bytes_per_cached=4
):
    return _memory()(config, texts, length, bytes_per_cached, bytes_per_weight)


@wrong("memory", says="one is used for both")
def uses_one_size(config, texts=1, length=0, bytes_per_weight=4, bytes_per_cached=4):
    return _memory()(config, texts, length, bytes_per_weight, bytes_per_weight)


@wrong("memory", says="4 bytes whatever is given")
def always_four_bytes(
    config, texts=1, length=0, bytes_per_weight=4, bytes_per_cached=4
):
    return _memory()(config, texts, length, 4, 4)


@wrong("memory", says="Multiply both by their bytes")
def forgets_the_bytes_of_the_cache(
    config, texts=1, length=0, bytes_per_weight=4, bytes_per_cached=4
):
    return _memory()(config, texts, length, bytes_per_weight, 1)


@wrong("memory", says="Keys and values are missing")
def forgets_the_cache(
    config, texts=1, length=0, bytes_per_weight=4, bytes_per_cached=4
):
    return math.ceil(gpt_parameters(config) * bytes_per_weight)


@wrong("memory", says="the cache alone")
def forgets_the_weights(
    config, texts=1, length=0, bytes_per_weight=4, bytes_per_cached=4
):
    return _memory(count=lambda config: 0)(
        config, texts, length, bytes_per_weight, bytes_per_cached
    )


@wrong("memory", says="not with its square")
def keeps_the_scores(config, texts=1, length=0, bytes_per_weight=4, bytes_per_cached=4):
    return _memory(length)(
        config, texts, 2 * length, bytes_per_weight, bytes_per_cached
    )


@wrong("memory", says="as a `float`")
def returns_a_float(config, texts=1, length=0, bytes_per_weight=4, bytes_per_cached=4):
    cached = texts * length * 2 * config.n_layer * config.n_embd * bytes_per_cached
    return gpt_parameters(config) * float(bytes_per_weight) + cached


@wrong("memory", says="work the number out")
def builds_the_model(config, texts=1, length=0, bytes_per_weight=4, bytes_per_cached=4):
    weights = sum(parameter.numel() for parameter in GPT(config).parameters())
    return _memory(count=lambda config: weights)(
        config, texts, length, bytes_per_weight, bytes_per_cached
    )
