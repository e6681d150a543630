"""Multi-head attention, by torch's own: outputs, gradients, what must not change."""

from __future__ import annotations

import doctest

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

import solutions.multi_head as chapter
from solutions.causal_masking import leaks
from solutions.multi_head import (
    AttentionModel,
    MultiHeadAttention,
    attention_mass,
    merge_heads,
    multi_head_parameters,
    split_heads,
    without_head,
)

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
SIZES = [(2, 5, 6, 3), (3, 7, 10, 2), (1, 2, 11, 1), (2, 3, 5, 5)]  # B, T, C, H


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*sizes: int, seed: int = 0, **options) -> torch.Tensor:
    return torch.randn(sizes, generator=seeded(seed), dtype=torch.float64, **options)


def attention(width, heads, context=16, **options) -> MultiHeadAttention:
    """With weights large enough for attention that is far from even."""
    module = MultiHeadAttention(width, heads, context, **options).double()
    with torch.no_grad():
        for number, parameter in enumerate(module.parameters()):
            parameter.copy_(0.7 * normal(*parameter.shape, seed=number + 10))
    return module


def as_torchs(ours: MultiHeadAttention) -> nn.MultiheadAttention:
    """`nn.MultiheadAttention` with copied weights."""
    width = ours.projection.in_features
    bias = ours.projection.bias is not None
    theirs = nn.MultiheadAttention(width, ours.heads, bias=bias, batch_first=True)
    theirs.double()
    names = {
        "qkv.weight": "in_proj_weight",
        "qkv.bias": "in_proj_bias",
        "projection.weight": "out_proj.weight",
        "projection.bias": "out_proj.bias",
    }
    theirs.load_state_dict({names[n]: v for n, v in ours.state_dict().items()})
    return theirs


def future(length: int) -> torch.Tensor:
    """The mask of `nn.MultiheadAttention`: True where a token may *not* look."""
    return torch.ones(length, length, dtype=torch.bool).triu(1)


# Splitting and merging


@pytest.mark.parametrize("sizes", SIZES)
def test_heads_are_pieces_of_the_channels(sizes):
    batch, length, width, heads = sizes
    x = normal(batch, length, width)
    pieces = torch.stack(x.chunk(heads, dim=-1), dim=1)  # (B, H, T, D)
    assert torch.equal(split_heads(x, heads), pieces)
    assert torch.equal(merge_heads(pieces), torch.cat(pieces.unbind(1), dim=-1))


@given(
    st.tuples(*[st.integers(1, 5)] * 4),
)
def test_merging_undoes_splitting(sizes):
    batch, heads, length, head_width = sizes
    x = normal(batch, length, heads * head_width)
    assert torch.equal(merge_heads(split_heads(x, heads)), x)
    y = normal(batch, heads, length, head_width)
    assert torch.equal(split_heads(merge_heads(y), heads), y)


def test_splitting_copies_nothing():
    x = normal(2, 3, 10)
    assert split_heads(x, 5).data_ptr() == x.data_ptr()


# Against torch


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("sizes", SIZES)
def test_outputs_and_gradients_are_those_of_torchs_module(sizes, bias):
    batch, length, width, heads = sizes
    ours = attention(width, heads, bias=bias)
    theirs = as_torchs(ours)
    x = normal(batch, length, width, requires_grad=True)
    z = x.detach().clone().requires_grad_(True)
    weight = normal(batch, length, width, seed=3)

    output = ours(x)
    expected, _ = theirs(z, z, z, attn_mask=future(length), need_weights=False)
    assert_close(output, expected)

    (output * weight).sum().backward()
    (expected * weight).sum().backward()
    assert_close(x.grad, z.grad)
    assert_close(ours.qkv.weight.grad, theirs.in_proj_weight.grad)
    assert_close(ours.projection.weight.grad, theirs.out_proj.weight.grad)
    if bias:
        assert_close(ours.qkv.bias.grad, theirs.in_proj_bias.grad)
        assert_close(ours.projection.bias.grad, theirs.out_proj.bias.grad)


@pytest.mark.parametrize("sizes", SIZES)
def test_the_weights_are_those_of_torchs_module(sizes):
    batch, length, width, heads = sizes
    ours = attention(width, heads)
    x = normal(batch, length, width)
    _, expected = as_torchs(ours)(
        x, x, x, attn_mask=future(length), average_attn_weights=False
    )
    assert_close(ours.weights(x), expected)


def test_the_output_is_the_weights_times_the_values():
    ours, x = attention(10, 5), normal(2, 7, 10)
    values = ours.project(x)[2]
    assert_close(ours(x), ours.projection(merge_heads(ours.weights(x) @ values)))


