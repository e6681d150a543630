"""Attention against torch's own, and against numbers worked out on paper."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from solutions.attention import (
    SelfAttention,
    attention_scores,
    attention_weights,
    is_attention,
    scaled_dot_product_attention,
    softmax,
    softmax_gradient,
)

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
FLOAT64 = torch.float64


def normal(*shape: int, seed: int = 0, dtype=FLOAT64, device: str = "cpu"):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=FLOAT64).to(device, dtype)


def triple(batch=2, asking=3, asked=5, width=7, **kind):
    """Queries, keys and values, each different, with gradients."""
    shapes = (batch, asking, width), (batch, asked, width), (batch, asked, width)
    return [
        normal(*shape, seed=n, **kind).requires_grad_()
        for n, shape in enumerate(shapes)
    ]


def gradients(output, inputs):
    """Of a sum in which every output has a weight of its own."""
    return torch.autograd.grad(output, inputs, normal(*output.shape, seed=9).to(output))


# Softmax


def test_softmax_on_paper():
    scores = torch.tensor([[1.0, 2.0, 5.0], [3.0, 0.5, 0.5]], dtype=FLOAT64).log()
    paper = torch.tensor([[0.125, 0.25, 0.625], [0.75, 0.125, 0.125]], dtype=FLOAT64)
    assert_close(softmax(scores), paper)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dim", [-1, 0, 1, 2])
@pytest.mark.parametrize("size", [1.0, 1e4])
def test_softmax_is_torchs_with_its_gradient(size, dim, device):
    x = (size * normal(2, 3, 5, device=device)).requires_grad_()
    ours, theirs = softmax(x, dim), torch.softmax(x, dim)
    assert_close(ours, theirs)
    assert_close(gradients(ours, x), gradients(theirs, x))


@given(st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=9))
def test_shares_are_shares_whatever_the_scores(scores):
    shares = softmax(torch.tensor(scores, dtype=FLOAT64))
    assert (shares >= 0).all()
    assert_close(shares.sum(), torch.tensor(1.0, dtype=FLOAT64))
    assert_close(shares, torch.softmax(torch.tensor(scores, dtype=FLOAT64), -1))


def test_what_is_added_to_all_scores_changes_no_share():
    x = torch.tensor([[3.0, -2.0, 0.5]], dtype=FLOAT64)
    assert torch.equal(softmax(x), softmax(x + 4096.0))  # a power of two: no rounding


def test_a_score_of_minus_infinity_gets_exactly_nothing():
    shares = softmax(torch.tensor([-math.inf, 0.0, math.log(3.0)]))
    assert shares[0] == 0
    assert_close(shares, torch.tensor([0.0, 0.25, 0.75]))


def test_softmax_of_nothing_is_refused_in_one_line():
    with pytest.raises(ValueError, match=r"no scores .* axis -1 of \(2, 0\)") as caught:
        softmax(torch.zeros(2, 0))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("device", DEVICES)
def test_the_gradient_of_softmax_is_what_torch_finds(device):
    x = normal(2, 3, 5, device=device).requires_grad_()
    upstream = normal(2, 3, 5, seed=1, device=device)
    weights = torch.softmax(x, -1)
    (theirs,) = torch.autograd.grad(weights, x, upstream)
    assert_close(softmax_gradient(weights.detach(), upstream), theirs)


def test_a_saturated_softmax_passes_no_gradient():
    one_hot = torch.tensor([[0.0, 1.0, 0.0]])
    upstream = torch.tensor([[3.0, -2.0, 7.0]])
    assert torch.equal(softmax_gradient(one_hot, upstream), torch.zeros(1, 3))


def test_the_gradient_of_other_weights_is_refused():
    with pytest.raises(ValueError, match=r"weights \(2, 3\) .* got \(3,\)"):
        softmax_gradient(torch.zeros(2, 3), torch.zeros(3))


# Attention


def test_attention_on_paper():
    # D = 4, so the root is 2: the products 0 and 2 ln 3 make weights 1/4 and 3/4.
    query = torch.tensor([[2.0, 0.0, 0.0, 0.0]], dtype=FLOAT64)
    keys = torch.tensor([[0.0, 9, 9, 9], [math.log(3), 9, -9, 9]], dtype=FLOAT64)
    values = torch.tensor([[0.0, 4.0], [8.0, 0.0]], dtype=FLOAT64)
    scores = attention_scores(query, keys)
    assert_close(scores, torch.tensor([[0.0, math.log(3)]], dtype=FLOAT64))
    weights = attention_weights(query, keys)
    assert_close(weights, torch.tensor([[0.25, 0.75]], dtype=FLOAT64))
    output = scaled_dot_product_attention(query, keys, values)
    assert_close(output, torch.tensor([[6.0, 1.0]], dtype=FLOAT64))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("size", [1.0, 100.0])
@pytest.mark.parametrize("asked", [1, 3, 5])
def test_attention_is_torchs_with_its_gradients(asked, size, device):
    inputs = [size * x for x in triple(asked=asked, device=device)]
    ours = scaled_dot_product_attention(*inputs)
    theirs = F.scaled_dot_product_attention(*inputs)
    assert ours.shape == (2, 3, 7)
    assert_close(ours, theirs)
    for mine, other in zip(
        gradients(ours, inputs), gradients(theirs, inputs), strict=True
    ):
        assert_close(mine, other)


@pytest.mark.parametrize("front", [(), (2,), (2, 3), (1, 2, 3)])
def test_any_axes_may_stand_in_front(front):
    queries, keys, values = (
        normal(*front, n, width, seed=n + width)
        for n, width in ((3, 7), (5, 7), (5, 11))
    )
    output = scaled_dot_product_attention(queries, keys, values)
    assert output.shape == (*front, 3, 11)
    assert_close(output, F.scaled_dot_product_attention(queries, keys, values))


def test_weights_are_rows_of_shares():
    queries, keys, _ = triple()
    weights = attention_weights(queries, keys)
    assert weights.shape == (2, 3, 5)
    assert_close(weights.sum(-1), torch.ones(2, 3, dtype=FLOAT64))
    assert (weights > 0).all()


def test_equal_keys_give_the_plain_mean():
    queries, keys, values = triple()
    same = keys[:, :1].expand_as(keys)
    mean = values.mean(-2, keepdim=True).expand(2, 3, 7)
    assert_close(scaled_dot_product_attention(queries, same, values), mean)


def test_the_order_of_keys_does_not_matter_when_values_follow():
    queries, keys, values = triple()
    order = torch.tensor([3, 0, 4, 1, 2])
    moved = scaled_dot_product_attention(queries, keys[:, order], values[:, order])
    assert_close(moved, scaled_dot_product_attention(queries, keys, values))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sixteen_bits_stay_finite_and_close(dtype, device):
    inputs = triple(1, 64, 64, 64, device=device)
    small = [x.detach().to(dtype).requires_grad_() for x in inputs]
    output = scaled_dot_product_attention(*small)
    assert output.dtype == dtype
    assert output.isfinite().all()
    assert all(g.isfinite().all() for g in gradients(output, small))
    exact = F.scaled_dot_product_attention(*[x.double() for x in small])
    # Half of the last bit of numbers near 1, a few times over.
    assert (output.double() - exact).abs().max() < 4 * torch.finfo(dtype).eps


@pytest.mark.parametrize("device", DEVICES)
def test_products_over_the_largest_float16_are_scaled_in_time(device):
    # 64 products of 40 * 40 are 102,400, over 65,504; divided by 8 they are 12,800.
    rows = torch.full((2, 64), 40.0, dtype=torch.float16, device=device)
    assert_close(attention_scores(rows, rows).cpu(), torch.full((2, 2), 12800.0).half())


@pytest.mark.parametrize(
    ("queries", "keys"),
    [((2, 3, 7), (2, 5, 6)), ((7,), (5, 7)), ((3, 7), (7,))],
)
def test_queries_and_keys_that_do_not_fit_are_named(queries, keys):
    with pytest.raises(ValueError, match=r"queries \(\.\.\., T, D\)") as caught:
        attention_weights(torch.zeros(queries), torch.zeros(keys))
    assert f"got {queries} and {keys}" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("values", [(2, 4, 7), (7,)])
def test_values_that_do_not_fit_the_keys_are_named(values):
    with pytest.raises(ValueError, match="one value for each key") as caught:
        scaled_dot_product_attention(
            torch.zeros(2, 3, 7), torch.zeros(2, 5, 7), torch.zeros(values)
        )
    assert f"keys (2, 5, 7) and values {values}" in str(caught.value)


# The module


def module(device: str = "cpu") -> SelfAttention:
    built = SelfAttention(width=5, head_width=7).double()
    with torch.no_grad():
        for n, weight in enumerate(built.parameters()):
            weight.copy_(normal(7, 5, seed=20 + n))
    return built.to(device)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("tokens", [1, 3])
def test_self_attention_is_three_products_and_torchs_attention(tokens, device):
    head, x = module(device), normal(2, tokens, 5, device=device).requires_grad_()
    inputs = [x, *head.parameters()]
    _, *weights = inputs
    ours = head(x)
    theirs = F.scaled_dot_product_attention(*(F.linear(x, w) for w in weights))
    assert ours.shape == (2, tokens, 7)
    assert_close(ours, theirs)
    for mine, other in zip(
        gradients(ours, inputs), gradients(theirs, inputs), strict=True
    ):
        assert_close(mine, other)


def test_self_attention_is_torchs_module_with_one_head_and_no_projection():
    head = SelfAttention(width=7, head_width=7).double()
    whole = nn.MultiheadAttention(7, 1, bias=False, batch_first=True).double()
    with torch.no_grad():
        layers = head.query.weight, head.key.weight, head.value.weight
        whole.in_proj_weight.copy_(torch.cat(layers))
        whole.out_proj.weight.copy_(torch.eye(7))
    x = normal(2, 3, 7)
    output, weights = whole(x, x, x)
    assert_close(head(x), output)
    assert_close(attention_weights(head.query(x), head.key(x)), weights)


def test_one_token_is_its_own_value():
    head, x = module(), normal(2, 1, 5)
    assert_close(head(x), head.value(x))


def test_a_text_in_another_order_is_answered_in_that_order():
    head, x = module(), normal(2, 5, 5)
    order = torch.tensor([3, 0, 4, 1, 2])
    assert_close(head(x[:, order]), head(x)[:, order])


def test_texts_of_a_batch_do_not_see_each_other():
    head, x = module(), normal(2, 3, 5)
    assert_close(head(x)[1:], head(x[1:]))


def test_what_is_learned_are_three_matrices():
    shapes = {name: tuple(p.shape) for name, p in module().named_parameters()}
    assert shapes == {
        "query.weight": (7, 5),
        "key.weight": (7, 5),
        "value.weight": (7, 5),
    }


@pytest.mark.parametrize("shape", [(3, 5), (2, 3, 6), (2, 3, 5, 5)])
def test_an_input_that_does_not_fit_is_named(shape):
    with pytest.raises(ValueError, match=r"expected x \(B, T, 5\)") as caught:
        module()(torch.zeros(shape, dtype=FLOAT64))
    assert f"got {shape}" in str(caught.value)


# A test of attention


def einsum(q, k, v):
    shares = torch.softmax(torch.einsum("btd,bsd->bts", q, k) * q.shape[-1] ** -0.5, -1)
    return torch.einsum("bts,bsd->btd", shares, v)


@pytest.mark.parametrize("candidate", [F.scaled_dot_product_attention, einsum])
def test_attention_is_recognised(candidate):
    assert is_attention(candidate) is True


@pytest.mark.parametrize(
    "candidate",
    [
        lambda q, k, v: einsum(q * 1.01, k, v),
        lambda q, k, v: einsum(q, k, v).unsqueeze(0),
        lambda q, k, v: einsum(k, q, v),
        lambda q, k, v: einsum(q, k, k),
        lambda q, k, v: einsum(q * math.sqrt(q.shape[-1] / q.shape[-2]), k, v),
        lambda q, k, v: einsum(q * math.sqrt(q.shape[-1] / k.shape[-2]), k, v),
        lambda q, k, v: einsum(q, k[:1].expand_as(k), v),
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
        lambda q, k, v: einsum(q, k, v) * float("nan"),
        lambda q, k, v: einsum(q, k, v[:, :3]),
        lambda q, k, v: None,
    ],
)
def test_a_near_miss_is_recognised(candidate):
    assert is_attention(candidate) is False


def test_a_softmax_that_overflows_is_recognised():
    def naive(q, k, v):
        shares = (q @ k.mT / math.sqrt(q.shape[-1])).exp()
        return shares / shares.sum(-1, keepdim=True) @ v

    assert is_attention(naive) is False
