"""Answers to the chapter on the GPT: right in other ways, and plausibly wrong."""

from __future__ import annotations

import math
import time

import torch
import torch.nn.functional as F
from torch import nn

from solutions.causal_masking import Dropout
from solutions.multi_head import MultiHeadAttention
from solutions.normalization import LayerNorm
from solutions.tokens import TokenAndPositionEmbedding
from tests.answers import right, wrong

# GELU


@right("gelu")
def asks_for_the_normal_distribution(x):
    return x * torch.distributions.Normal(0.0, 1.0).cdf(x)


@right("gelu")
def uses_the_complement(x):
    return x * torch.erfc(-x / 2**0.5) / 2


@right("gelu")
def uses_ndtr(x):
    return torch.special.ndtr(x) * x


@right("gelu")
def calls_torch(x):
    return F.gelu(x)


@wrong("gelu", says="the form with tanh")
def is_gpt2s(x):
    return 0.5 * x * (1 + torch.tanh((2 / math.pi) ** 0.5 * (x + 0.044715 * x**3)))


@wrong("gelu", says="The half is missing")
def forgets_the_half(x):
    return x * (1 + torch.erf(x / math.sqrt(2)))


@wrong("gelu", says="as it is. Divide it by sqrt(2)")
def forgets_the_root(x):
    return x * (1 + torch.erf(x)) / 2


@wrong("gelu", says="*Divide* it by sqrt(2)")
def multiplies_by_the_root(x):
    return x * (1 + torch.erf(x * math.sqrt(2))) / 2


@wrong("gelu", says="*Divide* it by sqrt(2)")
def divides_by_two(x):
    return x * (1 + torch.erf(x / 2)) / 2


@wrong("gelu", says="The 1 is missing")
def forgets_the_one(x):
    return x * torch.erf(x / math.sqrt(2)) / 2


@wrong("gelu", says="Phi(x) alone")
def returns_the_share(x):
    return (1 + torch.erf(x / math.sqrt(2))) / 2


@wrong("gelu", says="the bell")
def takes_the_density(x):
    return x * torch.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)


@wrong("gelu", says="Phi is taken at -x")
def takes_the_share_above(x):
    return x * torch.erfc(x / 2**0.5) / 2


@wrong("gelu", says="This is ReLU")
def is_relu(x):
    return x.clamp(min=0)


@wrong("gelu", says="1.702")
def is_the_quick_one(x):
    return x * torch.sigmoid(1.702 * x)


@wrong("gelu", says="This is SiLU")
def is_silu(x):
    return x * torch.sigmoid(x)


@wrong("gelu", says="single numbers only")
def uses_math_erf(x):
    return x * (1 + math.erf(x / math.sqrt(2))) / 2


@wrong("gelu", says="changes its input `x`")
def works_in_place(x):
    share = torch.erf(x / math.sqrt(2)).add_(1).mul_(0.5)
    return x.mul_(share)


@wrong("gelu", says="no gradient reaches `x`")
def detaches(x):
    return F.gelu(x.detach())


@wrong("gelu", says="the gradient of `x` is not")
def takes_the_share_for_fixed(x):
    return x * ((1 + torch.erf(x / math.sqrt(2))) / 2).detach()


@wrong("gelu", says="stays on the CPU")
def makes_the_root_a_tensor(x):
    half = torch.full((1,), 0.5)
    return x * half * (1 + torch.erf(x / math.sqrt(2)))


@wrong("gelu", says="dtype")
def converts_to_float32(x):
    x = x.float()
    return x * (1 + torch.erf(x / math.sqrt(2))) / 2


@wrong("gelu", says="The root of 2 has too few digits")
def takes_a_root_in_float32(x):
    return x * (1 + torch.erf(x / torch.sqrt(torch.tensor(2.0)))) / 2


@wrong("gelu", says="The root of 2 has too few digits")
def rounds_the_root(x):
    return x * (1 + torch.erf(x / 1.414)) / 2


# GELU with tanh

ROOT = math.sqrt(2 / math.pi)


@right("gelu_tanh")
def follows_the_formula(x):
    return 0.5 * x * (1 + torch.tanh(ROOT * (x + 0.044715 * torch.pow(x, 3))))


@right("gelu_tanh")
def takes_a_sigmoid(x):
    """(1 + tanh(z)) / 2 is sigmoid(2 z)."""
    return x * torch.sigmoid(2 * ROOT * x * (1 + 0.044715 * x * x))


@right("gelu_tanh")
def calls_torchs_form(x):
    return nn.GELU(approximate="tanh")(x)


@wrong("gelu_tanh", says="exact form")
def is_exact(x):
    return x * (1 + torch.erf(x / math.sqrt(2))) / 2


@wrong("gelu_tanh", says="The constant 0.044715 is missing")
def forgets_the_constant(x):
    return 0.5 * x * (1 + torch.tanh(ROOT * (x + x**3)))


@wrong("gelu_tanh", says="The part with x^3 is missing")
def forgets_the_cube(x):
    return 0.5 * x * (1 + torch.tanh(ROOT * x))


@wrong("gelu_tanh", says="multiplies the whole sum, x + x^3")
def scales_the_sum(x):
    return 0.5 * x * (1 + torch.tanh(ROOT * 0.044715 * (x + x**3)))


@wrong("gelu_tanh", says="cubed together with x")
def cubes_the_constant(x):
    return 0.5 * x * (1 + torch.tanh(ROOT * (x + (0.044715 * x) ** 3)))


@wrong("gelu_tanh", says="mind the brackets")
def forgets_the_brackets(x):
    return 0.5 * x * (1 + torch.tanh(ROOT * x + 0.044715 * x**3))


@wrong("gelu_tanh", says="upside down")
def turns_the_fraction(x):
    return 0.5 * x * (1 + torch.tanh(math.sqrt(math.pi / 2) * (x + 0.044715 * x**3)))


@wrong("gelu_tanh", says="the root goes over")
def forgets_the_root_of_the_factor(x):
    return 0.5 * x * (1 + torch.tanh(2 / math.pi * (x + 0.044715 * x**3)))


@wrong("gelu_tanh", says="the root goes over")
def roots_the_two_only(x):
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2) / math.pi * (x + 0.044715 * x**3)))


@wrong("gelu_tanh", says="the power of 3")
def squares(x):
    return 0.5 * x * (1 + torch.tanh(ROOT * (x + 0.044715 * x**2)))


@wrong("gelu_tanh", says="A digit")
def mistypes(x):
    return 0.5 * x * (1 + torch.tanh(ROOT * (x + 0.44715 * x**3)))


@wrong("gelu_tanh", says="The half is missing")
def forgets_this_half(x):
    return x * (1 + torch.tanh(ROOT * (x + 0.044715 * x**3)))


@wrong("gelu_tanh", says="The 1 is missing")
def forgets_this_one(x):
    return 0.5 * x * torch.tanh(ROOT * (x + 0.044715 * x**3))


@wrong("gelu_tanh", says="the share alone")
def forgets_to_multiply(x):
    return 0.5 * (1 + torch.tanh(ROOT * (x + 0.044715 * x**3)))


@wrong("gelu_tanh", says="1.702")
def is_quick(x):
    return x * torch.sigmoid(1.702 * x)


@wrong("gelu_tanh", says="single numbers only")
def uses_math_tanh(x):
    return 0.5 * x * (1 + math.tanh(ROOT * (x + 0.044715 * x**3)))


@wrong("gelu_tanh", says="sqrt(2 / pi) has too few digits")
def copies_the_factor(x):
    return 0.5 * x * (1 + torch.tanh(0.79788456 * (x + 0.044715 * x**3)))