@pytest.mark.parametrize("sizes", SIZES)
def test_it_is_a_loop_of_heads(sizes):
    batch, length, width, heads = sizes
    ours, x = attention(width, heads), normal(batch, length, width)
    parts = F.linear(x, ours.qkv.weight, ours.qkv.bias).split(width, dim=-1)
    head_width = width // heads
    found = []
    for head in range(heads):
        own = slice(head * head_width, (head + 1) * head_width)
        q, k, v = (part[..., own] for part in parts)
        found.append(F.scaled_dot_product_attention(q, k, v, is_causal=True))
    assert_close(ours(x), ours.projection(torch.cat(found, dim=-1)))


def test_gradients_are_those_of_finite_differences():
    ours = attention(6, 3)
    x = normal(1, 4, 6, requires_grad=True)
    assert torch.autograd.gradcheck(ours, (x,))


# Causality, length, precision


@pytest.mark.parametrize("length", [2, 33, 130])
def test_no_output_depends_on_a_later_token(length):
    x = normal(2, length, 6)
    ours = attention(6, 3, context=length)
    before = ours(x)
    for t in {1, length // 2, length - 1}:
        changed = x.clone()
        changed[:, t:] = normal(2, length - t, 6, seed=t)
        assert torch.equal(ours(changed)[:, :t], before[:, :t])
        assert not torch.equal(ours(changed)[:, t], before[:, t])


def test_the_leak_detector_finds_nothing():
    torch.manual_seed(0)
    model = AttentionModel(11, context=9, width=6, heads=3, layers=2)
    assert leaks(model, torch.randint(11, (2, 9), generator=seeded())) == []


def test_a_single_token_gets_its_own_value():
    ours, x = attention(6, 3), normal(2, 1, 6)
    value = F.linear(x, ours.qkv.weight[12:], ours.qkv.bias[12:])
    assert_close(ours(x), ours.projection(value))


def test_a_shorter_text_is_the_beginning_of_a_longer_one():
    ours, x = attention(10, 2, context=8), normal(2, 8, 10)
    assert_close(ours(x[:, :3]), ours(x)[:, :3])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_finite_and_near(device, dtype):
    ours, x = attention(8, 2).to(device), normal(2, 7, 8).to(device)
    expected = ours(x)
    output = ours.to(dtype)(100 * x.to(dtype))
    assert output.dtype == dtype
    assert output.isfinite().all()
    assert_close(
        ours(x.to(dtype)).double(), expected, rtol=0, atol=16 * torch.finfo(dtype).eps
    )


@pytest.mark.parametrize("device", DEVICES)
def test_module_and_weights_work_on_a_device(device):
    ours, x = attention(6, 2), normal(2, 5, 6)
    expected = ours(x), ours.weights(x)
    ours, x = ours.to(device), x.to(device)
    for got, wanted in zip((ours(x), ours.weights(x)), expected, strict=True):
        assert got.device.type == device
        assert_close(got.cpu(), wanted)


# Dropout


def test_dropout_drops_weights_in_training_only():
    ours, x = attention(4, 2, dropout=0.5), normal(1, 3, 4)
    torch.manual_seed(0)
    many = ours.train()(x.expand(20_000, 3, 4))
    quiet = ours.eval()(x)
    assert torch.equal(quiet, ours(x))
    # On average nothing changes; the first token has four outcomes, two per head.
    error = (many.mean(0) - quiet[0]).abs() / (many.std(0) / 20_000**0.5)
    assert error.max() < 4.5
    assert len(many[:, 0].round(decimals=9).unique(dim=0)) == 4


def test_dropout_of_everything_leaves_the_bias():
    ours = attention(4, 2, dropout=1.0).train()
    assert_close(ours(normal(2, 3, 4)), ours.projection.bias.expand(2, 3, 4))


# Counting


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("width", "heads"), [(6, 1), (6, 3), (768, 12)])
def test_the_count_is_that_of_both_modules(width, heads, bias):
    theirs = nn.MultiheadAttention(width, heads, bias=bias)
    ours = MultiHeadAttention(width, heads, context=1, bias=bias)
    count = multi_head_parameters(width, heads, bias)
    assert count == sum(p.numel() for p in theirs.parameters())
    assert count == sum(p.numel() for p in ours.parameters())


