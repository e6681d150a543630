"""Normalization layers: against torch in float64, and by what they must not do."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from solutions.causal_masking import leaks
from solutions.normalization import (
    DyT,
    LayerNorm,
    Residual,
    RMSNorm,
    Tower,
    swap_norms,
)

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
NORMS = (LayerNorm, RMSNorm, DyT)


def stream(*shape: int, dtype=torch.float64, device="cpu"):
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(shape, generator=generator, dtype=torch.float64)
    return (3 * x + 0.7).to(device, dtype)


def with_random_weights(module: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(5)
    for parameter in module.parameters():
        values = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        parameter.data = values
    return module


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("ours", "foreign"),
    [
        (LayerNorm(7), nn.LayerNorm(7)),
        (LayerNorm(7, eps=0.3), nn.LayerNorm(7, eps=0.3)),
        (LayerNorm(7, bias=False), nn.LayerNorm(7, bias=False)),
        (RMSNorm(7), nn.RMSNorm(7, eps=1e-6)),
        (RMSNorm(7, eps=0.3), nn.RMSNorm(7, eps=0.3)),
    ],
    ids=str,
)
def test_torch_agrees_with_copied_weights_in_value_and_gradient(ours, foreign, device):
    with_random_weights(ours).to(device)
    foreign.double().to(device).load_state_dict(ours.state_dict())
    cotangent = stream(2, 3, 7, device=device).cos()
    grads = []
    for module in ours, foreign:
        x = stream(2, 3, 7, device=device).requires_grad_()
        y = module(x)
        y.backward(cotangent)
        grads.append([y.detach(), x.grad, *(p.grad for p in module.parameters())])
    for mine, theirs in zip(*grads, strict=True):
        assert_close(mine, theirs)


def test_dyt_is_the_formula_of_its_paper_number_by_number():
    module = with_random_weights(DyT(3))
    alpha = module.alpha.item()
    x = torch.tensor([[0.5, -2.0, 30.0]], dtype=torch.float64)
    expected = [
        math.tanh(alpha * value) * gain + shift
        for value, gain, shift in zip(
            x[0].tolist(), module.weight.tolist(), module.bias.tolist(), strict=True
        )
    ]
    assert_close(module(x)[0].tolist(), expected)


def test_gradients_of_dyt_agree_with_finite_differences():
    module = with_random_weights(DyT(3))
    x = stream(2, 3).requires_grad_()
    names = dict(module.named_parameters())

    def run(x, *values):
        state = dict(zip(names, values, strict=True))
        return torch.func.functional_call(module, state, (x,))

    assert torch.autograd.gradcheck(run, (x, *names.values()))


def test_how_the_layers_begin():
    assert {n: p.tolist() for n, p in LayerNorm(2).named_parameters()} == {
        "weight": [1, 1],
        "bias": [0, 0],
    }
    assert {n: p.tolist() for n, p in RMSNorm(2).named_parameters()} == {
        "weight": [1, 1]
    }
    assert {n: p.tolist() for n, p in DyT(2).named_parameters()} == {
        "alpha": [0.5],
        "weight": [1, 1],
        "bias": [0, 0],
    }
    assert DyT(2, alpha=0.25).alpha.tolist() == [0.25]


def test_a_vector_on_paper():
    # 1, 2, 3, 4, 5: mean 3, variance 2. 3, 4: mean square 12.5.
    normed = LayerNorm(5, eps=0.0).double()(torch.arange(1.0, 6.0).double())
    assert_close(normed, torch.tensor([-2.0, -1, 0, 1, 2]).double() / math.sqrt(2))
    sized = RMSNorm(2, eps=0.0).double()(torch.tensor([3.0, 4.0]).double())
    assert_close(sized, torch.tensor([3.0, 4.0]).double() / math.sqrt(12.5))


@pytest.mark.parametrize("cls", NORMS)
def test_a_token_learns_nothing_of_the_others(cls):
    module = with_random_weights(cls(7))
    x = stream(2, 3, 7)
    other = x.clone()
    other[1] += 5
    other[0, 2] -= 9
    assert torch.equal(module(x)[0, :2], module(other)[0, :2])
    assert torch.equal(module(x)[0, 0], module(x[0, 0]))


@pytest.mark.parametrize("cls", NORMS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("scale", [1.0, 300.0])
@pytest.mark.parametrize("device", DEVICES)
def test_half_precision_stays_finite_and_close(cls, dtype, scale, device):
    x = (scale * stream(2, 3, 64)).to(dtype)
    exact = cls(64).double()(x.double())
    y = cls(64).to(device, dtype)(x.to(device))
    assert y.dtype == dtype
    assert y.isfinite().all()
    # Half of the last place of the largest value is the best that the type can do.
    step = torch.finfo(dtype).eps * exact.abs().max()
    assert (y.double().cpu() - exact).abs().max() <= 2 * step


@pytest.mark.parametrize("cls", NORMS)
@pytest.mark.parametrize("shape", [(3, 5), (), (7, 1)])
def test_a_wrong_width_is_refused_in_one_line(cls, shape):
    with pytest.raises(ValueError, match=r"expected \(..., 7\), got shape") as caught:
        cls(7)(torch.zeros(shape))
    assert "\n" not in str(caught.value)


# Residual layers


@pytest.mark.parametrize("pre", [True, False])
def test_residual_layers_are_those_of_torchs_own_encoder(pre):
    """The feed-forward half of torch's layer, with its attention made to give 0."""
    foreign = nn.TransformerEncoderLayer(
        6, 2, dim_feedforward=5, dropout=0.0, batch_first=True, norm_first=pre
    ).double()
    nn.init.zeros_(foreign.self_attn.out_proj.weight)
    layer = nn.Sequential(foreign.linear1, nn.ReLU(), foreign.linear2)
    norm = LayerNorm(6).double()
    x = stream(2, 3, 6)
    # In torch's post-norm layer a first norm stands behind the (empty) attention.
    given = x if pre else F.layer_norm(x, (6,))
    assert_close(Residual(layer, norm, pre)(given), foreign(x))