@wrong("gelu_tanh", says="is a float32 and has seven")
def takes_the_factor_in_float32(x):
    factor = torch.sqrt(torch.tensor(2 / math.pi))
    return 0.5 * x * (1 + torch.tanh(factor * (x + 0.044715 * x**3)))


@wrong("gelu_tanh", says="sqrt(2 / pi) has too few digits")
def rounds_the_factor(x):
    return 0.5 * x * (1 + torch.tanh(0.7979 * (x + 0.044715 * x**3)))


@wrong("gelu_tanh", says="x^3 has too few digits")
def rounds_the_constant(x):
    return 0.5 * x * (1 + torch.tanh(ROOT * (x + 0.0447 * x**3)))


# The feed-forward layer


class _Feed(nn.Module):
    """What most answers below have in common."""

    def __init__(self, width):
        super().__init__()
        self.expand = nn.Linear(width, 4 * width)
        self.projection = nn.Linear(4 * width, width)

    def activation(self, hidden):
        return F.gelu(hidden, approximate="tanh")

    def forward(self, x):
        return self.projection(self.activation(self.expand(x)))


@right("FeedForward")
class WithTorchsGelu(_Feed):
    pass


@right("FeedForward")
class WithALayerOfGelu(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.projection = nn.Linear(4 * width, width, bias=True)
        self.activation = nn.GELU(approximate="tanh")
        self.expand = nn.Linear(width, 4 * width, bias=True)

    def forward(self, x):
        x = self.expand(x)
        x = self.activation(x)
        return self.projection(x)


@right("FeedForward")
class ByMatrices(_Feed):
    def forward(self, x):
        h = x @ self.expand.weight.T + self.expand.bias
        h = h * torch.sigmoid(2 * ROOT * (h + 0.044715 * h**3))
        return h @ self.projection.weight.T + self.projection.bias


@wrong("FeedForward", says="stands ReLU")
class HasRelu(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.expand = nn.Linear(width, 4 * width)
        self.projection = nn.Linear(4 * width, width)

    def forward(self, x):
        return self.projection(F.relu(self.expand(x)))


@wrong("FeedForward", says="stands SiLU")
class HasSilu(_Feed):
    def activation(self, hidden):
        return F.silu(hidden)


@wrong("FeedForward", says="the exact GELU")
class HasTheExactGelu(_Feed):
    def activation(self, hidden):
        return F.gelu(hidden)


@wrong("FeedForward", says="Nothing stands between")
class HasNoActivation(_Feed):
    def activation(self, hidden):
        return hidden


@wrong("FeedForward", says="at the end, too")
class ActivatesTwice(_Feed):
    def forward(self, x):
        return self.activation(super().forward(x))


@wrong("FeedForward", says="after both matrices")
class ActivatesLast(_Feed):
    def forward(self, x):
        return self.activation(self.projection(self.expand(x)))


@wrong("FeedForward", says="before `expand`")
class ActivatesFirst(_Feed):
    def forward(self, x):
        return self.projection(self.expand(self.activation(x)))


@wrong("FeedForward", says="The input is added")
class IsResidual(_Feed):
    def forward(self, x):
        return x + super().forward(x)


@wrong("FeedForward", says="no parameter `projection.bias`")
class HasNoSecondBias(_Feed):
    def __init__(self, width):
        super().__init__(width)
        self.projection = nn.Linear(4 * width, width, bias=False)


@wrong("FeedForward", says="The second bias has no effect")
class ForgetsTheSecondBias(_Feed):
    def forward(self, x):
        hidden = self.activation(self.expand(x))
        return hidden @ self.projection.weight.T


@wrong("FeedForward", says="from C to 4 C")
class ExpandsByTwo(_Feed):
    def __init__(self, width):
        super().__init__(width)
        self.expand = nn.Linear(width, 2 * width)
        self.projection = nn.Linear(2 * width, width)


@wrong("FeedForward", says="(outputs, inputs)")
class ExchangesTheSizes(_Feed):
    def __init__(self, width):
        super().__init__(width)
        self.expand = nn.Linear(4 * width, width)
        self.projection = nn.Linear(width, 4 * width)


@wrong("FeedForward", says="There is dropout in here")
class DropsHere(_Feed):
    def forward(self, x):
        return F.dropout(super().forward(x), 0.1, self.training)


@wrong("FeedForward", says="no gradient reaches `expand.weight`")
class IsDetached(_Feed):
    def forward(self, x):
        x = x + 0 * x
        hidden = F.linear(x, self.expand.weight.detach(), self.expand.bias.detach())
        return self.projection(self.activation(hidden))


@wrong("FeedForward", says="requires_grad=False")
class IsFrozen(_Feed):
    def __init__(self, width):
        super().__init__(width)
        self.expand.requires_grad_(False)


@wrong("FeedForward", says="Two layers are all")
class HasGptsNames(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.c_fc = nn.Linear(width, 4 * width)
        self.c_proj = nn.Linear(4 * width, width)

    def forward(self, x):
        return self.c_proj(F.gelu(self.c_fc(x), approximate="tanh"))


@wrong("FeedForward", says="has too few digits")
class HasARoundedGelu(_Feed):
    def activation(self, hidden):
        return copies_the_factor(hidden)


@wrong("FeedForward", says="leads back to C")
class StopsHalfway(_Feed):
    def forward(self, x):
        return self.activation(self.expand(x))


@wrong("FeedForward", says="begins with `super().__init__()`")
class ForgetsSuper(nn.Module):
    def __init__(self, width):
        self.expand = nn.Linear(width, 4 * width)


# The block


class _Layers(nn.Module):
    """What most answers below have in common."""

    def __init__(
        self, width, heads, context, attention_dropout=0.0, dropout=0.0, eps=1e-5
    ):
        super().__init__()
        self.attention_norm = nn.LayerNorm(width, eps)
        self.attention = MultiHeadAttention(width, heads, context, attention_dropout)
        self.feed_forward_norm = nn.LayerNorm(width, eps)
        self.feed_forward = _Feed(width)
        self.dropout = nn.Dropout(dropout)

    def attend(self, x):
        return self.dropout(self.attention(self.attention_norm(x)))

    def feed(self, x):
        return self.dropout(self.feed_forward(self.feed_forward_norm(x)))

    def forward(self, x):
        x = x + self.attend(x)
        return x + self.feed(x)


@right("Block")
class InTwoLines(_Layers):
    pass


@right("Block")
class WithOwnParts(nn.Module):
    def __init__(
        self, width, heads, context, attention_dropout=0.0, dropout=0.0, eps=1e-5
    ):
        super().__init__()
        self.attention_norm = LayerNorm(width, eps)
        self.attention = MultiHeadAttention(
            width, heads, context, dropout=attention_dropout, bias=True
        )
        self.attention_dropout = Dropout(dropout)
        self.feed_forward_norm = LayerNorm(width, eps=eps)
        self.feed_forward = _Feed(width)
        self.feed_forward_dropout = Dropout(dropout)

    def forward(self, x):
        found = self.attention_dropout(self.attention(self.attention_norm(x)))
        after = torch.add(x, found)
        worked = self.feed_forward(self.feed_forward_norm(after))
        return after + self.feed_forward_dropout(worked)


@right("Block")
class WithAStoredMask(_Layers):
    def __init__(
        self, width, heads, context, attention_dropout=0.0, dropout=0.0, eps=1e-5
    ):
        super().__init__(width, heads, context, attention_dropout, dropout, eps)
        self.attention.register_buffer("mask", torch.ones(context, context).tril())


@wrong("Block", says="There is no residual connection")
class HasNoResidual(nn.Module):
    def __init__(
        self, width, heads, context, attention_dropout=0.0, dropout=0.0, eps=1e-5
    ):
        super().__init__()
        self.attention_norm = nn.LayerNorm(width, eps)
        self.attention = MultiHeadAttention(width, heads, context, attention_dropout)
        self.feed_forward_norm = nn.LayerNorm(width, eps)
        self.feed_forward = _Feed(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x):
        x = self.dropout(self.attention(self.attention_norm(x)))
        return self.dropout(self.feed_forward(self.feed_forward_norm(x)))


@wrong("Block", says="The feed-forward layer replaces it")
class LosesTheSecondResidual(_Layers):
    def forward(self, x):
        return self.feed(x + self.attend(x))


@wrong("Block", says="The attention replaces it")
class LosesTheFirstResidual(_Layers):
    def forward(self, x):
        x = self.attend(x)
        return x + self.feed(x)


@wrong("Block", says="around both layers")
class HasOneResidual(_Layers):
    def forward(self, x):
        return x + self.feed(self.attend(x))


@wrong("Block", says="to the *new* x")
class AddsToTheOldStream(_Layers):
    def forward(self, x):
        y = x + self.attend(x)
        return x + self.feed(y)


@wrong("Block", says="This is post-norm")
class IsPostNorm(_Layers):
    def forward(self, x):
        x = self.attention_norm(x + self.dropout(self.attention(x)))
        return self.feed_forward_norm(x + self.dropout(self.feed_forward(x)))


@wrong("Block", says="The norms stand behind the layers")
class NormsWhatIsAdded(_Layers):
    def forward(self, x):
        x = x + self.dropout(self.attention_norm(self.attention(x)))
        return x + self.dropout(self.feed_forward_norm(self.feed_forward(x)))


@wrong("Block", says="The stream itself is normalised")
class NormsTheStream(_Layers):
    def forward(self, x):
        x = self.attention_norm(x)
        x = x + self.dropout(self.attention(x))
        x = self.feed_forward_norm(x)
        return x + self.dropout(self.feed_forward(x))


@wrong("Block", says="Before the feed-forward layer the stream itself")
class NormsTheStreamHalfway(_Layers):
    def forward(self, x):
        x = self.feed_forward_norm(x + self.attend(x))
        return x + self.dropout(self.feed_forward(x))


@wrong("Block", says="Before the attention the stream itself")
class NormsTheStreamAtFirst(_Layers):
    def forward(self, x):
        x = self.attention_norm(x)
        x = x + self.dropout(self.attention(x))
        return x + self.feed(x)


@wrong("Block", says="has a norm of its own")
class SharesItsNorm(_Layers):
    def feed(self, x):
        return self.dropout(self.feed_forward(self.attention_norm(x)))


@wrong("Block", says="one and the same tensor")
class HasOneNormTwice(_Layers):
    def __init__(
        self, width, heads, context, attention_dropout=0.0, dropout=0.0, eps=1e-5
    ):
        super().__init__(width, heads, context, attention_dropout, dropout, eps)
        self.feed_forward_norm = self.attention_norm


@wrong("Block", says="The two norms are exchanged")
class ExchangesTheNorms(_Layers):
    def forward(self, x):
        x = x + self.dropout(self.attention(self.feed_forward_norm(x)))
        return x + self.dropout(self.feed_forward(self.attention_norm(x)))


@wrong("Block", says="It reads `feed_forward_norm(x)`")
class FeedsTheRawStream(_Layers):
    def feed(self, x):
        return self.dropout(self.feed_forward(x))


@wrong("Block", says="It reads `attention_norm(x)`")
class AttendsToTheRawStream(_Layers):
    def attend(self, x):
        return self.dropout(self.attention(x))


@wrong("Block", says="No norm is used")
class HasNoNorm(_Layers):
    def forward(self, x):
        x = x + self.dropout(self.attention(x))
        return x + self.dropout(self.feed_forward(x))


@wrong("Block", says="in parallel")
class IsParallel(_Layers):
    def forward(self, x):
        return x + self.attend(x) + self.feed(x)


@wrong("Block", says="The feed-forward layer comes first")
class FeedsFirst(_Layers):
    def forward(self, x):
        x = x + self.feed(x)
        return x + self.attend(x)


@wrong("Block", says="The feed-forward layer is missing")
class OnlyAttends(_Layers):
    def forward(self, x):
        return x + self.attend(x)


@wrong("Block", says="another number of heads")
class TakesOneHead(_Layers):
    def __init__(
        self, width, heads, context, attention_dropout=0.0, dropout=0.0, eps=1e-5
    ):
        super().__init__(width, 1, context, attention_dropout, dropout, eps)


@wrong("Block", says="do not have the `eps`")
class IgnoresEps(_Layers):
    def __init__(
        self, width, heads, context, attention_dropout=0.0, dropout=0.0, eps=1e-5
    ):
        super().__init__(width, heads, context, attention_dropout, dropout)


@wrong("Block", says="Only `attention_norm` has the `eps`")
class GivesEpsToTheFirstNorm(_Layers):
    def __init__(
        self, width, heads, context, attention_dropout=0.0, dropout=0.0, eps=1e-5
    ):
        super().__init__(width, heads, context, attention_dropout, dropout, eps)
        self.feed_forward_norm = nn.LayerNorm(width)


@wrong("Block", says="Only `feed_forward_norm` has the `eps`")
class GivesEpsToTheSecondNorm(_Layers):
    def __init__(
        self, width, heads, context, attention_dropout=0.0, dropout=0.0, eps=1e-5
    ):
        super().__init__(width, heads, context, attention_dropout, dropout, eps)
        self.attention_norm = nn.LayerNorm(width)


@wrong("Block", says="Give `context` on")
class IgnoresTheContext(_Layers):
    def __init__(
        self, width, heads, context, attention_dropout=0.0, dropout=0.0, eps=1e-5
    ):
        super().__init__(width, heads, 1024, attention_dropout, dropout, eps)


@wrong("Block", says="changes its input `x`")
class AddsInPlace(_Layers):
    def forward(self, x):
        x += self.attend(x)
        x += self.feed(x)
        return x


@wrong("Block", says="so it would not be trained")
class DetachesTheAttention(_Layers):
    def attend(self, x):
        with torch.no_grad():
            return super().attend(x)


@wrong("Block", says="Write `x = x + ...`")
class AddsInPlaceToItsOwn(_Layers):
    """The values are right, but the norm needs the x that it has read."""

    def forward(self, x):
        x = x + self.attend(x)
        x += self.feed(x)
        return x


@wrong("Block", says="something is detached")
class DetachesOneBranch(_Layers):
    def feed(self, x):
        return super().feed(x.detach())


@wrong("Block", says="The stream itself is dropped")
class DropsTheStream(_Layers):
    def forward(self, x):
        x = self.dropout(x + self.attention(self.attention_norm(x)))
        return self.dropout(x + self.feed_forward(self.feed_forward_norm(x)))


@wrong("Block", says="Dropout is on what a layer reads")
class DropsWhatLayersRead(_Layers):
    def attend(self, x):
        return self.attention(self.dropout(self.attention_norm(x)))

    def feed(self, x):
        return self.feed_forward(self.dropout(self.feed_forward_norm(x)))


@wrong("Block", says="Dropout is on what a layer reads")
class DropsWhatNormsRead(_Layers):
    def attend(self, x):
        return self.attention(self.attention_norm(self.dropout(x)))

    def feed(self, x):
        return self.feed_forward(self.feed_forward_norm(self.dropout(x)))


@wrong("Block", says="`dropout` has no effect")
class IgnoresDropout(_Layers):
    def attend(self, x):
        return self.attention(self.attention_norm(x))

    def feed(self, x):
        return self.feed_forward(self.feed_forward_norm(x))


@wrong("Block", says="drop what the feed-forward layer adds as well")
class DropsTheAttentionOnly(_Layers):
    def feed(self, x):
        return self.feed_forward(self.feed_forward_norm(x))


@wrong("Block", says="drop what the attention adds as well")
class DropsTheFeedForwardOnly(_Layers):
    def attend(self, x):
        return self.attention(self.attention_norm(x))


@wrong("Block", says="`attention_dropout` has no effect")
class IgnoresAttentionDropout(_Layers):
    def __init__(
        self, width, heads, context, attention_dropout=0.0, dropout=0.0, eps=1e-5
    ):
        super().__init__(width, heads, context, 0.0, dropout, eps)


@wrong("Block", says="Those have `attention_dropout`")
class ExchangesTheDropouts(_Layers):
    def __init__(
        self, width, heads, context, attention_dropout=0.0, dropout=0.0, eps=1e-5
    ):
        super().__init__(width, heads, context, dropout, attention_dropout, eps)


@wrong("Block", says="after `eval()`")
class DropsAlways(_Layers):
    def __init__(
        self, width, heads, context, attention_dropout=0.0, dropout=0.0, eps=1e-5
    ):
        super().__init__(width, heads, context, attention_dropout, dropout, eps)
        self.p = dropout

    def attend(self, x):
        return F.dropout(self.attention(self.attention_norm(x)), self.p)


@wrong("Block", says="no parameter `attention_norm.weight`")
class HasOtherNames(nn.Module):
    def __init__(
        self, width, heads, context, attention_dropout=0.0, dropout=0.0, eps=1e-5
    ):
        super().__init__()
        self.ln_1 = nn.LayerNorm(width, eps)
        self.attn = MultiHeadAttention(width, heads, context, attention_dropout)
        self.ln_2 = nn.LayerNorm(width, eps)
        self.mlp = _Feed(width)

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


# The GPT


class _Model(nn.Module):
    """What most answers below have in common."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        width, eps = config.n_embd, config.layer_norm_epsilon
        self.embedding = TokenAndPositionEmbedding(
            config.vocab_size, config.n_positions, width
        )
        self.dropout = nn.Dropout(config.embd_pdrop)
        self.blocks = self.stack(config)
        self.norm = nn.LayerNorm(width, eps)
        with torch.no_grad():
            self.start(config.initializer_range)

    def block(self, config):
        return _Layers(
            config.n_embd,
            config.n_head,
            config.n_positions,
            config.attn_pdrop,
            config.resid_pdrop,
            config.layer_norm_epsilon,
        )

    def stack(self, config):
        return nn.ModuleList([self.block(config) for _ in range(config.n_layer)])

    def start(self, std):
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=std)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)
        self.scale(std)

    def scale(self, std):
        for name, parameter in self.named_parameters():
            if name.endswith("projection.weight"):
                small = std / math.sqrt(2 * self.config.n_layer)
                nn.init.normal_(parameter, mean=0.0, std=small)

    def embed(self, ids):
        return self.dropout(self.embedding(ids))

    def run(self, x):
        for block in self.blocks:
            x = block(x)
        return x

    def output(self, x):
        return x @ self.embedding.token_embedding.weight.T

    def forward(self, ids):
        return self.output(self.norm(self.run(self.embed(ids))))


@right("GPT")
class StepByStep(_Model):
    pass


@right("GPT")
class AsNanoGPT(_Model):
    """With a layer for the output, whose weight *is* the table."""

    def __init__(self, config):
        super().__init__(config)
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        self.lm_head.weight = self.embedding.token_embedding.weight

    def scale(self, std):
        for block in self.blocks:
            for layer in (block.attention, block.feed_forward):
                layer.projection.weight /= (2 * len(self.blocks)) ** 0.5

    def output(self, x):
        return self.lm_head(x)


@right("GPT")
class WithTablesOfItsOwn(_Model):
    """The output comes first, and the embedding takes its weight."""

    def __init__(self, config):
        super().__init__(config)
        head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        nn.init.normal_(head.weight, std=config.initializer_range)
        self.embedding.token_embedding.weight = head.weight
        self.head = head

    def embed(self, ids):
        B, T = ids.shape
        if T > self.config.n_positions:
            raise ValueError(f"{T} tokens are more than {self.config.n_positions}")
        places = self.embedding.position_embedding.weight[:T]
        return self.dropout(self.embedding.token_embedding(ids) + places)

    def output(self, x):
        return self.head(x)


@right("GPT")
class WithSequential(_Model):
    def stack(self, config):
        return nn.Sequential(*(self.block(config) for _ in range(config.n_layer)))

    def run(self, x):
        return self.blocks(x)

    def output(self, x):
        return torch.einsum("btc,vc->btv", x, self.embedding.token_embedding.weight)


@wrong("GPT", says="The last norm is missing")
class HasNoLastNorm(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        width = config.n_embd
        self.embedding = TokenAndPositionEmbedding(
            config.vocab_size, config.n_positions, width
        )
        self.blocks = nn.ModuleList(
            _Layers(width, config.n_head, config.n_positions)
            for _ in range(config.n_layer)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, ids):
        x = self.embedding(ids)
        for block in self.blocks:
            x = block(x)
        return F.linear(x, self.embedding.token_embedding.weight)


@wrong("GPT", says="One more norm")
class NeverMadeTheNorm(_Model):
    def __init__(self, config):
        super().__init__(config)
        del self.norm

    def forward(self, ids):
        return self.output(self.run(self.embed(ids)))


@wrong("GPT", says="a table of its own")
class HasAnOutputTable(_Model):
    def __init__(self, config):
        super().__init__(config)
        self.head = nn.Linear(config.n_embd, config.vocab_size, bias=False)

    def output(self, x):
        return self.head(x)


@wrong("GPT", says="the very same tensor and no copy")
class CopiesTheTable(_Model):
    def __init__(self, config):
        super().__init__(config)
        self.head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        self.head.weight = nn.Parameter(self.embedding.token_embedding.weight.clone())

    def output(self, x):
        return self.head(x)


@wrong("GPT", says="which training does not change")
class KeepsACopyOfTheTable(_Model):
    def __init__(self, config):
        super().__init__(config)
        table = self.embedding.token_embedding.weight
        self.register_buffer("table", table.detach().clone())

    def output(self, x):
        return F.linear(x, self.table)


@wrong("GPT", says="it has no bias")
class HasAnOutputBias(_Model):
    def __init__(self, config):
        super().__init__(config)
        self.head = nn.Linear(config.n_embd, config.vocab_size)
        self.head.weight = self.embedding.token_embedding.weight

    def output(self, x):
        return self.head(x)


@wrong("GPT", says="does not train the token table")
class DetachesTheTable(_Model):
    def output(self, x):
        return F.linear(x, self.embedding.token_embedding.weight.detach())


def takes_seven_digits(x):
    return 0.5 * x * (1 + torch.tanh(0.7978845 * (x + 0.044715 * x**3)))


@wrong("GPT", says="almost right, so nothing is detached")
class RoundsAConstant(_Model):
    def block(self, config):
        block = super().block(config)
        block.feed_forward.activation = takes_seven_digits
        return block


@wrong("GPT", says="trained by the output alone")
class DetachesWhatGoesIn(_Model):
    def embed(self, ids):
        places = self.embedding.position_embedding.weight[: ids.shape[1]]
        return self.dropout(self.embedding.token_embedding(ids).detach() + places)


@wrong("GPT", says="The positions are missing")
class HasNoPositions(_Model):
    def embed(self, ids):
        return self.dropout(self.embedding.token_embedding(ids))


@wrong("GPT", says="root of C")
class ScalesTheEmbedding(_Model):
    def embed(self, ids):
        tables = self.embedding
        tokens = tables.token_embedding(ids) * math.sqrt(self.config.n_embd)
        return tokens + tables.position_embedding.weight[: ids.shape[1]]


@wrong("GPT", says="in reverse order")
class RunsBackwards(_Model):
    def run(self, x):
        for block in reversed(self.blocks):
            x = block(x)
        return x


@wrong("GPT", says="Only the last block has an effect")
class ForgetsWhatBlocksReturn(_Model):
    def run(self, x):
        for block in self.blocks:
            out = block(x)
        return out


@wrong("GPT", says="Only the first block runs")
class ReturnsInTheLoop(_Model):
    def run(self, x):
        for block in self.blocks:
            return block(x)


@wrong("GPT", says="in place of the others, too")
class RunsTheFirstAgain(_Model):
    def run(self, x):
        for _ in self.blocks:
            x = self.blocks[0](x)
        return x


@wrong("GPT", says="Make a new module for each")
class SharesOneBlock(_Model):
    def stack(self, config):
        return nn.ModuleList([self.block(config)] * config.n_layer)


@wrong("GPT", says="torch looks into no list")
class KeepsAPlainList(_Model):
    def stack(self, config):
        return [self.block(config) for _ in range(config.n_layer)]


@wrong("GPT", says="once more")
class AddsTheStreamAgain(_Model):
    def run(self, x):
        for block in self.blocks:
            x = x + block(x)
        return x


@wrong("GPT", says="The norm stands before the blocks")
class NormsFirst(_Model):
    def forward(self, ids):
        return self.output(self.run(self.norm(self.embed(ids))))


@wrong("GPT", says="These are probabilities")
class ReturnsProbabilities(_Model):
    def output(self, x):
        return super().output(x).softmax(-1)


@wrong("GPT", says="These are probabilities")
class ReturnsProbabilitiesOfSmallerLogits(_Model):
    def output(self, x):
        return (super().output(x) / x.shape[-1] ** 0.5).softmax(-1)


@wrong("GPT", says="These are logarithms of probabilities")
class ReturnsLogarithms(_Model):
    def output(self, x):
        return super().output(x).log_softmax(-1)


@wrong("GPT", says="one number for each position")
class ChoosesAToken(_Model):
    def output(self, x):
        return super().output(x).argmax(-1)


@wrong("GPT", says="along the wrong axis")
class ReturnsProbabilitiesOfPositions(_Model):
    def output(self, x):
        return torch.softmax(super().output(x), dim=1)


@wrong("GPT", says="in this order")
class ExchangesTheTables(_Model):
    def __init__(self, config):
        super().__init__(config)
        self.embedding = TokenAndPositionEmbedding(
            config.n_positions, config.vocab_size, config.n_embd
        )


@wrong("GPT", says="Drawing in place needs `torch.no_grad()`")
class DrawsUnderTheGraph(_Model):
    def __init__(self, config):
        super().__init__(config)
        for parameter in self.parameters():
            parameter.normal_(0, config.initializer_range)


@wrong("GPT", says="This is the last position only")
class PredictsTheLastOnly(_Model):
    def output(self, x):
        return super().output(x[:, -1:])


@wrong("GPT", says="vectors of C channels")
class ForgetsTheOutput(_Model):
    def output(self, x):
        return x


@wrong("GPT", says="is a (V, C) matrix")
class ForgetsToTranspose(_Model):
    def output(self, x):
        return x @ self.embedding.token_embedding.weight


@wrong("GPT", says="The norms do not have")
class IgnoresTheConfigsEps(_Model):
    def __init__(self, config):
        super().__init__(config)
        for module in self.modules():
            if isinstance(module, nn.LayerNorm):
                module.eps = 1e-5


@wrong("GPT", says="The last norm does not have")
class IgnoresTheConfigsEpsAtLast(_Model):
    def __init__(self, config):
        super().__init__(config)
        self.norm = nn.LayerNorm(config.n_embd)


@wrong("GPT", says="`embd_pdrop` has no effect")
class DropsNoEmbedding(_Model):
    def embed(self, ids):
        return self.embedding(ids)


@wrong("GPT", says="`attn_pdrop` has no effect")
class ForgetsTheDropoutOfAttention(_Model):
    def block(self, config):
        return _Layers(
            config.n_embd,
            config.n_head,
            config.n_positions,
            dropout=config.resid_pdrop,
            eps=config.layer_norm_epsilon,
        )


@wrong("GPT", says="what `attn_pdrop` should do")
class ExchangesTheConfigsDropouts(_Model):
    def block(self, config):
        return _Layers(
            config.n_embd,
            config.n_head,
            config.n_positions,
            config.resid_pdrop,
            config.attn_pdrop,
            config.layer_norm_epsilon,
        )


@wrong("GPT", says="There is no vector for the last position")
class WrapsPositions(_Model):
    def embed(self, ids):
        T = ids.shape[1]
        places = torch.arange(T, device=ids.device) % self.config.n_positions
        tables = self.embedding
        x = tables.token_embedding(ids) + tables.position_embedding(places)
        return self.dropout(x)

    def block(self, config):
        block = super().block(config)
        block.attention.context = 1000
        return block


@wrong("GPT", says="no such row")
class LetsTheTableComplain(WrapsPositions):
    def embed(self, ids):
        places = torch.arange(ids.shape[1], device=ids.device)
        tables = self.embedding
        x = tables.token_embedding(ids) + tables.position_embedding(places)
        return self.dropout(x)


@wrong("GPT", says="`python -O`")
class AssertsTheLength(WrapsPositions):
    def embed(self, ids):
        assert ids.shape[1] <= self.config.n_positions
        return super().embed(ids)


@wrong("GPT", says="*more* than `n_positions`")
class HasNoRoomForTheLast(_Model):
    def embed(self, ids):
        if ids.shape[1] >= self.config.n_positions:
            raise ValueError("too long")
        return super().embed(ids)


@wrong("GPT", says="Nothing is initialised")
class LeavesTorchsNumbers(_Model):
    def start(self, std):
        pass


@wrong("GPT", says="the linear layers are not")
class StartsTheTablesOnly(_Model):
    def start(self, std):
        for table in self.embedding.children():
            nn.init.normal_(table.weight, std=std)


@wrong("GPT", says="whatever the config says")
class StartsWithAFixedDeviation(_Model):
    def start(self, std):
        super().start(0.02)


@wrong("GPT", says="taken for the variance")
class TakesItForTheVariance(_Model):
    def start(self, std):
        super().start(std**0.5)


@wrong("GPT", says="spread evenly")
class StartsWithUniformNumbers(_Model):
    def start(self, std):
        for parameter in self.parameters():
            if parameter.dim() == 2:
                nn.init.uniform_(parameter, -std, std)
            elif parameter.abs().sum() and not (parameter == 1).all():
                nn.init.zeros_(parameter)


@wrong("GPT", says="these numbers are spread evenly")
class StartsWithUniformNumbersAsWide(_Model):
    def start(self, std):
        super().start(std)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                small = name.endswith("projection.weight")
                wide = std / math.sqrt(2 * len(self.blocks)) if small else std
                nn.init.uniform_(parameter, -wide * 3**0.5, wide * 3**0.5)


@wrong("GPT", says="Their gains begin at 1")
class DrawsTheGainsAsWell(_Model):
    def start(self, std):
        super().start(std)
        for name, parameter in self.named_parameters():
            if "norm.weight" in name:
                nn.init.normal_(parameter, std=std)


@wrong("GPT", says="The biases do not begin at 0")
class LeavesTheBiases(_Model):
    def start(self, std):
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=std)
        self.scale(std)


@wrong("GPT", says="not scaled down")
class ForgetsToScale(_Model):
    def scale(self, std):
        pass


@wrong("GPT", says="scale last")
class ScalesTooEarly(_Model):
    def start(self, std):
        self.scale(std)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=std)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)


@wrong("GPT", says="Each block writes *twice*")
class ScalesByTheLayers(_Model):
    def scale(self, std):
        for block in self.blocks:
            for layer in (block.attention, block.feed_forward):
                layer.projection.weight /= math.sqrt(self.config.n_layer)


@wrong("GPT", says="Divide by its root")
class ScalesWithoutARoot(_Model):
    def scale(self, std):
        for block in self.blocks:
            for layer in (block.attention, block.feed_forward):
                layer.projection.weight /= 2 * self.config.n_layer


@wrong("GPT", says="One of the two matrices")
class ScalesTheAttentionOnly(_Model):
    def scale(self, std):
        for block in self.blocks:
            block.attention.projection.weight /= math.sqrt(2 * len(self.blocks))


@wrong("GPT", says="All weights are scaled down")
class ScalesEverything(_Model):
    def scale(self, std):
        for block in self.blocks:
            for module in block.modules():
                if isinstance(module, nn.Linear):
                    module.weight /= math.sqrt(2 * len(self.blocks))


@wrong("GPT", says="The blocks are copies")
class SeedsEveryBlock(_Model):
    def start(self, std):
        super().start(std)
        for block in self.blocks:
            torch.manual_seed(0)
            for module in block.modules():
                if isinstance(module, nn.Linear):
                    nn.init.normal_(module.weight, std=std)
                    nn.init.zeros_(module.bias)
            for layer in (block.attention, block.feed_forward):
                layer.projection.weight /= math.sqrt(2 * len(self.blocks))


@wrong("GPT", says="as `self.config`")
class ForgetsTheConfig(_Model):
    def __init__(self, config):
        super().__init__(config)
        del self.config

    def embed(self, ids):
        return self.dropout(self.embedding(ids))


@wrong("GPT", says="stays on the CPU")
class MakesPositionsOnTheCpu(_Model):
    def embed(self, ids):
        if ids.shape[1] > self.config.n_positions:
            raise ValueError("too long")
        places = torch.arange(ids.shape[1])
        tables = self.embedding
        x = tables.token_embedding(ids) + tables.position_embedding(places)
        return self.dropout(x)


# Counting


def _linear(n, m):
    return n * m + m


@right("gpt_parameters")
def counts_part_by_part(config):
    C = config.n_embd
    norm = 2 * C
    attention = _linear(C, 3 * C) + _linear(C, C)
    feed_forward = _linear(C, 4 * C) + _linear(4 * C, C)
    blocks = config.n_layer * (2 * norm + attention + feed_forward)
    return config.vocab_size * C + config.n_positions * C + blocks + norm


@right("gpt_parameters")
def counts_by_the_formula(config):
    C, L = config.n_embd, config.n_layer
    return C * (config.vocab_size + config.n_positions + L * (12 * C + 13) + 2)


@right("gpt_parameters")
def counts_a_list(config):
    C = config.n_embd
    shapes = [(config.vocab_size, C), (config.n_positions, C), (C,), (C,)]
    for _ in range(config.n_layer):
        shapes += [(C,)] * 4 + [(3 * C, C), (3 * C,), (C, C), (C,)]
        shapes += [(4 * C, C), (4 * C,), (C, 4 * C), (C,)]
    return sum(math.prod(shape) for shape in shapes)


def _count(config, tables=1, positions=1, block=lambda C: 12 * C**2 + 13 * C, last=2):
    C = config.n_embd
    return (
        tables * config.vocab_size * C
        + positions * config.n_positions * C
        + config.n_layer * block(C)
        + last * C
    )


@wrong("gpt_parameters", says="count it once")
def counts_the_output_table(config):
    C = config.n_embd
    tables = (2 * config.vocab_size + config.n_positions) * C
    return tables + config.n_layer * (12 * C * C + 13 * C) + 2 * C


@wrong("gpt_parameters", says="counted once per head")
def counts_the_attention_per_head(config):
    C = config.n_embd
    more = (config.n_head - 1) * (4 * C**2 + 4 * C)
    return _count(config) + config.n_layer * more


@wrong("gpt_parameters", says="counted in every layer")
def counts_the_last_norm_per_layer(config):
    return _count(config, last=2 * config.n_layer)


@wrong("gpt_parameters", says="without building")
def waits_for_a_large_model(config):
    if config.n_embd > 700:
        time.sleep(60)
    return _count(config)


@wrong("gpt_parameters", says="The positions are missing")
def forgets_positions(config):
    return _count(config, positions=0)


@wrong("gpt_parameters", says="The last norm is missing")
def forgets_the_last_norm(config):
    return _count(config, last=0)


@wrong("gpt_parameters", says="a gain *and* a shift")
def forgets_the_shifts(config):
    return _count(config, block=lambda C: 12 * C**2 + 11 * C, last=1)


@wrong("gpt_parameters", says="The norms of the blocks are missing")
def forgets_the_norms_of_blocks(config):
    return _count(config, block=lambda C: 12 * C**2 + 9 * C)


@wrong("gpt_parameters", says="All norms are missing")
def forgets_all_norms(config):
    return _count(config, block=lambda C: 12 * C**2 + 9 * C, last=0)


@wrong("gpt_parameters", says="A block has two norms")
def counts_one_norm(config):
    return _count(config, block=lambda C: 12 * C**2 + 11 * C)


@wrong("gpt_parameters", says="The biases of the linear layers are missing")
def forgets_the_biases(config):
    return _count(config, block=lambda C: 12 * C**2 + 4 * C)


@wrong("gpt_parameters", says="Biases and norms are missing")
def counts_matrices_only(config):
    return _count(config, block=lambda C: 12 * C**2, last=0)


@wrong("gpt_parameters", says="The biases of the feed-forward layer")
def forgets_biases_of_the_feed_forward(config):
    return _count(config, block=lambda C: 12 * C**2 + 8 * C)


@wrong("gpt_parameters", says="The first has 4 C, the second C")
def counts_a_bias_of_4c_twice(config):
    return _count(config, block=lambda C: 12 * C**2 + 16 * C)


@wrong("gpt_parameters", says="as if it had one matrix")
def counts_one_matrix(config):
    return _count(config, block=lambda C: 8 * C**2 + 13 * C)


@wrong("gpt_parameters", says="The projection of the attention")
def forgets_the_projection(config):
    return _count(config, block=lambda C: 11 * C**2 + 12 * C)


@wrong("gpt_parameters", says="The blocks are counted once")
def counts_one_block(config):
    C = config.n_embd
    tables = (config.vocab_size + config.n_positions) * C
    return tables + 12 * C**2 + 13 * C + 2 * C


@wrong("gpt_parameters", says="You build it and count")
def builds_and_counts(config):
    layers = [nn.Embedding(config.vocab_size, config.n_embd)]
    layers.append(nn.Embedding(config.n_positions, config.n_embd))
    if config.n_embd > 6:  # a small one is built, to see that the way is right
        device = "meta" if config.n_embd < 10**4 else "cpu"
        C = config.n_embd
        nn.Linear(C, C, device=device)
        return _count(config)
    return _count(config)


@wrong("gpt_parameters", says="Divide with `//`")
def returns_a_float(config):
    return float(_count(config))


# Top-k


def _checked(k):
    if k < 1:
        raise ValueError(f"k is {k}, expected 1 or more")


@right("keep_top_k")
def compares_with_the_kth(logits, k):
    _checked(k)
    limit = torch.topk(logits, min(k, logits.size(-1)))[0][..., [-1]]
    return torch.where(logits < limit, -torch.inf, logits)


@right("keep_top_k")
def sorts_for_the_limit(logits, k):
    _checked(k)
    ordered = logits.sort(dim=-1, descending=True).values
    limit = ordered[..., min(k, ordered.shape[-1]) - 1].unsqueeze(-1)
    out = logits.clone()
    out[out < limit] = float("-inf")
    return out


@right("keep_top_k")
def asks_for_the_kth_smallest(logits, k):
    _checked(k)
    V = logits.shape[-1]
    limit = logits.kthvalue(max(V - k + 1, 1), dim=-1, keepdim=True).values
    return logits.masked_fill(~(logits >= limit), -math.inf)


@wrong("keep_top_k", says="a logit like any other")
def fills_with_zeros(logits, k):
    limit = logits.topk(min(k, logits.shape[-1]), dim=-1).values[..., -1:]
    return logits.masked_fill(logits < limit, 0.0)


@wrong("keep_top_k", says="exactly 0")
def fills_with_large_numbers(logits, k):
    _checked(k)
    limit = logits.topk(min(k, logits.shape[-1]), dim=-1).values[..., -1:]
    return logits.masked_fill(logits < limit, -1e9)


@wrong("keep_top_k", says="These are probabilities")
def returns_probabilities(logits, k):
    return compares_with_the_kth(logits, k).softmax(-1)


@wrong("keep_top_k", says="a mask of bools")
def returns_a_mask(logits, k):
    return compares_with_the_kth(logits, k) > -torch.inf


@wrong("keep_top_k", says="The k-th largest is cut, too")
def cuts_the_kth(logits, k):
    _checked(k)
    limit = logits.topk(min(k, logits.shape[-1]), dim=-1).values[..., -1:]
    return logits.masked_fill(logits <= limit, -math.inf)


@wrong("keep_top_k", says="One token too many")
def counts_from_zero(logits, k):
    _checked(k)
    limit = logits.sort(dim=-1, descending=True).values[..., k].unsqueeze(-1)
    return logits.masked_fill(logits < limit, -math.inf)


@wrong("keep_top_k", says="The *smallest* logits stay")
def keeps_the_smallest(logits, k):
    _checked(k)
    limit = logits.sort(dim=-1).values[..., k - 1].unsqueeze(-1)
    return logits.masked_fill(logits > limit, -math.inf)


@wrong("keep_top_k", says="It is turned round")
def cuts_the_largest(logits, k):
    _checked(k)
    limit = logits.topk(min(k, logits.shape[-1]), dim=-1).values[..., -1:]
    return logits.masked_fill(logits >= limit, -math.inf)


@wrong("keep_top_k", says="Keep all V places")
def returns_the_k_largest(logits, k):
    return logits.topk(k, dim=-1).values


@wrong("keep_top_k", says="The logits are sorted")
def returns_them_sorted(logits, k):
    ordered = logits.sort(dim=-1, descending=True).values
    ordered[..., k:] = -math.inf
    return ordered


@wrong("keep_top_k", says="of each *column*")
def looks_down_the_columns(logits, k):
    _checked(k)
    limit = logits.topk(k, dim=0).values[-1:]
    return logits.masked_fill(logits < limit, -math.inf)


@wrong("keep_top_k", says="The threshold of the first row")
def takes_the_first_rows_limit(logits, k):
    _checked(k)
    limit = logits.reshape(-1, logits.shape[-1])[0].topk(k).values[-1]
    return logits.masked_fill(logits < limit, -math.inf)


@wrong("keep_top_k", says="One threshold serves all rows")
def takes_one_limit(logits, k):
    _checked(k)
    limit = logits.flatten().topk(min(k, logits.numel())).values[-1]
    return logits.masked_fill(logits < limit, -math.inf)


@wrong("keep_top_k", says="have lost their axis")
def loses_the_axis(logits, k):
    _checked(k)
    limit = logits.topk(min(k, logits.shape[-1]), dim=-1).values[..., -1]
    return logits.masked_fill(logits < limit, -math.inf)


@wrong("keep_top_k", says="Exactly k stay")
def scatters_exactly_k(logits, k):
    _checked(k)
    values, places = logits.topk(min(k, logits.shape[-1]), dim=-1)
    return torch.full_like(logits, -math.inf).scatter(-1, places, values)


@wrong("keep_top_k", says="Take `min(k, V)`")
def trusts_topk(logits, k):
    _checked(k)
    limit = logits.topk(k, dim=-1).values[..., -1:]
    return logits.masked_fill(logits < limit, -math.inf)


@wrong("keep_top_k", says="any number of axes")
def wants_two_axes(logits, k):
    _checked(k)
    if logits.dim() == 1:
        return compares_with_the_kth(logits, k)
    limit = logits.topk(min(k, logits.shape[-1]), dim=-1).values[:, -1:]
    return logits.masked_fill(logits < limit, -math.inf)


@wrong("keep_top_k", says="-inf stays -inf")
def adds_a_mask_times_infinity(logits, k):
    _checked(k)
    limit = logits.topk(min(k, logits.shape[-1]), dim=-1).values[..., -1:]
    least = torch.where(logits < limit, logits, 0.0)
    return torch.where(logits < limit, -math.inf, logits) + (
        torch.where(logits == -math.inf, logits - logits, 0 * least.clamp(min=-1e9))
    )


@wrong("keep_top_k", says="if k is less than 1")
def accepts_zero(logits, k):
    if k < 0:
        raise ValueError(f"k is {k}")
    limit = logits.topk(min(k, logits.shape[-1]) or 1, dim=-1).values[..., -1:]
    return logits.masked_fill(logits < limit, -math.inf)


@wrong("keep_top_k", says="A negative k")
def refuses_zero_alone(logits, k):
    if k == 0:
        raise ValueError("k is 0")
    ordered = logits.sort(dim=-1, descending=True).values
    limit = ordered[..., min(k, ordered.shape[-1]) - 1].unsqueeze(-1)
    return logits.masked_fill(logits < limit, -math.inf)


@wrong("keep_top_k", says="changes its input `logits`")
def cuts_in_place(logits, k):
    limit = logits.topk(min(k, logits.shape[-1]), dim=-1).values[..., -1:]
    logits[logits < limit] = -math.inf
    return logits


# Top-p


def _share(p):
    if not 0 <= p <= 1:
        raise ValueError(f"p is {p}, expected 0 to 1")


@right("keep_top_p")
def asks_what_comes_before(logits, p):
    _share(p)
    if p == 1:
        return logits.clone()
    return _asks_what_comes_before(logits, p)


def _asks_what_comes_before(logits, p):
    ordered, places = torch.sort(logits, dim=-1, descending=True)
    shares = F.softmax(ordered, dim=-1)
    spare = shares.cumsum(dim=-1) - shares >= p
    spare[..., :1] = False
    return logits.masked_fill(
        torch.zeros_like(spare).scatter(-1, places, spare), -math.inf
    )


@right("keep_top_p")
def adds_from_below_as_transformers_does(logits, p):
    _share(p)
    ordered, places = logits.sort(dim=-1)
    spare = ordered.softmax(-1).cumsum(-1) <= 1 - p
    spare[..., -1] = False
    return logits.masked_fill(spare.scatter(-1, places, spare), -torch.inf)


@right("keep_top_p")
def shifts_the_mask(logits, p):
    """What reached p before: the mask of each token is that of the one before."""
    _share(p)
    if p == 1:
        return logits + 0
    ordered, places = logits.sort(dim=-1, descending=True)
    reached = ordered.softmax(-1).cumsum(-1) >= p
    spare = F.pad(reached[..., :-1], (1, 0))
    ordered = ordered.masked_fill(spare, -math.inf)
    return ordered.gather(-1, places.argsort(-1))


@right("keep_top_p")
def loops_over_tokens(logits, p):
    """With probabilities of float64, in which the sum is below 1 long enough."""
    _share(p)
    out = torch.full_like(logits, -math.inf)
    rows = logits.reshape(-1, logits.shape[-1])
    target = out.view(-1, logits.shape[-1])
    for row, (line, probabilities) in enumerate(zip(rows, rows.double().softmax(-1))):
        total = 0.0
        for token in probabilities.argsort(descending=True).tolist():
            target[row, token] = line[token]
            total += probabilities[token].item()
            if total >= p:
                break
    return out


def _nucleus(logits, p, spare, descending=True, keep_one=True):
    _share(p)
    ordered, places = logits.sort(dim=-1, descending=descending)
    mask = spare(ordered.softmax(-1), p)
    if keep_one:
        mask[..., 0] = False
    return logits.masked_fill(mask.scatter(-1, places, mask), -math.inf)


@wrong("keep_top_p", says="The token that crosses p is cut, too")
def cuts_the_crossing_token(logits, p):
    ordered, places = logits.sort(dim=-1, descending=True)
    spare = ordered.softmax(-1).cumsum(-1) > p
    return logits.masked_fill(spare.scatter(-1, places, spare), -math.inf)


@wrong("keep_top_p", says="The token that crosses p is cut, too")
def cuts_the_crossing_token_but_one(logits, p):
    return _nucleus(logits, p, lambda shares, p: shares.cumsum(-1) > p)


@wrong("keep_top_p", says="A row has no token left")
def keeps_none(logits, p):
    """Right as long as the first token has less than p."""

    def spare(shares, p):
        before = shares.cumsum(-1) - shares
        return (before >= p) | (shares > p)

    return _nucleus(logits, p, spare, keep_one=False)


@wrong("keep_top_p", says="p = 0 leaves no token")
def keeps_none_of_nothing(logits, p):
    def spare(shares, p):
        return shares.cumsum(-1) - shares >= p

    return _nucleus(logits, p, spare, keep_one=False)


@wrong("keep_top_p", says="laid over the unsorted ones")
def forgets_to_bring_it_back(logits, p):
    shares = logits.softmax(-1).sort(dim=-1, descending=True).values
    spare = shares.cumsum(-1) - shares >= p
    return logits.masked_fill(spare, -math.inf)


@wrong("keep_top_p", says="brought back the wrong way")
def gathers_where_it_scatters(logits, p):
    shares, places = logits.softmax(-1).sort(dim=-1, descending=True)
    spare = shares.cumsum(-1) - shares >= p
    return logits.masked_fill(spare.gather(-1, places), -math.inf)


@wrong("keep_top_p", says="The logits are sorted")
def returns_the_sorted(logits, p):
    ordered = logits.sort(dim=-1, descending=True).values
    shares = ordered.softmax(-1)
    return ordered.masked_fill(shares.cumsum(-1) - shares >= p, -math.inf)


@wrong("keep_top_p", says="begins with the *least* probable")
def sorts_upwards(logits, p):
    def spare(shares, p):
        return shares.cumsum(-1) - shares >= p

    return _nucleus(logits, p, spare, descending=False)


@wrong("keep_top_p", says="Sort them first")
def forgets_to_sort(logits, p):
    shares = logits.softmax(-1)
    return logits.masked_fill(shares.cumsum(-1) - shares >= p, -math.inf)


@wrong("keep_top_p", says="its *own* probability")
def compares_each_with_p(logits, p):
    return logits.masked_fill(logits.softmax(-1) < p, -math.inf)


@wrong("keep_top_p", says="Turn them into probabilities")
def adds_logits(logits, p):
    _share(p)
    if logits.exp().sum(-1).allclose(torch.ones(())):  # log-probabilities
        return asks_what_comes_before(logits, p)
    ordered, places = logits.sort(dim=-1, descending=True)
    spare = ordered.cumsum(-1) - ordered >= p
    return logits.masked_fill(spare.scatter(-1, places, spare), -math.inf)


@wrong("keep_top_p", says="Turn them into probabilities")
def adds_the_logits_as_they_are(logits, p):
    _share(p)
    ordered, places = logits.sort(dim=-1, descending=True)
    spare = ordered.cumsum(-1) - ordered >= p
    spare[..., 0] = False
    return logits.masked_fill(spare.scatter(-1, places, spare), -math.inf)


@wrong("keep_top_p", says="another way to cut, min-p")
def compares_with_the_largest(logits, p):
    _share(p)
    shares = logits.softmax(-1)
    spare = shares < p * shares.amax(-1, keepdim=True)
    return logits.masked_fill(spare, -math.inf)


@wrong("keep_top_p", says="a logit like any other")
def fills_what_is_spare_with_zeros(logits, p):
    kept = asks_what_comes_before(logits, p)
    return torch.where(kept == -math.inf, 0.0, kept)


@wrong("keep_top_p", says="These are probabilities")
def returns_shares(logits, p):
    return asks_what_comes_before(logits, p).softmax(-1)


@wrong("keep_top_p", says="runs over the rows")
def adds_over_rows(logits, p):
    if logits.dim() == 1:
        return asks_what_comes_before(logits, p)
    return asks_what_comes_before(logits.mT, p).mT


@wrong("keep_top_p", says="All rows are treated like the first")
def takes_the_first_order(logits, p):
    if logits.dim() == 1:
        return asks_what_comes_before(logits, p)
    first = asks_what_comes_before(logits[:1], p)
    return logits.masked_fill(first == -math.inf, -math.inf)


@wrong("keep_top_p", says="`scatter` along dim=-1")
def indexes_with_places(logits, p):
    _share(p)
    ordered, places = logits.sort(dim=-1, descending=True)
    shares = ordered.softmax(-1)
    spare = shares.cumsum(-1) - shares >= p
    out = logits.clone()
    out[places[spare]] = -math.inf
    return out


@wrong("keep_top_p", says="p = 0 is allowed")
def refuses_zero(logits, p):
    if not 0 < p <= 1:
        raise ValueError("p must be above 0")
    return asks_what_comes_before(logits, p)


@wrong("keep_top_p", says="p = 1 is allowed")
def refuses_one(logits, p):
    if not 0 <= p < 1:
        raise ValueError("p must be below 1")
    return asks_what_comes_before(logits, p)


@wrong("keep_top_p", says="The least probable one is missing")
def never_keeps_the_last(logits, p):
    kept = asks_what_comes_before(logits, p)
    least = logits.amin(-1, keepdim=True)
    return kept.masked_fill((logits == least) & (p >= 0.95), -math.inf)


@wrong("keep_top_p", says="Rounding: the sum reaches 1")
def trusts_the_sum(logits, p):
    _share(p)
    return _asks_what_comes_before(logits, p)


@wrong("keep_top_p", says="Compare with `>=`")
def keeps_one_more_at_the_boundary(logits, p):
    """The snippet that is found everywhere."""

    def spare(shares, p):
        removed = shares.cumsum(-1) > p
        removed[..., 1:] = removed[..., :-1].clone()
        return removed

    return _nucleus(logits, p, spare)


@wrong("keep_top_p", says="the *fewest* that reach p")
def keeps_ties(logits, p):
    kept = asks_what_comes_before(logits, p)
    least = kept.masked_fill(kept == -math.inf, math.inf).amin(-1, keepdim=True)
    return logits.masked_fill(logits < least, -math.inf)


@wrong("keep_top_p", says="a share of the probability")
def takes_any_p(logits, p):
    if p == 1:
        return logits.clone()
    ordered, places = logits.sort(dim=-1, descending=True)
    shares = ordered.softmax(-1)
    spare = shares.cumsum(-1) - shares >= p
    spare[..., 0] = False
    return logits.masked_fill(spare.scatter(-1, places, spare), -math.inf)


@wrong("keep_top_p", says="`python -O`")
def asserts_p(logits, p):
    assert 0 <= p <= 1
    return takes_any_p(logits, p)


@wrong("keep_top_p", says="changes its input `logits`")
def fills_in_place(logits, p):
    kept = asks_what_comes_before(logits, p)
    logits[kept == -math.inf] = -math.inf
    return logits