# Ablation


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("head", range(3))
def test_a_head_without_values_adds_nothing(head, bias):
    """Torch's module with values of zero for this head is the oracle."""
    ours, x = attention(6, 3, bias=bias), normal(2, 5, 6)
    theirs = as_torchs(ours)
    with torch.no_grad():
        values = slice(12 + 2 * head, 12 + 2 * (head + 1))
        theirs.in_proj_weight[values] = 0.0
        if bias:
            theirs.in_proj_bias[values] = 0.0
    expected, _ = theirs(x, x, x, attn_mask=future(5), need_weights=False)
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    assert_close(without_head(ours, head)(x), expected)
    assert all(torch.equal(before[n], v) for n, v in ours.state_dict().items())


def test_silencing_keeps_the_mode_and_the_limits():
    quiet = without_head(attention(6, 3, context=4, dropout=0.5).eval(), 1)
    assert not quiet.training
    assert (quiet.heads, quiet.context, quiet.dropout) == (3, 4, 0.5)


def test_another_layer_may_stand_in_for_the_projection():
    """As an answer does that silences a head with a layer before it."""
    ours, x = attention(6, 3), normal(2, 5, 6)
    expected = ours(x)
    ours.projection = nn.Sequential(nn.Identity(), ours.projection)
    assert torch.equal(ours(x), expected)


# Whom a head looks at


def test_mass_is_a_mean_over_tokens_of_sums_over_sought():
    weights = torch.rand(3, 2, 5, 5, generator=seeded()).softmax(-1)
    asking = torch.rand(3, 5, generator=seeded(1)) < 0.4
    sought = torch.rand(3, 5, generator=seeded(2)) < 0.5
    both = torch.einsum(
        "bhts,bt,bs->h", weights.double(), asking.double(), sought.double()
    )
    expected = both / asking.sum()
    assert_close(attention_mass(weights.double(), asking, sought), expected)
    everywhere = torch.ones_like(sought)
    assert_close(attention_mass(weights, asking, everywhere), torch.ones(2))


# The model of attention alone


@pytest.mark.parametrize("norm", [nn.Identity, nn.LayerNorm])
def test_the_model_is_embedding_attention_output(norm):
    torch.manual_seed(0)
    model = AttentionModel(11, 7, width=6, heads=3, layers=2, norm=norm).double()
    ids = torch.randint(11, (2, 7), generator=seeded())
    tables = model.embedding
    x = tables.token_embedding.weight[ids] + tables.position_embedding.weight
    seen = []
    for layer in model.layers:
        z = x if norm is nn.Identity else F.layer_norm(x, (6,))
        found, weights = as_torchs(layer)(
            z, z, z, attn_mask=future(7), average_attn_weights=False
        )
        seen.append(weights)
        x = x + found
    x = x if norm is nn.Identity else F.layer_norm(x, (6,))
    expected = F.linear(x, model.output.weight, model.output.bias)
    assert_close(model(ids), expected)
    assert_close(model.weights(ids), torch.stack(seen, dim=1))


# What is refused


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: split_heads(normal(2, 3, 10), 4), "4 heads do not divide 10 channels"),
        (lambda: split_heads(normal(2, 3, 10), 0), "0 heads do not divide 10 channels"),
        (lambda: split_heads(normal(3, 10), 5), r"expected x \(B, T, C\), got shape"),
        (lambda: merge_heads(normal(2, 3, 10)), r"expected x \(B, H, T, D\), got"),
        (lambda: MultiHeadAttention(10, 4, 8), "choose a number of heads that does"),
        (lambda: MultiHeadAttention(8, 4, 8, dropout=1.5), "dropout is 1.5, expected"),
        (lambda: attention(6, 3, 4)(normal(2, 5, 6)), r"give the last ones, x\[:, -4:"),
        (lambda: attention(6, 3)(normal(2, 5, 7)), r"expected x \(B, T, 6\), got \(2"),
        (lambda: attention(6, 3)(normal(5, 6)), r"expected x \(B, T, 6\), got \(5, 6"),
        (lambda: attention(6, 3, 4).weights(normal(2, 5, 6)), "the context of 4"),
        (lambda: multi_head_parameters(10, 4), "4 heads do not divide 10 channels"),
        (lambda: without_head(attention(6, 3), 3), "no head 3, expected 0 to 2"),
        (lambda: without_head(attention(6, 3), -1), "no head -1, expected 0 to 2"),
        (
            lambda: attention_mass(
                torch.ones(1, 1, 2, 2), *torch.zeros(2, 1, 2, dtype=torch.bool)
            ),
            "no token asks",
        ),
    ],
)
def test_bad_input_gets_one_clear_line(call, words):
    with pytest.raises(ValueError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_the_examples_in_the_docstrings_hold():
    results = doctest.testmod(chapter)
    assert results.attempted > 1
    assert results.failed == 0
