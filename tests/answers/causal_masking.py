"""Answers to "Attention that cannot see the future": right in other ways, and wrong."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from solutions.attention import attention_scores
from solutions.causal_masking import Dropout
from tests.answers import right, wrong

# Causal mask


@right("causal_mask")
def compares_places(length, device=None):
    place = torch.arange(length, device=device)
    return place[:, None] >= place


@right("causal_mask")
def negates_the_upper_triangle(length, device=None):
    return ~torch.triu(torch.ones(length, length, device=device), diagonal=1).bool()


@right("causal_mask")
def fills_row_by_row(length, device=None):
    mask = torch.zeros(length, length, dtype=torch.bool, device=device)
    for t in range(length):
        mask[t, : t + 1] = True
    return mask


@wrong("causal_mask", says="on its side")
def takes_the_upper_triangle(length, device=None):
    return torch.ones(length, length, dtype=torch.bool, device=device).triu()


@wrong("causal_mask", says="cannot see its own token")
def leaves_the_diagonal_out(length, device=None):
    place = torch.arange(length, device=device)
    return place[:, None] > place


@wrong("causal_mask", says="sees the token after it")
def takes_one_diagonal_more(length, device=None):
    return torch.ones(length, length, dtype=torch.bool, device=device).tril(1)


@wrong("causal_mask", says="swapped")
def marks_what_is_hidden(length, device=None):
    return torch.ones(length, length, dtype=torch.bool, device=device).triu(1)


@wrong("causal_mask", says="holds bools")
def returns_numbers(length, device=None):
    return torch.tril(torch.ones(length, length, device=device))


@wrong("causal_mask", says="holds bools")
def returns_what_is_to_be_added(length, device=None):
    return torch.full((length, length), -math.inf, device=device).triu(1)


@wrong("causal_mask", says="BERT")
def hides_nothing(length, device=None):
    return torch.ones(length, length, dtype=torch.bool, device=device)


@wrong("causal_mask", says="no effect yet")
def forgets_the_device(length, device=None):
    return torch.ones(length, length, dtype=torch.bool).tril()


# Masked weights


@right("masked_weights")
def adds_minus_infinity(scores, mask):
    added = torch.zeros(mask.shape, dtype=scores.dtype, device=scores.device)
    added = added.masked_fill(~mask, -math.inf)
    blind = (~mask).all(-1, keepdim=True)
    added = added.masked_fill(blind, 0.0)
    return torch.softmax(scores.masked_fill(~mask, 0.0) + added, -1) * mask


@right("masked_weights")
def divides_by_a_safe_sum(scores, mask):
    top = torch.where(mask, scores, -math.inf).amax(-1, keepdim=True)
    top = torch.where(top.isinf(), 0.0, top).detach()
    shares = torch.where(mask, scores - top, -math.inf).exp()
    total = shares.sum(-1, keepdim=True)
    return shares / torch.where(total == 0, 1.0, total)


@right("masked_weights")
def fills_with_the_least_number(scores, mask):
    least = torch.finfo(scores.dtype).min
    return torch.softmax(scores.masked_fill(~mask, least), -1).masked_fill(~mask, 0)


@right("masked_weights")
def lets_torch_attend(scores, mask):
    unit = torch.eye(scores.shape[-1], dtype=scores.dtype, device=scores.device)
    unit = unit.expand(*scores.shape[:-2], *unit.shape)
    mask = mask.expand(scores.shape)
    return F.scaled_dot_product_attention(scores, unit, unit, attn_mask=mask, scale=1)


@right("masked_weights")
def puts_zeros_in_place_of_nan(scores, mask):
    weights = torch.softmax(scores.masked_fill(~mask, -math.inf), -1)
    return torch.nan_to_num(weights)


@wrong("masked_weights", says="*after* the softmax")
def masks_after_the_softmax(scores, mask):
    return torch.softmax(scores, -1) * mask


@wrong("masked_weights", says="0 / 0")
def masks_after_and_renormalises(scores, mask):
    weights = torch.softmax(scores, -1) * mask
    return weights / weights.sum(-1, keepdim=True)


@wrong("masked_weights", says="900 still has an effect")
def renormalises_with_a_small_number(scores, mask):
    weights = torch.softmax(scores, -1) * mask
    return weights / (weights.sum(-1, keepdim=True) + 1e-9)


@wrong("masked_weights", says="wrong way round")
def hides_what_may_be_seen(scores, mask):
    return torch.softmax(scores.masked_fill(mask, -math.inf), -1)


@wrong("masked_weights", says="wrong way round")
def hides_what_may_be_seen_and_keeps_the_blind_rows(scores, mask):
    blind = mask.all(-1, keepdim=True)
    hidden = scores.masked_fill(mask, -math.inf).masked_fill(blind, 0.0)
    return torch.softmax(hidden, -1).masked_fill(mask, 0.0)


@wrong("masked_weights", says="*added* to the scores")
def adds_zeros_and_ones(scores, mask):
    return torch.softmax(scores + mask, -1)


@wrong("masked_weights", says="`exp(0)` is 1")
def sets_hidden_scores_to_zero(scores, mask):
    return torch.softmax(scores.masked_fill(~mask, 0.0), -1)


@wrong("masked_weights", says="`0 * -inf`")
def multiplies_by_infinity(scores, mask):
    return torch.softmax(scores + (~mask) * -math.inf, -1)


@wrong("masked_weights", says="columns")
def softmax_over_the_columns(scores, mask):
    return torch.softmax(scores.masked_fill(~mask, -math.inf), -2)


@wrong("masked_weights", says="runs over axis 1")
def softmax_over_axis_1(scores, mask):
    hidden = ~mask
    empty = hidden.all(1, keepdim=True)
    scores = scores.masked_fill(hidden, -math.inf).masked_fill(empty, 0.0)
    return torch.softmax(scores, 1).masked_fill(hidden, 0.0)


@wrong("masked_weights", says="runs over axis 1")
def softmax_over_axis_1_with_nan(scores, mask):
    return torch.softmax(scores.masked_fill(~mask, -math.inf), 1)


@wrong("masked_weights", says="without a mask")
def ignores_the_mask(scores, mask):
    return torch.softmax(scores, -1)


@wrong("masked_weights", says="one NaN spoils")
def forgets_blind_rows(scores, mask):
    return torch.softmax(scores.masked_fill(~mask, -math.inf), -1)


@wrong("masked_weights", says="all hidden")
def fills_with_minus_a_billion(scores, mask):
    return torch.softmax(scores.masked_fill(~mask, -1e9), -1)


@wrong("masked_weights", says="does not exist in float16")
def fills_with_minus_a_billion_and_clears(scores, mask):
    weights = torch.softmax(scores.masked_fill(~mask, -1e9), -1)
    return weights.masked_fill(~mask, 0.0)


@wrong("masked_weights", says="is not -inf")
def fills_with_minus_ten_thousand(scores, mask):
    weights = torch.softmax(scores.masked_fill(~mask, -1e4), -1)
    blind = (~mask).all(-1, keepdim=True)
    return weights.masked_fill(blind, 0.0)


@wrong("masked_weights", says="`scores`")
def writes_into_the_scores(scores, mask):
    with torch.no_grad():
        scores[..., ~mask[..., :, :]] = -math.inf
    return torch.softmax(scores, -1)


@wrong("masked_weights", says="axes in front")
def expects_no_batch(scores, mask):
    rows, columns = scores.shape
    return torch.softmax(
        torch.stack([scores[t].masked_fill(~mask[t], -math.inf) for t in range(rows)]),
        -1,
    )


# Stolen score


@right("stolen_score")
def by_the_total_of_the_row(weights, scores):
    seen = torch.logsumexp(scores[..., -2, :-1], dim=-1)
    share = weights[..., -2, :-1].sum(-1)
    return seen + torch.log1p(-share) - share.log()


@right("stolen_score")
def by_the_mean_over_the_visible(weights, scores):
    row, known = weights[..., -2, :], scores[..., -2, :]
    missing = 1 - row.sum(-1)
    # Each visible token says the same; weigh them by how much they know.
    each = known - row.log() + missing.log().unsqueeze(-1)
    each = torch.where(row > 0, each, 0.0)
    return (each * row).sum(-1) / row.sum(-1)


@right("stolen_score")
def one_text_at_a_time(weights, scores):
    flat = weights.reshape(-1, *weights.shape[-2:])
    known = scores.reshape(flat.shape)
    found = []
    for w, s in zip(flat, known, strict=True):
        best = int(w[-2].argmax())
        found.append(s[-2, best] + torch.log((1 - w[-2].sum()) / w[-2, best]))
    return torch.stack(found).reshape(weights.shape[:-2])


@wrong("stolen_score", says="the *weight* that is missing")
def returns_the_missing_weight(weights, scores):
    return 1 - weights[..., -2, :].sum(-1)


@wrong("stolen_score", says="logarithm of the missing weight")
def returns_its_logarithm(weights, scores):
    return (1 - weights[..., -2, :].sum(-1)).log()


@wrong("stolen_score", says="hides nothing")
def takes_the_last_row(weights, scores):
    row = weights[..., -1, :]
    return scores[..., -1, 0] + ((1 - row.sum(-1)) / row[..., 0]).log()


@wrong("stolen_score", says="hides two tokens")
def takes_the_first_row(weights, scores):
    row = weights[..., 0, :]
    return scores[..., 0, 0] + ((1 - row.sum(-1)) / row[..., 0]).log()


@wrong("stolen_score", says="This is exp(score)")
def forgets_the_logarithm(weights, scores):
    row = weights[..., -2, :]
    return scores[..., -2, 0].exp() * (1 - row.sum(-1)) / row[..., 0]


@wrong("stolen_score", says="upside down")
def turns_the_ratio_around(weights, scores):
    row = weights[..., -2, :]
    return scores[..., -2, 0] + (row[..., 0] / (1 - row.sum(-1))).log()


@wrong("stolen_score", says="score of the visible token is missing")
def forgets_the_visible_score(weights, scores):
    row = weights[..., -2, :]
    return ((1 - row.sum(-1)) / row[..., 0]).log()


@wrong("stolen_score", says="happens to be 0")
def compares_with_the_first_only(weights, scores):
    row = weights[..., -2, :]
    return scores[..., -2, 0] + ((1 - row.sum(-1)) / row[..., 0]).log()


@wrong("stolen_score", says="happens to be 0")
def compares_with_the_diagonal_only(weights, scores):
    row = weights[..., -2, :]
    return scores[..., -2, -2] + ((1 - row.sum(-1)) / row[..., -2]).log()


@wrong("stolen_score", says="another base")
def takes_the_logarithm_to_base_2(weights, scores):
    share, place = weights[..., -2, :-1].max(-1)
    score = scores[..., -2, :-1].gather(-1, place[..., None])[..., 0]
    return score + ((1 - weights[..., -2, :].sum(-1)) / share).log2()


@wrong("stolen_score", says="A column is added up")
def adds_up_a_column(weights, scores):
    share, place = weights[..., -2, :-1].max(-1)
    score = scores[..., -2, :-1].gather(-1, place[..., None])[..., 0]
    return score + ((1 - weights.sum(-2)[..., -2]) / share).log()


@wrong("stolen_score", says="axes in front")
def expects_one_text(weights, scores):
    row = weights[-2, :-1]
    best = row.argmax()
    return scores[-2, best] + ((1 - row.sum()) / row[best]).log()


@wrong("stolen_score", says="One number")
def keeps_an_axis(weights, scores):
    seen = weights[..., -2, :-1].sum(-1, keepdim=True)
    total = torch.logsumexp(scores[..., -2, :-1], -1, keepdim=True)
    return total + ((1 - seen) / seen).log()


# Dropout


@right("dropout")
def multiplies_by_a_bernoulli(x, p, training=True, generator=None):
    if not training or p == 0:
        return x
    if p == 1:
        return torch.zeros_like(x)
    keep = torch.empty_like(x).bernoulli_(1 - p, generator=generator)
    return x * keep / (1 - p)


@right("dropout")
def keeps_where_the_dart_is_low(x, p, training=True, generator=None):
    if training:
        dart = torch.rand(x.shape, generator=generator, device=x.device)
        scaled = x / max(1 - p, torch.finfo(x.dtype).tiny)
        x = torch.where(dart < 1 - p, scaled, torch.zeros_like(x))
    return x


@right("dropout")
def draws_in_a_flat_row(x, p, training=True, generator=None):
    if not training:
        return x.clone()
    darts = torch.rand(x.numel(), generator=generator, device=x.device)
    kept = (darts.reshape(x.shape) >= p).to(x.dtype)
    return x * kept * (0 if p == 1 else 1 / (1 - p))


@wrong("dropout", says="not rescaled")
def forgets_to_rescale(x, p, training=True, generator=None):
    if not training:
        return x
    return x.masked_fill(torch.rand(x.shape, generator=generator) < p, 0.0)


@wrong("dropout", says="is divided by p")
def rescales_by_p(x, p, training=True, generator=None):
    if not training:
        return x
    return x.masked_fill(torch.rand(x.shape, generator=generator) < p, 0.0) / p


@wrong("dropout", says="shape of x")
def flattens_x(x, p, training=True, generator=None):
    if not training:
        return x
    flat = x.flatten()
    dropped = torch.rand(flat.shape, generator=generator, device=x.device) < p
    return flat.masked_fill(dropped, 0.0) / (1 - p)


@wrong("dropout", says="*multiplied*")
def multiplies_by_what_stays(x, p, training=True, generator=None):
    if not training:
        return x
    dropped = torch.rand(x.shape, generator=generator) < p
    return x.masked_fill(dropped, 0.0) * (1 - p)


@wrong("dropout", says="probability of a *zero*")
def drops_the_others(x, p, training=True, generator=None):
    if not training:
        return x
    dropped = torch.rand(x.shape, generator=generator) > p
    return x.masked_fill(dropped, 0.0) / (1 - p)


@wrong("dropout", says="whole batch")
def draws_once_for_the_batch(x, p, training=True, generator=None):
    if not training:
        return x
    dropped = torch.rand(x.shape[1:], generator=generator) < p
    return x.masked_fill(dropped, 0.0) / (1 - p)


@wrong("dropout", says="whole rows")
def drops_whole_rows(x, p, training=True, generator=None):
    if not training:
        return x
    dropped = torch.rand((*x.shape[:-1], 1), generator=generator) < p
    return x.masked_fill(dropped, 0.0) / (1 - p)


@wrong("dropout", says="although `training` is False")
def drops_in_evaluation(x, p, training=True, generator=None):
    return x.masked_fill(torch.rand(x.shape, generator=generator) < p, 0.0) / (1 - p)


@wrong("dropout", says="nothing is rescaled")
def rescales_in_evaluation(x, p, training=True, generator=None):
    if not training:
        return x * (1 - p)
    return x.masked_fill(torch.rand(x.shape, generator=generator) < p, 0.0)


@wrong("dropout", says="no effect")
def ignores_the_generator(x, p, training=True, generator=None):
    return F.dropout(x, p, training)


@wrong("dropout", says="seed is fixed")
def seeds_by_itself(x, p, training=True, generator=None):
    if not training:
        return x
    torch.manual_seed(0)
    return F.dropout(x, p)


@wrong("dropout", says="0 times infinity")
def divides_by_zero(x, p, training=True, generator=None):
    if not training:
        return x
    keep = torch.rand(x.shape, generator=generator, device=x.device) >= p
    return x * keep * torch.tensor(1 / (1 - p) if p < 1 else math.inf)


@wrong("dropout", says="no gradient reaches")
def loses_the_gradient(x, p, training=True, generator=None):
    if not training:
        return x
    dropped = torch.rand(x.shape, generator=generator, device=x.device) < p
    return x.detach().masked_fill(dropped, 0.0) / (1 - p)


@wrong("dropout", says="`x`")
def writes_into_x(x, p, training=True, generator=None):
    if not training:
        return x
    x[torch.rand(x.shape, generator=generator, device=x.device) < p] = 0.0
    x /= 1 - p
    return x


@wrong("dropout", says="another device")
def draws_on_the_cpu(x, p, training=True, generator=None):
    if not training or p == 0:
        return x
    return x.masked_fill(torch.rand(x.shape, generator=generator) < p, 0.0) / (1 - p)


# Causal head


def _weights(head, x, mask):
    scores = attention_scores(head.query(x), head.key(x))
    return scores.masked_fill(~mask, -math.inf).softmax(-1)


class Projections(nn.Module):
    """What most answers begin with; each leaves the weights to its own `forward`."""

    def __init__(self, width, head_width, context, dropout=0.0):
        super().__init__()
        self.query = nn.Linear(width, head_width, bias=False)
        self.key = nn.Linear(width, head_width, bias=False)
        self.value = nn.Linear(width, head_width, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.context = context

    def check(self, x):
        if x.shape[1] > self.context:
            raise ValueError("too many tokens")

    def mask(self, x):
        return torch.ones(x.shape[1], x.shape[1], device=x.device).tril() == 1


@right("CausalHead")
class MakesTheMaskInForward(Projections):
    def forward(self, x):
        self.check(x)
        return self.dropout(_weights(self, x, self.mask(x))) @ self.value(x)


@right("CausalHead")
class KeepsAMaskOfNumbers(Projections):
    def __init__(self, width, head_width, context, dropout=0.0):
        super().__init__(width, head_width, context, dropout)
        self.dropout = Dropout(dropout)
        self.register_buffer("shadow", torch.full((context, context), -1e30).triu(1))

    def forward(self, x):
        _, length, _ = x.shape
        if length > len(self.shadow):
            raise ValueError("too many tokens")
        scores = torch.einsum("btd,bsd->bts", self.query(x), self.key(x))
        scores = scores / self.query.out_features**0.5
        weights = (scores + self.shadow[:length, :length]).softmax(-1)
        return torch.einsum("bts,bsd->btd", self.dropout(weights), self.value(x))


@right("CausalHead")
class LetsTorchAttend(Projections):
    def __init__(self, width, head_width, context, dropout=0.0):
        super().__init__(width, head_width, context)
        self.rate = dropout

    def forward(self, x):
        self.check(x)
        return F.scaled_dot_product_attention(
            self.query(x),
            self.key(x),
            self.value(x),
            is_causal=True,
            dropout_p=self.rate if self.training else 0.0,
        )


@wrong("CausalHead", says="There is no mask")
class ForgetsTheMask(Projections):
    def forward(self, x):
        self.check(x)
        weights = attention_scores(self.query(x), self.key(x)).softmax(-1)
        return self.dropout(weights) @ self.value(x)


@wrong("CausalHead", says="comes after the softmax")
class MasksAfterTheSoftmax(Projections):
    def forward(self, x):
        self.check(x)
        weights = attention_scores(self.query(x), self.key(x)).softmax(-1)
        return self.dropout(weights * self.mask(x)) @ self.value(x)


@wrong("CausalHead", says="rounding of the hidden scores")
class Renormalises(Projections):
    def forward(self, x):
        self.check(x)
        weights = attention_scores(self.query(x), self.key(x)).softmax(-1)
        weights = weights * self.mask(x)
        weights = weights / weights.sum(-1, keepdim=True)
        return self.dropout(weights) @ self.value(x)


@wrong("CausalHead", says="on its side")
class TurnsTheMask(Projections):
    def forward(self, x):
        self.check(x)
        return self.dropout(_weights(self, x, self.mask(x).T)) @ self.value(x)


@wrong("CausalHead", says="does not see its own token")
class LeavesTheDiagonalOut(Projections):
    def forward(self, x):
        self.check(x)
        mask = self.mask(x).tril(-1)
        return self.dropout(_weights(self, x, mask).nan_to_num()) @ self.value(x)


@wrong("CausalHead", says="not divided by the square root")
class ForgetsTheScale(Projections):
    def forward(self, x):
        self.check(x)
        scores = self.query(x) @ self.key(x).transpose(1, 2)
        weights = scores.masked_fill(~self.mask(x), -math.inf).softmax(-1)
        return self.dropout(weights) @ self.value(x)


@wrong("CausalHead", says="root of C")
class ScalesByTheWidthOfX(Projections):
    def forward(self, x):
        self.check(x)
        scores = self.query(x) @ self.key(x).transpose(1, 2) / x.shape[-1] ** 0.5
        weights = scores.masked_fill(~self.mask(x), -math.inf).softmax(-1)
        return self.dropout(weights) @ self.value(x)


@wrong("CausalHead", says="changed places")
class AsksWithTheKeys(Projections):
    def forward(self, x):
        self.check(x)
        scores = attention_scores(self.key(x), self.query(x))
        weights = scores.masked_fill(~self.mask(x), -math.inf).softmax(-1)
        return self.dropout(weights) @ self.value(x)


class KeepsAMask(Projections):
    def __init__(self, width, head_width, context, dropout=0.0):
        super().__init__(width, head_width, context, dropout)
        self.register_buffer("seen", torch.ones(context, context).tril() == 1)


@wrong("CausalHead", says="not cut to")
class ForgetsToCutTheMask(KeepsAMask):
    def forward(self, x):
        self.check(x)
        return self.dropout(_weights(self, x, self.seen)) @ self.value(x)


@wrong("CausalHead", says="shapes clash")
class LetsTheShapesClash(KeepsAMask):
    def forward(self, x):
        mask = self.seen[: x.shape[1], : x.shape[1]]
        return self.dropout(_weights(self, x, mask)) @ self.value(x)


@wrong("CausalHead", says="An `assert` is a note")
class Asserts(Projections):
    def forward(self, x):
        assert x.shape[1] <= self.context, "too many tokens"
        return self.dropout(_weights(self, x, self.mask(x))) @ self.value(x)


@wrong("CausalHead", says="yet an output came out")
class AcceptsAnyLength(Projections):
    def forward(self, x):
        return self.dropout(_weights(self, x, self.mask(x))) @ self.value(x)


@wrong("CausalHead", says="register_buffer")
class MakesTheMaskOnTheCpu(Projections):
    def forward(self, x):
        self.check(x)
        mask = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).tril()
        return self.dropout(_weights(self, x, mask)) @ self.value(x)


@wrong("CausalHead", says="register_buffer")
class KeepsThePlainMask(Projections):
    def __init__(self, width, head_width, context, dropout=0.0):
        super().__init__(width, head_width, context, dropout)
        self.plain = torch.ones(context, context).tril() == 1

    def forward(self, x):
        self.check(x)
        mask = self.plain[: x.shape[1], : x.shape[1]]
        return self.dropout(_weights(self, x, mask)) @ self.value(x)


@wrong("CausalHead", says="After `.eval()`")
class DropsInEvaluation(Projections):
    def forward(self, x):
        self.check(x)
        weights = _weights(self, x, self.mask(x))
        return F.dropout(weights, self.dropout.p) @ self.value(x)


@wrong("CausalHead", says="*output* is dropped")
class DropsTheOutput(Projections):
    def forward(self, x):
        self.check(x)
        return self.dropout(_weights(self, x, self.mask(x)) @ self.value(x))


@wrong("CausalHead", says="*after* the softmax")
class DropsTheScores(Projections):
    def forward(self, x):
        self.check(x)
        scores = self.dropout(attention_scores(self.query(x), self.key(x)))
        return scores.masked_fill(~self.mask(x), -math.inf).softmax(-1) @ self.value(x)


@wrong("CausalHead", says="no effect on the weights")
class ForgetsDropout(Projections):
    def forward(self, x):
        self.check(x)
        return _weights(self, x, self.mask(x)) @ self.value(x)


@wrong("CausalHead", says="Not half of the weights")
class DropsAtARateOfItsOwn(Projections):
    def forward(self, x):
        self.check(x)
        weights = _weights(self, x, self.mask(x))
        rate = self.dropout.p / 5
        kept = F.dropout(weights, rate, self.training) * (1 - rate) * 2
        kept = kept if self.training else weights
        return kept @ self.value(x)


@wrong("CausalHead", says="0.2 was asked for")
class LeavesTheRateToTorch(Projections):
    def __init__(self, width, head_width, context, dropout=0.0):
        super().__init__(width, head_width, context)
        self.dropout = nn.Dropout()

    def forward(self, x):
        self.check(x)
        return self.dropout(_weights(self, x, self.mask(x))) @ self.value(x)


@wrong("CausalHead", says="0.2 was asked for")
class LeavesTheRateToTheFunction(Projections):
    def forward(self, x):
        self.check(x)
        weights = _weights(self, x, self.mask(x))
        return F.dropout(weights, training=self.training) @ self.value(x)


@wrong("CausalHead", says="its default is 0.0")
class DropsUnasked(Projections):
    def __init__(self, width, head_width, context, dropout=0.1):
        super().__init__(width, head_width, context, dropout)

    def forward(self, x):
        self.check(x)
        return self.dropout(_weights(self, x, self.mask(x))) @ self.value(x)


@wrong("CausalHead", says="has a default")
class WantsARate(Projections):
    def __init__(self, width, head_width, context, dropout):
        super().__init__(width, head_width, context, dropout)

    def forward(self, x):
        self.check(x)
        return self.dropout(_weights(self, x, self.mask(x))) @ self.value(x)


@wrong("CausalHead", says="not divided by 1 - p")
class DropsWithoutRescaling(Projections):
    def forward(self, x):
        self.check(x)
        weights = _weights(self, x, self.mask(x))
        if self.training:
            weights = weights * (torch.rand_like(weights) >= self.dropout.p)
        return weights @ self.value(x)


@wrong("CausalHead", says="bias=False")
class HasBiases(Projections):
    def __init__(self, width, head_width, context, dropout=0.0):
        super().__init__(width, head_width, context, dropout)
        self.query = nn.Linear(width, head_width)

    def forward(self, x):
        self.check(x)
        return self.dropout(_weights(self, x, self.mask(x))) @ self.value(x)


# Leak detector


@right("leaks")
def asks_position_by_position(model, ids):
    with torch.no_grad():
        logits = model(ids)
        if not torch.equal(logits, model(ids)):
            raise ValueError("the model is random")
        found = []
        for looking in range(ids.shape[1] - 1):
            for later in range(looking + 1, ids.shape[1]):
                changed = ids.clone()
                changed[:, later] = (changed[:, later] + 1) % logits.shape[-1]
                if not torch.equal(model(changed)[:, looking], logits[:, looking]):
                    found.append(looking)
                    break
    return found


@right("leaks")
def asks_about_all_changes_at_once(model, ids):
    batch, length = ids.shape
    logits = model(ids)
    if (model(ids) != logits).any():
        raise ValueError("call model.eval() first")
    shift = torch.eye(length, dtype=ids.dtype, device=ids.device)  # (T, T)
    changed = (ids + shift[:, None]) % logits.shape[-1]  # (T, B, T)
    answers = model(changed.flatten(0, 1)).unflatten(0, (length, batch))
    differs = (answers != logits).any(-1).any(1)  # (changed, looking)
    return [s for s in range(length) if differs[s + 1 :, s].any()]


@right("leaks")
def tries_every_other_id(model, ids):
    torch.manual_seed(0)
    first, second = model(ids), model(ids)
    if not torch.equal(first, second):
        raise ValueError("two answers to one question")
    found = set()
    for t in range(1, ids.shape[1]):
        for step in range(1, first.shape[-1]):
            changed = torch.cat(
                [ids[:, :t], (ids[:, t : t + 1] + step) % 7, ids[:, t + 1 :]], dim=1
            )
            answer = model(changed)
            found |= {s for s in range(t) if not torch.equal(answer[:, s], first[:, s])}
    return sorted(found)


@right("leaks")
def compares_batches_of_one_size(model, ids):
    batch, length = ids.shape
    with torch.no_grad():
        same = ids.repeat(length, 1)  # (T * B, T): row t * B + b is text b
        logits = model(same)  # (T * B, T, V)
        if not torch.equal(model(same), logits):
            raise ValueError("the model is random")
        changed = same.view(length, batch, length).clone()
        for t in range(length):
            changed[t, :, t] = (changed[t, :, t] + 1) % logits.shape[-1]
        differs = model(changed.view_as(same)) != logits
    differs = differs.any(-1).view(length, batch, length).any(1)  # (changed, looking)
    return [s for s in range(length) if differs[s + 1 :, s].any()]


def _changes(model, ids, t, other=None):
    logits = model(ids)
    changed = ids.clone()
    changed[:, t] = (ids[:, t] + 1) % 7 if other is None else other
    return model(changed), logits


@wrong("leaks", says="*every* later token")
def tries_the_last_token_only(model, ids):
    after, before = _changes(model, ids, -1)
    differs = (after != before)[:, :-1].any(-1).any(0)
    return differs.nonzero()[:, 0].tolist()


@wrong("leaks", says="*every* later token")
def looks_one_step_ahead_only(model, ids):
    found = []
    for t in range(1, ids.shape[1]):
        after, before = _changes(model, ids, t)
        if not torch.equal(after[:, t - 1], before[:, t - 1]):
            found.append(t - 1)
    return found


@wrong("leaks", says="without a tolerance")
def allows_a_tolerance(model, ids):
    found = set()
    for t in range(1, ids.shape[1]):
        after, before = _changes(model, ids, t)
        for s in range(t):
            if not torch.allclose(after[:, s], before[:, s], atol=1e-6):
                found.add(s)
    return sorted(found)


@wrong("leaks", says="not their `argmax`")
def compares_the_most_likely_tokens(model, ids):
    found = set()
    for t in range(1, ids.shape[1]):
        after, before = (logits.argmax(-1) for logits in _changes(model, ids, t))
        found |= {s for s in range(t) if not torch.equal(after[:, s], before[:, s])}
    return sorted(found)


@wrong("leaks", says="without a tolerance")
def allows_two_decimals(model, ids):
    found = set()
    for t in range(1, ids.shape[1]):
        after, before = (logits.round(decimals=2) for logits in _changes(model, ids, t))
        found |= {s for s in range(t) if not torch.equal(after[:, s], before[:, s])}
    return sorted(found)


@wrong("leaks", says="largest id of a text says nothing")
def takes_the_largest_id_for_the_vocabulary(model, ids):
    vocab_size, found = ids.max() + 1, set()
    logits = model(ids)
    if not torch.equal(model(ids), logits):
        raise ValueError("the model is random")
    for t in range(1, ids.shape[1]):
        changed = ids.clone()
        changed[:, t] = (changed[:, t] + 1) % vocab_size
        after = model(changed)
        found |= {s for s in range(t) if not torch.equal(after[:, s], logits[:, s])}
    return sorted(found)


@wrong("leaks", says="mode is the caller's")
def switches_to_eval(model, ids):
    model.eval()
    found = set()
    for t in range(1, ids.shape[1]):
        after, before = _changes(model, ids, t)
        found |= {s for s in range(t) if not torch.equal(after[:, s], before[:, s])}
    return sorted(found)


@wrong("leaks", says="second text")
def asks_about_one_text(model, ids):
    found = set()
    for t in range(1, ids.shape[1]):
        after, before = _changes(model, ids[:1], t)
        found |= {s for s in range(t) if not torch.equal(after[:, s], before[:, s])}
    return sorted(found)


@wrong("leaks", says="keep the length")
def cuts_the_future_off(model, ids):
    logits = model(ids)
    found = []
    for t in range(ids.shape[1] - 1):
        if not torch.equal(model(ids[:, : t + 1])[:, t], logits[:, t]):
            found.append(t)
    return found


@wrong("leaks", says="may see its own token")
def includes_the_changed_position(model, ids):
    found = set()
    for t in range(1, ids.shape[1]):
        after, before = _changes(model, ids, t)
        found |= {s for s in range(t + 1) if not torch.equal(after[:, s], before[:, s])}
    return sorted(found)


@wrong("leaks", says="tokens that were *changed*")
def returns_the_changed_tokens(model, ids):
    found = set()
    for t in range(1, ids.shape[1]):
        after, before = _changes(model, ids, t)
        if not torch.equal(after[:, :t], before[:, :t]):
            found.add(t)
    return sorted(found)


@wrong("leaks", says="Each position is wanted once")
def lists_positions_again_and_again(model, ids):
    found = []
    for t in range(1, ids.shape[1]):
        after, before = _changes(model, ids, t)
        found += [s for s in range(t) if not torch.equal(after[:, s], before[:, s])]
    return found


@wrong("leaks", says="second text")
def looks_at_the_first_text_only(model, ids):
    found = set()
    for t in range(1, ids.shape[1]):
        after, before = _changes(model, ids, t)
        found |= {s for s in range(t) if not torch.equal(after[0, s], before[0, s])}
    return sorted(found)


@wrong("leaks", says="always another one")
def puts_a_fixed_id_in(model, ids):
    found = set()
    for t in range(1, ids.shape[1]):
        after, before = _changes(model, ids, t, other=4)
        found |= {s for s in range(t) if not torch.equal(after[:, s], before[:, s])}
    return sorted(found)


@wrong("leaks", says="whole numbers from 0 to V - 1")
def leaves_the_vocabulary(model, ids):
    found = set()
    for t in range(1, ids.shape[1]):
        after, before = _changes(model, ids, t, other=ids[:, t] + 1)
        found |= {s for s in range(t) if not torch.equal(after[:, s], before[:, s])}
    return sorted(found)


@wrong("leaks", says="`ids`")
def writes_into_the_ids(model, ids):
    before, found = model(ids), set()
    for t in range(ids.shape[1] - 1, 0, -1):
        ids[:, t] = (ids[:, t] + 1) % 7
        after = model(ids)
        found |= {s for s in range(t) if not torch.equal(after[:, s], before[:, s])}
    return sorted(found)


@wrong("leaks", says="in a fresh copy")
def never_puts_the_token_back(model, ids):
    before, found, changed = model(ids), set(), ids.clone()
    for t in range(1, ids.shape[1]):
        changed[:, t] = (changed[:, t] + 1) % 7
        after = model(changed)
        found |= {s for s in range(t) if not torch.equal(after[:, s], before[:, s])}
    return sorted(found)


@wrong("leaks", says="plain integers")
def returns_a_tensor(model, ids):
    found = torch.zeros(ids.shape[1], dtype=torch.bool)
    for t in range(1, ids.shape[1]):
        after, before = _changes(model, ids, t)
        found[:t] |= (after != before)[:, :t].any(-1).any(0)
    return found.nonzero()[:, 0]


@wrong("leaks", says="raise a `ValueError`")
def trusts_a_random_model(model, ids):
    found = set()
    for t in range(1, ids.shape[1]):
        after, before = _changes(model, ids, t)
        found |= {s for s in range(t) if not torch.equal(after[:, s], before[:, s])}
    return sorted(found)
