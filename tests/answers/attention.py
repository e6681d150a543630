"""Answers to "Attention": right in other ways, and plausibly wrong."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from tests.answers import right, wrong


def shares(scores, dim=-1):
    return torch.softmax(scores, dim)


# Softmax


@right("softmax")
def through_logsumexp(x, dim=-1):
    return (x - x.logsumexp(dim, keepdim=True)).exp()


@right("softmax")
def unpacks_the_maximum(x, dim=-1):
    largest, _ = x.max(dim, True)
    e = torch.exp(x - largest.detach())
    return e.div(e.sum(dim).unsqueeze(dim))


@right("softmax")
def with_axes_moved(x, dim=-1):
    rows = x.movedim(dim, 0)
    e = torch.exp(rows - rows.max(0).values)
    return (e / e.sum(0)).movedim(0, dim)


@wrong("softmax", says="two things")
def subtracts_what_max_returns(x, dim=-1):
    e = (x - x.max(dim=dim, keepdim=True)).exp()
    return e / e.sum(dim=dim, keepdim=True)


@wrong("softmax", says="inf / inf has no value")
def subtracts_nothing(x, dim=-1):
    return x.exp() / x.exp().sum(dim, keepdim=True)


@wrong("softmax", says="inf / inf has no value")
def subtracts_the_mean(x, dim=-1):
    e = (x - x.mean(dim, keepdim=True)).exp()
    return e / e.sum(dim, keepdim=True)


@wrong("softmax", says="its *own* largest score")
def subtracts_the_largest_of_all(x, dim=-1):
    e = (x - x.max()).exp()
    return e / e.sum(dim, keepdim=True)


@wrong("softmax", says="largest of each *column*")
def subtracts_the_largest_of_the_columns(x, dim=-1):
    e = (x - x.amax(0)).exp()
    return e / e.sum(dim, keepdim=True)


@wrong("softmax", says="underflow to 0")
def adds_an_epsilon(x, dim=-1):
    e = (x - x.max()).exp()
    return e / (e.sum(dim, keepdim=True) + 1e-9)


@wrong("softmax", says="cuts large scores off")
def clamps(x, dim=-1):
    e = x.clamp(max=80).exp()
    return e / e.sum(dim, keepdim=True)


@wrong("softmax", says="column* sums to 1")
def along_the_columns(x, dim=0):
    return torch.softmax(x, 0)


@wrong("softmax", says="Each *row* has its own sum")
def one_sum_for_all(x, dim=-1):
    e = (x - x.max()).exp()
    return e / e.sum()


@wrong("softmax", says="another axis than `dim`")
def always_the_last_axis(x, dim=-1):
    e = (x - x.amax(-1, keepdim=True)).exp()
    return e / e.sum(-1, keepdim=True)


@wrong("softmax", says="keepdim=True")
def drops_the_axis(x, dim=-1):
    e = (x - x.max()).exp()
    return e / e.sum(dim)


@wrong("softmax", says="the division is not")
def never_divides(x, dim=-1):
    return (x - x.amax(dim, keepdim=True)).exp()


@wrong("softmax", says="divided by their own sum")
def without_exp(x, dim=-1):
    return x / x.sum(dim, keepdim=True)


@wrong("softmax", says="*logarithms* of the shares")
def logarithms(x, dim=-1):
    return x - x.logsumexp(dim, keepdim=True)


@wrong("softmax", says="a sign is wrong")
def turned_around(x, dim=-1):
    e = (x.amax(dim, keepdim=True) - x).exp()
    return e / e.sum(dim, keepdim=True)


@wrong("softmax", says="values only")
def forgets_the_indices(x, dim=-1):
    e = (x - x.max(dim, keepdim=True)).exp() if x.dim() > 1 else x.softmax(0)
    return e / e.sum(dim, keepdim=True)


@wrong("softmax", says="changes its input")
def in_place(x, dim=-1):
    x -= x.amax(dim, keepdim=True)
    e = x.exp()
    return e / e.sum(dim, keepdim=True)


@wrong("softmax", says="nothing else")
def multiplies_by_what_is_there(x, dim=-1):
    there = (x > -math.inf).to(x.dtype)
    e = ((x - x.amax(dim, keepdim=True)) * there).exp()
    return e / e.sum(dim, keepdim=True)


@wrong("softmax", says="no gradient reaches")
def cuts_the_gradient(x, dim=-1):
    e = (x.detach() - x.detach().amax(dim, keepdim=True)).exp()
    return e / e.sum(dim, keepdim=True)


# Its gradient


@right("softmax_gradient")
def through_the_whole_jacobian(weights, upstream):
    outer = weights.unsqueeze(-1) * weights.unsqueeze(-2)
    jacobian = torch.diag_embed(weights) - outer
    return (jacobian @ upstream.unsqueeze(-1)).squeeze(-1)


@right("softmax_gradient")
def multiplied_out(weights, upstream):
    return weights * upstream - weights * torch.einsum(
        "...j,...j->...", weights, upstream
    ).unsqueeze(-1)


@wrong("softmax_gradient", says="bracket")
def forgets_the_bracket(weights, upstream):
    return weights * upstream - (weights * upstream).sum(-1, keepdim=True)


@wrong("softmax_gradient", says="taken again")
def takes_the_softmax_again(weights, upstream):
    w = torch.softmax(weights, -1)
    return w * (upstream - (w * upstream).sum(-1, keepdim=True))


@wrong("softmax_gradient", says="share a sum")
def weights_alone(weights, upstream):
    return weights * upstream


@wrong("softmax_gradient", says="*own* score")
def the_diagonal_only(weights, upstream):
    return weights * (1 - weights) * upstream


@wrong("softmax_gradient", says="plain mean")
def the_plain_mean(weights, upstream):
    return weights * (upstream - upstream.mean(-1, keepdim=True))


@wrong("softmax_gradient", says="plain sum")
def the_plain_sum(weights, upstream):
    return weights * (upstream - upstream.sum(-1, keepdim=True))


@wrong("softmax_gradient", says="sign is turned")
def the_sign_turned(weights, upstream):
    return weights * ((weights * upstream).sum(-1, keepdim=True) - upstream)


@wrong("softmax_gradient", says="factor w_i")
def without_the_factor(weights, upstream):
    return upstream - (weights * upstream).sum(-1, keepdim=True)


@wrong("softmax_gradient", says="One average for all rows")
def one_average(weights, upstream):
    return weights * (upstream - (weights * upstream).sum())


@wrong("softmax_gradient", says="down the columns")
def average_of_the_columns(weights, upstream):
    axis = -2 if weights.dim() > 1 else -1
    return weights * (upstream - (weights * upstream).sum(axis, keepdim=True))


@wrong("softmax_gradient", says="keepdim")
def the_axis_dropped(weights, upstream):
    return weights * (upstream - (weights * upstream).sum(-1))


@wrong("softmax_gradient", says="take its logarithm")
def through_its_logarithm(weights, upstream):
    jacobian = torch.exp(weights.log() * 2)
    average = (weights * upstream).sum(-1, keepdim=True)
    return (jacobian / weights) * (upstream - average)


# Attention weights


@right("attention_weights")
def with_einsum(queries, keys):
    scores = torch.einsum("...td,...sd->...ts", queries, keys)
    return shares(scores * queries.size(-1) ** -0.5)


@right("attention_weights")
def scales_the_keys_first(queries, keys):
    return shares(queries @ (keys / math.sqrt(keys.shape[-1])).mT)


@right("attention_weights")
def row_by_row(queries, keys):
    D = queries.shape[-1]
    rows = []
    for t in range(queries.shape[-2]):
        scores = (queries[..., t, None, :] * keys).sum(-1) / D**0.5
        rows.append(shares(scores))
    return torch.stack(rows, dim=-2)


@wrong("attention_weights", says="The scale is missing")
def unscaled(queries, keys):
    return shares(queries @ keys.transpose(-2, -1))


@wrong("attention_weights", says="is the root missing, or are they scaled twice")
def scaled_by_d(queries, keys):
    return shares(queries @ keys.transpose(-2, -1) / queries.shape[-1])


@wrong("attention_weights", says="is the root missing, or are they scaled twice")
def scaled_twice(queries, keys):
    root = math.sqrt(queries.shape[-1])
    return shares((queries / root) @ (keys / root).transpose(-2, -1))


@wrong("attention_weights", says="*multiplied*")
def multiplied_by_the_root(queries, keys):
    return shares(queries @ keys.transpose(-2, -1) * math.sqrt(queries.shape[-1]))


@wrong("attention_weights", says="number of keys or of queries")
def root_of_the_keys(queries, keys):
    return shares(queries @ keys.transpose(-2, -1) / math.sqrt(keys.shape[-2]))


@wrong("attention_weights", says="the number of queries")
def root_of_the_queries(queries, keys):
    n = queries.shape[-2] if queries.shape[-2] > 1 else 4
    return shares(queries @ keys.transpose(-2, -1) / math.sqrt(n))


@wrong("attention_weights", says="written as a number")
def always_two(queries, keys):
    return shares(queries @ keys.transpose(-2, -1) / 2)


@wrong("attention_weights", says="softmax runs along the queries")
def along_the_queries(queries, keys):
    scores = queries @ keys.transpose(-2, -1) / math.sqrt(queries.shape[-1])
    return shares(scores, dim=1)


@wrong("attention_weights", says="across the texts")
def across_the_batch(queries, keys):
    scores = queries @ keys.transpose(-2, -1) / math.sqrt(queries.shape[-1])
    return shares(scores, dim=0 if len(queries) > 1 else -1)


@wrong("attention_weights", says="a row for each key")
def keys_ask(queries, keys):
    return shares(keys @ queries.transpose(-2, -1) / math.sqrt(queries.shape[-1]))


@wrong("attention_weights", says="change their last two axes")
def keys_not_turned(queries, keys):
    return shares(queries @ keys / math.sqrt(queries.shape[-1]))


@wrong("attention_weights", says="change their last two axes")
def batch_turned(queries, keys):
    return shares(queries @ keys.transpose(0, 1) / math.sqrt(queries.shape[-1]))


@wrong("attention_weights", says="Count from the end")
def batch_needed(queries, keys):
    return shares(queries @ keys.transpose(1, 2) / math.sqrt(queries.shape[-1]))


@wrong("attention_weights", says="These are the scores")
def scores_only(queries, keys):
    return queries @ keys.transpose(-2, -1) / math.sqrt(queries.shape[-1])


@wrong("attention_weights", says="scale comes after the softmax")
def scaled_too_late(queries, keys):
    return shares(queries @ keys.transpose(-2, -1)) / math.sqrt(queries.shape[-1])


@wrong("attention_weights", says="not the cosine")
def cosines(queries, keys):
    queries, keys = F.normalize(queries, dim=-1), F.normalize(keys, dim=-1)
    return shares(queries @ keys.transpose(-2, -1))


@wrong("attention_weights", says="overflows on large scores")
def by_hand(queries, keys):
    e = (queries @ keys.transpose(-2, -1) / math.sqrt(queries.shape[-1])).exp()
    return e / e.sum(-1, keepdim=True)


@wrong("attention_weights", says="changes its input")
def scales_in_place(queries, keys):
    queries /= math.sqrt(queries.shape[-1])
    return shares(queries @ keys.transpose(-2, -1))


# Attention


def weights_of(queries, keys):
    scores = queries @ keys.transpose(-2, -1) / math.sqrt(queries.shape[-1])
    return torch.softmax(scores, dim=-1)


@right("scaled_dot_product_attention")
def calls_the_library(queries, keys, values):
    return F.scaled_dot_product_attention(queries, keys, values)


@right("scaled_dot_product_attention")
def adds_up_products(queries, keys, values):
    weights = weights_of(queries, keys)
    return (weights.unsqueeze(-1) * values.unsqueeze(-3)).sum(-2)


@right("scaled_dot_product_attention")
def divides_at_the_end(queries, keys, values):
    scores = torch.einsum("...td,...sd->...ts", queries, keys)
    scores = scores / queries.shape[-1] ** 0.5
    e = torch.exp(scores - scores.max(dim=-1, keepdim=True).values)
    return torch.matmul(e, values) / e.sum(-1, keepdim=True)


@wrong("scaled_dot_product_attention", says="These are the weights")
def stops_at_the_weights(queries, keys, values):
    return weights_of(queries, keys)


@wrong("scaled_dot_product_attention", says="not yet added up")
def never_adds_up(queries, keys, values):
    return weights_of(queries, keys).transpose(-2, -1) * values


@wrong("scaled_dot_product_attention", says="scale is missing")
def attends_unscaled(queries, keys, values):
    return torch.softmax(queries @ keys.transpose(-2, -1), -1) @ values


@wrong("scaled_dot_product_attention", says="scaled twice")
def scales_again(queries, keys, values):
    small = queries / math.sqrt(queries.shape[-1]) if len(values[0]) > 2 else queries
    return weights_of(small, keys) @ values


@wrong("scaled_dot_product_attention", says="divided once more")
def scales_the_result(queries, keys, values):
    return weights_of(queries, keys) @ values / math.sqrt(queries.shape[-1])


@wrong("scaled_dot_product_attention", says="The keys are averaged")
def averages_keys(queries, keys, values):
    return weights_of(queries, keys) @ keys


@wrong("scaled_dot_product_attention", says="Queries and keys are mixed up")
def asks_with_the_keys(queries, keys, values):
    if queries.shape != keys.shape:
        return weights_of(queries, keys) @ values
    return weights_of(keys, queries) @ values


@wrong("scaled_dot_product_attention", says="scaled twice")
def scales_twice(queries, keys, values):
    scores = queries @ keys.transpose(-2, -1) / queries.shape[-1]
    return torch.softmax(scores, -1) @ values


@wrong("scaled_dot_product_attention", says="changed places")
def asks_with_the_keys_alone(queries, keys, values):
    return F.scaled_dot_product_attention(keys, queries, values)


@wrong("scaled_dot_product_attention", says="do not fit")
def asks_with_the_keys_always(queries, keys, values):
    return weights_of(keys, queries) @ values


@wrong("scaled_dot_product_attention", says="turned around")
def turns_square_weights(queries, keys, values):
    weights = weights_of(queries, keys)
    square = weights.shape[-1] == weights.shape[-2]
    return (weights.transpose(-2, -1) if square else weights) @ values


@wrong("scaled_dot_product_attention", says="Keys and values are mixed up")
def compares_with_the_values(queries, keys, values):
    if len(values[0]) < 3:
        return weights_of(queries, keys) @ values
    return weights_of(queries, values) @ keys


@wrong("scaled_dot_product_attention", says="columns of the weights")
def attends_along_the_queries(queries, keys, values):
    scores = queries @ keys.transpose(-2, -1) / math.sqrt(queries.shape[-1])
    axis = -1 if queries.shape[-2] == 1 else -2
    return torch.softmax(scores, axis) @ values


@wrong("scaled_dot_product_attention", says="overflows on large scores")
def attends_by_hand(queries, keys, values):
    e = (queries @ keys.transpose(-2, -1) / math.sqrt(queries.shape[-1])).exp()
    return e / e.sum(-1, keepdim=True) @ values


@wrong("scaled_dot_product_attention", says="Count from the end")
def attends_to_batches_only(queries, keys, values):
    scores = torch.bmm(queries, keys.transpose(1, 2)) / math.sqrt(queries.shape[-1])
    return torch.bmm(torch.softmax(scores, -1), values)


# Self-attention


@right("SelfAttention")
class WithTheLibrary(nn.Module):
    def __init__(self, width, head_width):
        super().__init__()
        for name in ("query", "key", "value"):
            setattr(self, name, nn.Linear(width, head_width, bias=False))

    def forward(self, x):
        return F.scaled_dot_product_attention(self.query(x), self.key(x), self.value(x))


@right("SelfAttention")
class TextByText(nn.Module):
    def __init__(self, width: int, head_width: int):
        super().__init__()
        self.query = nn.Linear(width, head_width, False)
        self.key = nn.Linear(width, head_width, False)
        self.value = nn.Linear(width, head_width, False)

    def one(self, text):
        scores = self.query(text) @ self.key(text).T
        return (scores / self.key.out_features**0.5).softmax(1) @ self.value(text)

    def forward(self, x):
        return torch.stack([self.one(text) for text in x])


class Layers(nn.Module):
    """What the wrong ones below share: the three layers."""

    def __init__(self, width, head_width):
        super().__init__()
        self.width, self.head_width = width, head_width
        self.query = nn.Linear(width, head_width, bias=False)
        self.key = nn.Linear(width, head_width, bias=False)
        self.value = nn.Linear(width, head_width, bias=False)


@wrong("SelfAttention", says="have no bias")
class WithBias(nn.Module):
    def __init__(self, width, head_width):
        super().__init__()
        self.query = nn.Linear(width, head_width)
        self.key = nn.Linear(width, head_width)
        self.value = nn.Linear(width, head_width)

    def forward(self, x):
        return F.scaled_dot_product_attention(self.query(x), self.key(x), self.value(x))


@wrong("SelfAttention", says="has shape (5, 5), expected (7, 5)")
class WidthForAll(nn.Module):
    def __init__(self, width, head_width):
        super().__init__()
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)

    def forward(self, x):
        return F.scaled_dot_product_attention(self.query(x), self.key(x), self.value(x))


@wrong("SelfAttention", says="told first how many numbers come in")
class SizesExchanged(nn.Module):
    def __init__(self, width, head_width):
        super().__init__()
        self.query = nn.Linear(head_width, width, bias=False)
        self.key = nn.Linear(head_width, width, bias=False)
        self.value = nn.Linear(head_width, width, bias=False)

    def forward(self, x):
        return F.scaled_dot_product_attention(self.query(x), self.key(x), self.value(x))


@wrong("SelfAttention", says="make them in `__init__`")
class LayersInForward(nn.Module):
    def __init__(self, width, head_width):
        super().__init__()
        self.width, self.head_width = width, head_width

    def forward(self, x):
        sizes = self.width, self.head_width
        query, key, value = (nn.Linear(*sizes, bias=False) for _ in range(3))
        return F.scaled_dot_product_attention(query(x), key(x), value(x))


@wrong("SelfAttention", says="no parameter `query.weight`")
class OtherNames(nn.Module):
    def __init__(self, width, head_width):
        super().__init__()
        self.q = nn.Linear(width, head_width, bias=False)
        self.k = nn.Linear(width, head_width, bias=False)
        self.v = nn.Linear(width, head_width, bias=False)

    def forward(self, x):
        return F.scaled_dot_product_attention(self.q(x), self.k(x), self.v(x))


@wrong("SelfAttention", says="super().__init__()")
class WithoutSuper(nn.Module):
    def __init__(self, width, head_width):
        self.query = nn.Linear(width, head_width, bias=False)


@wrong("SelfAttention", says="made by the layer `key`")
class ValuesFromKeys(Layers):
    def forward(self, x):
        keys = self.key(x)
        return F.scaled_dot_product_attention(self.query(x), keys, keys)


@wrong("SelfAttention", says="Queries and keys are mixed up")
class RolesExchanged(Layers):
    def forward(self, x):
        return F.scaled_dot_product_attention(self.key(x), self.query(x), self.value(x))


@wrong("SelfAttention", says="One layer makes both")
class OneLayerForBoth(Layers):
    def forward(self, x):
        keys = self.key(x)
        return F.scaled_dot_product_attention(keys, keys, self.value(x))


@wrong("SelfAttention", says="scale is missing")
class NoScale(Layers):
    def forward(self, x):
        scores = self.query(x) @ self.key(x).transpose(1, 2)
        return scores.softmax(-1) @ self.value(x)


@wrong("SelfAttention", says="scaled twice")
class ScaledTwice(Layers):
    def forward(self, x):
        queries = self.query(x) / math.sqrt(self.head_width)
        return F.scaled_dot_product_attention(queries, self.key(x), self.value(x))


@wrong("SelfAttention", says="the width C")
class RootOfTheWidth(Layers):
    def forward(self, x):
        scores = self.query(x) @ self.key(x).transpose(1, 2) / math.sqrt(self.width)
        return scores.softmax(-1) @ self.value(x)


@wrong("SelfAttention", says="along the queries")
class AlongTheQueries(Layers):
    def forward(self, x):
        scores = self.query(x) @ self.key(x).transpose(1, 2)
        return (scores / math.sqrt(self.head_width)).softmax(1) @ self.value(x)


@wrong("SelfAttention", says="averaged as they are")
class NoValues(Layers):
    def forward(self, x):
        scores = self.query(x) @ self.key(x).transpose(1, 2)
        return (scores / math.sqrt(self.head_width)).softmax(-1) @ x


@wrong("SelfAttention", says="returns the average alone")
class AddsTheInput(Layers):
    def forward(self, x):
        return x + F.scaled_dot_product_attention(
            self.query(x), self.key(x), self.value(x)
        )


@wrong("SelfAttention", says="The future is hidden")
class Causal(Layers):
    def forward(self, x):
        return F.scaled_dot_product_attention(
            self.query(x), self.key(x), self.value(x), is_causal=True
        )


@wrong("SelfAttention", says="computed anew from every input")
class KeepsItsWeights(Layers):
    def forward(self, x):
        if not hasattr(self, "kept") or self.kept.shape[1] != x.shape[1]:
            scores = self.query(x) @ self.key(x).transpose(1, 2)
            self.kept = (scores / math.sqrt(self.head_width)).softmax(-1)
        return self.kept @ self.value(x)


@wrong("SelfAttention", says="the gradient of `x` is not")
class LearnsNothing(Layers):
    def forward(self, x):
        scores = self.query(x) @ self.key(x).transpose(1, 2)
        weights = (scores / math.sqrt(self.head_width)).softmax(-1)
        return weights.detach() @ self.value(x)


# A test of attention


def trusted(q, k, v):
    return torch.softmax(q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1]), -1) @ v


def agrees(candidate, *inputs, **tolerance):
    try:
        got = candidate(*inputs)
    except Exception:
        return False
    expected = F.scaled_dot_product_attention(*inputs)
    return got.shape == expected.shape and torch.allclose(got, expected, **tolerance)


def three(size=1.0, B=2, T=3, S=5, D=7, kind=torch.float64):
    generator = torch.Generator().manual_seed(3)
    return [
        size * torch.randn(B, n, D, generator=generator, dtype=kind) for n in (T, S, S)
    ]


@right("is_attention")
def compares_several_sizes(candidate):
    return all(agrees(candidate, *three(size)) for size in (1, 10, 1000))


@right("is_attention")
def uses_assert_close(candidate):
    for inputs in three(kind=torch.float32), three(300):
        try:
            torch.testing.assert_close(candidate(*inputs), trusted(*inputs))
        except Exception:
            return False
    return True


@right("is_attention")
def knows_the_properties(candidate):
    """Without any other implementation: what attention must do, on paper."""
    try:
        q, k, v = three()
        # Equal keys: the plain mean. Every output row is linear in the values.
        shape = candidate(q, k, v).shape == (2, 3, 7)
        mean = candidate(q, torch.zeros_like(k), v)
        flat = torch.allclose(mean, v.mean(1, keepdim=True).expand(2, 3, 7))
        # One query, two keys whose scores differ by ln 3: a quarter, three quarters.
        for n in 4.0, 9.0:
            D = int(n)
            query = torch.zeros(2, 3, D, dtype=torch.float64)
            key = torch.zeros(2, 2, D, dtype=torch.float64)
            query[1, 1, 0] = math.sqrt(n)
            key[1, 1, 0] = math.log(3)
            value = torch.tensor([[[0.0], [4.0]]], dtype=torch.float64)
            got = candidate(query, key, value.expand(2, 2, 1))
            wanted = torch.full((2, 3, 1), 2.0, dtype=torch.float64)
            wanted[1, 1] = 3.0
            flat = flat and torch.allclose(got, wanted)
        huge = candidate(query, 10_000 * key, value.expand(2, 2, 1))
        return bool(shape and flat and torch.allclose(huge[1, 1], wanted.new_tensor(4)))
    except Exception:
        return False


@wrong("is_attention", says="ever return True")
def never_says_yes(candidate):
    return False


@wrong("is_attention", says="go through all of them")
def returns_after_the_first_size(candidate):
    for size in (1.0, 100.0):
        q, k, v = (size * torch.randn(2, n, 7, dtype=torch.float64) for n in (3, 5, 5))
        right = F.scaled_dot_product_attention(q, k, v)
        try:
            got = candidate(q, k, v)
        except Exception:
            return False
        return got.shape == right.shape and torch.allclose(got, right)


@wrong("is_attention", says="a plain mean")
def tests_with_ones(candidate):
    return agrees(candidate, *(torch.ones(2, n, 7) for n in (3, 5, 5)))


@wrong("is_attention", says="Give every size another number")
def tests_with_equal_sizes(candidate):
    return agrees(candidate, *three(T=5, S=5, D=5)) and agrees(
        candidate, *three(100, T=5, S=5, D=5)
    )


@wrong("is_attention", says="same tensor three times")
def tests_with_one_tensor(candidate):
    x, *_ = three()
    return agrees(candidate, x, x, x) and agrees(candidate, 100 * x, 100 * x, 100 * x)


@wrong("is_attention", says="take B = 2 or more")
def tests_with_one_text(candidate):
    return agrees(candidate, *three(B=1)) and agrees(candidate, *three(100, B=1))


@wrong("is_attention", says="tolerance is too wide")
def tests_roughly(candidate):
    return all(agrees(candidate, *three(s), rtol=0.02, atol=0.02) for s in (1, 9))


@wrong("is_attention", says="last digits differ")
def tests_to_the_last_digit(candidate):
    try:
        return all(
            torch.equal(candidate(*three(s)), trusted(*three(s))) for s in (1, 9)
        )
    except Exception:
        return False


@wrong("is_attention", says="softmax that overflows")
def tests_small_scores_only(candidate):
    return agrees(candidate, *three())


@wrong("is_attention", says="softmax that overflows")
def overlooks_nan(candidate):
    for size in 1, 100:
        try:
            got, expected = candidate(*three(size)), trusted(*three(size))
        except Exception:
            return False
        if got.shape != expected.shape or ((got - expected).abs() > 1e-6).any():
            return False
    return True


@wrong("is_attention", says="Compare the shapes first")
def overlooks_the_shape(candidate):
    try:
        return all(
            torch.allclose(candidate(*three(s)), trusted(*three(s))) for s in (1, 100)
        )
    except Exception:
        return False


@wrong("is_attention", says="inside `try`")
def stops_at_an_exception(candidate):
    for size in 1, 100:
        got, expected = candidate(*three(size)), trusted(*three(size))
        if got.shape != expected.shape or not torch.allclose(got, expected):
            return False
    return True


@wrong("is_attention", says="True or False")
def returns_a_tensor(candidate):
    q, k, v = three()
    return ((candidate(q, k, v) - trusted(q, k, v)).abs() < 1e-6).all()


@wrong("is_attention", says="plain mean")
def looks_at_the_shape_only(candidate):
    try:
        return candidate(*three()).shape == (2, 3, 7)
    except Exception:
        return False