def test_pre_norm_leaves_the_stream_alone_where_the_layer_says_nothing():
    silent = nn.Linear(6, 6)
    nn.init.zeros_(silent.weight)
    nn.init.zeros_(silent.bias)
    x = stream(2, 3, 6, dtype=torch.float32)
    assert torch.equal(Residual(silent, LayerNorm(6))(x), x)
    assert not torch.equal(Residual(silent, LayerNorm(6), pre=False)(x), x)


# The swap


def test_a_model_of_torch_computes_the_same_with_our_norms_in_it():
    model = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(6, 2, 5, dropout=0.0, batch_first=True),
        num_layers=2,
        norm=nn.LayerNorm(6),
        enable_nested_tensor=False,
    ).double()
    x = stream(2, 3, 6)
    before = model.train()(x)
    assert swap_norms(model, nn.LayerNorm, LayerNorm) == 5
    assert not any(isinstance(part, nn.LayerNorm) for part in model.modules())
    assert_close(model(x), before)


def test_a_norm_that_stands_in_two_places_stays_one():
    shared = nn.LayerNorm(3)
    model = nn.Sequential(shared, nn.Linear(3, 3), shared)
    assert swap_norms(model, nn.LayerNorm, DyT) == 1
    assert model[0] is model[2]
    assert isinstance(model[0], DyT)


def test_the_new_norms_go_where_the_old_ones_were():
    model = nn.Sequential(nn.LayerNorm(3, dtype=torch.float64, device="meta"))
    swap_norms(model, nn.LayerNorm, RMSNorm)
    assert model[0].weight.dtype == torch.float64
    assert model[0].weight.device.type == "meta"


@pytest.mark.parametrize("model", [nn.Sequential(nn.Linear(3, 3)), nn.LayerNorm(3)])
def test_a_swap_that_finds_nothing_is_refused(model):
    with pytest.raises(ValueError, match="no LayerNorm to swap"):
        swap_norms(model, nn.LayerNorm, RMSNorm)


# The tower


@pytest.mark.parametrize("pre", [True, False])
@pytest.mark.parametrize("norm", [*NORMS, nn.Identity])
def test_no_tower_sees_the_future(norm, pre):
    tower = Tower(11, 5, width=6, heads=2, layers=2, norm=norm, pre=pre)
    ids = torch.tensor([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3]])
    assert tower(ids).shape == (2, 5, 11)
    assert leaks(tower, ids) == []


class BatchNorm(nn.BatchNorm1d):
    """Over all texts and positions, (B, T, C): the usual way to put it here."""

    def forward(self, x):
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


def test_a_tower_with_batch_norm_sees_the_future_while_it_is_trained():
    tower = Tower(11, 5, width=6, heads=2, layers=1, norm=BatchNorm)
    ids = torch.tensor([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3]])
    assert leaks(tower.train(), ids) == [0, 1, 2, 3]
    assert leaks(tower.eval(), ids) == []


def test_a_pre_norm_tower_is_torchs_encoder_with_weights_copied_over():
    tower = Tower(11, 5, width=6, heads=2, layers=2).double()
    layer = nn.TransformerEncoderLayer(
        6, 2, 24, dropout=0.0, batch_first=True, norm_first=True
    )
    foreign = nn.TransformerEncoder(layer, 2, nn.LayerNorm(6), False).double().eval()
    for n, theirs in enumerate(foreign.layers):
        attention, wide = tower.layers[2 * n], tower.layers[2 * n + 1]
        qkv, projection = attention.layer.qkv, attention.layer.projection
        theirs.self_attn.in_proj_weight.data = qkv.weight.data
        theirs.self_attn.in_proj_bias.data = qkv.bias.data
        theirs.self_attn.out_proj.load_state_dict(projection.state_dict())
        theirs.linear1.load_state_dict(wide.layer[0].state_dict())
        theirs.linear2.load_state_dict(wide.layer[2].state_dict())
    ids = torch.tensor([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3]])
    mask = nn.Transformer.generate_square_subsequent_mask(5, dtype=torch.float64)
    expected = tower.output(foreign(tower.embedding(ids), mask=mask, is_causal=True))
    assert_close(tower(ids), expected)


def test_the_stream_is_the_embedding_and_what_each_layer_made_of_it():
    tower = Tower(11, 5, width=6, heads=2, layers=2)
    ids = torch.tensor([[3, 1, 4]])
    seen = tower.stream(ids)
    assert [tuple(x.shape) for x in seen] == [(1, 3, 6)] * 5
    assert torch.equal(seen[0], tower.embedding(ids))
    assert torch.equal(seen[2], tower.layers[1](seen[1]))
