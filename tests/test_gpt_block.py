"""The GPT by transformers' GPT-2, its parts by torch's own, its numbers by hand."""

from __future__ import annotations

import copy
import doctest
import io
import math
from collections import UserDict
from dataclasses import replace
from weakref import WeakSet

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode
from transformers import GPT2Config, GPT2LMHeadModel
from transformers.generation.logits_process import TopKLogitsWarper, TopPLogitsWarper
from transformers.models.gpt2.modeling_gpt2 import GPT2MLP, GPT2Block

import solutions.gpt_block as chapter
from solutions.causal_masking import leaks
from solutions.gpt_block import (
    GPT,
    PRESETS,
    Block,
    FeedForward,
    GPTConfig,
    forward_flops,
    from_gpt2,
    gelu,
    gelu_tanh,
    gpt2_names,
    gpt_parameters,
    keep_top_k,
    keep_top_p,
    to_gpt2,
    write,
)

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
TINY = GPTConfig(23, 11, n_embd=10, n_layer=3, n_head=5)
COUNTS = {
    "gpt2": 124_439_808,
    "gpt2-medium": 354_823_168,
    "gpt2-large": 774_030_080,
    "gpt2-xl": 1_557_611_200,
}
"""Of the four models as they were published."""


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*sizes: int, seed: int = 0, **options) -> torch.Tensor:
    return torch.randn(sizes, generator=seeded(seed), dtype=torch.float64, **options)


def tokens(*sizes: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(TINY.vocab_size, sizes, generator=seeded(seed))


@torch.no_grad()
def shaken(module: nn.Module, size: float = 0.4) -> nn.Module:
    """With large weights, biases and gains, of which no two resemble each other."""
    module.double()
    for number, parameter in enumerate(module.parameters()):
        parameter.copy_(size * normal(*parameter.shape, seed=number + 10))
    return module


def theirs_of(config: GPTConfig, **options) -> GPT2Config:
    """The same sizes as transformers has them: the field names are GPT-2's."""
    return GPT2Config(
        **vars(config),
        attn_implementation="eager",
        bos_token_id=0,
        eos_token_id=None,
        **options,
    )


def as_transformers(ours: GPT) -> GPT2LMHeadModel:
    """Their model with our weights, by way of `to_gpt2`."""
    theirs = GPT2LMHeadModel(theirs_of(ours.config)).double()
    missing, unexpected = theirs.load_state_dict(to_gpt2(ours), strict=False)
    assert (missing, unexpected) == (["lm_head.weight"], [])  # it is the token table
    return theirs.train(ours.training)


def by_their_names(ours: GPT) -> dict[str, torch.Tensor]:
    """Our gradients under GPT-2's names and in its layout."""
    return {
        f"transformer.{name}": (p.grad.T if turned else p.grad)
        for ours_name, (name, turned) in gpt2_names(ours.config).items()
        for p in [ours.get_parameter(ours_name)]
    }


# GELU


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("ours", "form"), [(gelu, "none"), (gelu_tanh, "tanh")], ids=["erf", "tanh"]
)
def test_gelu_is_torchs_in_value_and_gradient(ours, form, device):
    x = torch.linspace(-9, 9, 181, dtype=torch.float64, device=device)
    x = x.view(1, 181).requires_grad_()
    z = x.detach().clone().requires_grad_()
    y, expected = ours(x), F.gelu(z, approximate=form)
    assert_close(y, expected)
    y.cos().sum().backward()
    expected.cos().sum().backward()
    assert_close(x.grad, z.grad)


def test_the_two_forms_differ_by_less_than_they_say():
    x = torch.linspace(-20, 20, 40_001, dtype=torch.float64)
    far = (gelu(x) - gelu_tanh(x)).abs().max()
    assert 0.0004 < far < 0.0005


# The parts


def test_the_feed_forward_layer_is_gpt2s():
    ours = shaken(FeedForward(6))
    theirs = GPT2MLP(24, GPT2Config(n_embd=6, resid_pdrop=0.0)).double()
    with torch.no_grad():
        for layer, foreign in (
            (ours.expand, theirs.c_fc),
            (ours.projection, theirs.c_proj),
        ):
            foreign.weight.copy_(layer.weight.T)
            foreign.bias.copy_(layer.bias)
    x = normal(2, 3, 6, requires_grad=True)
    z = x.detach().clone().requires_grad_()
    y, expected = ours(x), theirs(z)
    assert_close(y, expected)
    y.cos().sum().backward()
    expected.cos().sum().backward()
    assert_close(x.grad, z.grad)
    assert_close(ours.expand.weight.grad, theirs.c_fc.weight.grad.T)
    assert_close(ours.projection.bias.grad, theirs.c_proj.bias.grad)


def test_it_works_on_each_position_by_itself():
    ours, x = shaken(FeedForward(6)), normal(2, 5, 6)
    one_by_one = [ours(x[:, t : t + 1]) for t in range(5)]
    assert_close(ours(x), torch.cat(one_by_one, dim=1))


@pytest.mark.parametrize("eps", [1e-5, 0.3])
@pytest.mark.parametrize("sizes", [(2, 7, 10, 5), (1, 1, 6, 1), (3, 4, 6, 6)])
def test_the_block_is_gpt2s_in_value_and_gradient(sizes, eps):
    batch, length, width, heads = sizes
    config = replace(TINY, n_embd=width, n_head=heads, layer_norm_epsilon=eps)
    ours = shaken(Block(width, heads, length, eps=eps))
    theirs = GPT2Block(theirs_of(config), layer_idx=0).double().eval()
    prefix = "blocks.0."
    theirs.load_state_dict(
        {
            name.removeprefix("h.0."): value.T if turned else value
            for ours_name, (name, turned) in gpt2_names(config).items()
            if ours_name.startswith(prefix)
            for value in [ours.state_dict()[ours_name.removeprefix(prefix)]]
        }
    )
    future = torch.full((length, length), -torch.inf, dtype=torch.float64).triu(1)
    x = normal(batch, length, width, requires_grad=True)
    z = x.detach().clone().requires_grad_()
    y = ours(x)
    expected = theirs(z, attention_mask=future[None, None])
    expected = expected[0] if isinstance(expected, tuple) else expected
    assert_close(y, expected)
    y.cos().sum().backward()
    expected.cos().sum().backward()
    assert_close(x.grad, z.grad)


def test_a_block_that_adds_nothing_is_the_stream_itself():
    ours, x = shaken(Block(6, 3, 5)), normal(2, 5, 6)
    with torch.no_grad():
        for layer in ours.attention, ours.feed_forward:
            layer.projection.weight.zero_()
            layer.projection.bias.zero_()
    assert torch.equal(ours(x), x)


# The whole model


@pytest.mark.parametrize("length", [1, 7, 11])
@pytest.mark.parametrize(
    "config",
    [
        TINY,
        replace(TINY, layer_norm_epsilon=0.3),
        GPTConfig(7, 11, n_embd=6, n_layer=1, n_head=1),
    ],
    ids=["tiny", "eps", "one-head"],
)
def test_logits_and_all_gradients_are_transformers_by_to_gpt2(config, length):
    ours = shaken(GPT(config))
    theirs = as_transformers(ours)
    ids = tokens(2, length) % config.vocab_size
    logits, expected = ours(ids), theirs(ids).logits
    assert logits.shape == (2, length, config.vocab_size)
    assert_close(logits, expected)

    weight = normal(*logits.shape, seed=3)
    (logits * weight).sum().backward()
    (expected * weight).sum().backward()
    grads = {name: p.grad for name, p in theirs.named_parameters()}
    assert_close(by_their_names(ours), grads)


@pytest.mark.parametrize("prefix", [True, False])
def test_logits_are_transformers_by_from_gpt2(prefix):
    theirs = shaken(GPT2LMHeadModel(theirs_of(TINY))).eval()
    state = theirs.state_dict() if prefix else theirs.transformer.state_dict()
    assert any(name.startswith("transformer.") for name in state) == prefix
    ids = tokens(3, 9)
    assert_close(from_gpt2(state, TINY).eval()(ids), theirs(ids).logits)


def test_it_is_embedding_blocks_norm_table():
    ours, ids = shaken(GPT(TINY)), tokens(2, 6)
    tables = ours.embedding
    x = tables.token_embedding.weight[ids] + tables.position_embedding.weight[:6]
    for block in ours.blocks:
        x = block(x)
    x = F.layer_norm(x, (10,), ours.norm.weight, ours.norm.bias)
    assert_close(ours(ids), x @ tables.token_embedding.weight.T)


def test_a_bad_prediction_of_one_token_trains_its_row_from_both_sides():
    """The gradient of the tied table is that of the input plus that of the output."""
    ours, ids = shaken(GPT(TINY)), torch.tensor([[2, 5, 2]])
    untied = copy.deepcopy(ours)
    table = ours.embedding.token_embedding.weight
    other = table.detach().clone().requires_grad_()
    weight = normal(1, 3, 23)
    (ours(ids) * weight).sum().backward()

    x = untied.embedding(ids)
    for block in untied.blocks:
        x = block(x)
    (F.linear(untied.norm(x), other) * weight).sum().backward()
    into = untied.embedding.token_embedding.weight.grad
    assert into[[2, 5]].abs().min() > 0
    assert_close(table.grad, into + other.grad)


@pytest.mark.parametrize("length", [2, 11])
def test_the_leak_detector_finds_nothing(length):
    assert leaks(shaken(GPT(TINY)).eval(), tokens(2, length)) == []


@pytest.mark.parametrize("length", [11, 65])
def test_no_logit_depends_on_a_later_token(length):
    ours = shaken(GPT(replace(TINY, n_positions=length))).eval()
    ids = tokens(2, length)
    before = ours(ids)
    for t in {1, length // 2, length - 1}:
        changed = ids.clone()
        changed[:, t:] = (ids[:, t:] + tokens(2, length - t, seed=t) % 22 + 1) % 23
        after = ours(changed)
        assert torch.equal(after[:, :t], before[:, :t])
        assert not torch.equal(after[:, t], before[:, t])


def test_a_shorter_text_is_the_beginning_of_a_longer_one():
    ours, ids = shaken(GPT(TINY)), tokens(2, 11)
    assert_close(ours(ids[:, :4]), ours(ids)[:, :4])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_finite_and_near(device, dtype):
    torch.manual_seed(0)
    ours, ids = GPT(PRESETS["tiny"]).eval().to(device), tokens(2, 64).to(device)
    expected = ours(ids)
    logits = copy.deepcopy(ours).to(dtype)(ids)
    assert logits.dtype == dtype
    tolerance = 16 * torch.finfo(dtype).eps * expected.abs().max().item()
    assert_close(logits.float(), expected, rtol=0, atol=tolerance)

    with torch.no_grad():  # a stream whose squares float16 cannot hold
        ours.embedding.token_embedding.weight.mul_(6_000)
    ours.to(dtype)
    assert ours.embedding(ids).abs().max() > 300
    assert ours(ids).isfinite().all()


@pytest.mark.parametrize("device", DEVICES)
def test_the_model_works_on_a_device(device):
    ours, ids = shaken(GPT(TINY)), tokens(2, 7)
    expected = ours(ids).detach()
    logits = ours.to(device)(ids.to(device))
    assert logits.device.type == device
    assert_close(logits.detach().cpu(), expected)


# Dropout


@pytest.mark.parametrize("name", ["embd_pdrop", "attn_pdrop", "resid_pdrop"])
def test_dropout_of_everything_is_at_the_place_of_gpt2(name):
    """At 1 nothing is left to chance, and transformers must give the same."""
    ours = shaken(GPT(replace(TINY, **{name: 1.0}))).train()
    ids = tokens(2, 7)
    logits = ours(ids)
    assert_close(logits, as_transformers(ours)(ids).logits)
    calm = ours.eval()(ids)
    assert (calm - logits).abs().max() > 0.1
    assert_close(calm, as_transformers(ours)(ids).logits)


def test_dropout_rests_after_eval_and_is_off_by_default():
    ids = tokens(2, 7)
    every = replace(TINY, embd_pdrop=0.5, attn_pdrop=0.5, resid_pdrop=0.5)
    ours = shaken(GPT(every))
    assert not torch.equal(ours(ids), ours(ids))
    assert torch.equal(ours.eval()(ids), ours(ids))
    ours = shaken(GPT(TINY)).train()
    assert torch.equal(ours(ids), ours(ids))


# How a model begins


def deviations(layers: int, std: float = 0.02) -> dict[str, float]:
    """What each matrix of a block should begin with."""
    small = std / math.sqrt(2 * layers)
    return {
        "attention.qkv": std,
        "attention.projection": small,
        "feed_forward.expand": std,
        "feed_forward.projection": small,
    }


@pytest.mark.parametrize("std", [0.02, 0.1])
@pytest.mark.parametrize("layers", [1, 4])
def test_a_new_model_begins_as_gpt2_does(layers, std):
    torch.manual_seed(0)
    config = replace(PRESETS["tiny"], n_layer=layers, initializer_range=std)
    ours = GPT(config)
    wanted = {
        f"blocks.{layer}.{name}.weight": value
        for layer in range(layers)
        for name, value in deviations(layers, std).items()
    }
    for kind in "token", "position":
        wanted[f"embedding.{kind}_embedding.weight"] = std
    for name, parameter in ours.named_parameters():
        if name.endswith("bias"):
            assert (parameter == 0).all(), name
        elif "norm" in name:
            assert (parameter == 1).all(), name
        else:
            sigma, count = wanted.pop(name), parameter.numel()
            # Five deviations of the estimate, of which there are some 18.
            error = 5 * sigma / math.sqrt(2 * count)
            assert abs(parameter.std().item() - sigma) < error, name
            assert abs(parameter.mean().item()) < 5 * sigma / math.sqrt(count), name
            kurtosis = ((parameter / parameter.std()) ** 4).mean().item()
            assert abs(kurtosis - 3) < 5 * math.sqrt(24 / count), name  # it is normal
    assert wanted == {}


def test_every_block_begins_with_numbers_of_its_own():
    ours = GPT(TINY)
    first, second = (ours.blocks[i].attention.qkv.weight for i in (0, 1))
    assert not torch.equal(first, second)


def test_the_same_seed_begins_alike_and_a_reset_begins_anew():
    def made() -> GPT:
        torch.manual_seed(5)
        return GPT(TINY)

    one, other = made(), made()
    assert_close(one.state_dict(), other.state_dict(), rtol=0, atol=0)
    other.reset_parameters()
    assert not torch.equal(
        one.embedding.token_embedding.weight, other.embedding.token_embedding.weight
    )
    assert all(p.requires_grad and p.grad_fn is None for p in other.parameters())


def test_a_new_model_is_as_unsure_as_can_be():
    torch.manual_seed(0)
    ours, ids = GPT(PRESETS["tiny"]), tokens(4, 64)
    loss = F.cross_entropy(ours(ids).flatten(0, 1), tokens(4, 64, seed=1).flatten())
    assert abs(loss.item() - math.log(2_048)) < 0.05


# Counting


@pytest.mark.parametrize("name", PRESETS)
def test_the_count_is_that_of_both_models(name):
    config = PRESETS[name]
    with torch.device("meta"):
        models = GPT(config), GPT2LMHeadModel(theirs_of(config))
    for model in models:
        count = sum(p.numel() for p in model.parameters())
        assert gpt_parameters(config) == count
    assert count == COUNTS.get(name, count)


def test_the_four_published_sizes_are_among_the_presets():
    assert set(COUNTS) == {name for name in PRESETS if name.startswith("gpt2")}
    assert PRESETS["gpt2"] == GPTConfig() == GPTConfig(50_257, 1_024, 768, 12, 12)


@pytest.mark.parametrize("name", ["tiny", "gpt2"])
@pytest.mark.parametrize("length", [1, 64])
def test_flops_are_those_that_torch_counts(name, length):
    config = PRESETS[name]
    with torch.device("meta"):
        model, ids = GPT(config), torch.zeros(3, length, dtype=torch.long)
        with FlopCounterMode(display=False) as counted:
            model(ids)
    assert forward_flops(config, length) * 3 * length == counted.get_total_flops()


# Top-k and top-p


def rows(seed: int, ties: bool, size: int = 13) -> torch.Tensor:
    x = 2 * normal(5, size, seed=seed)
    return x.round() if ties else x


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("k", [1, 2, 5, 12, 13, 50])
def test_top_k_is_that_of_transformers(k, ties):
    for seed in range(20):
        x = rows(seed, ties)
        before = x.clone()
        assert torch.equal(keep_top_k(x, k), TopKLogitsWarper(k)(None, x))
        assert torch.equal(x, before)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("p", [0.0, 0.1, 0.37, 0.5, 0.9, 0.999, 1.0])
def test_top_p_is_that_of_transformers(p, ties):
    for seed in range(20):
        x = rows(seed, ties)
        before = x.clone()
        got, expected = keep_top_p(x, p), TopPLogitsWarper(p)(None, x)
        if ties:  # which of several equal ones stay is left open
            got, expected = got.sort(-1).values, expected.sort(-1).values
        assert torch.equal(got, expected)
        assert torch.equal(x, before)


@given(st.integers(0, 10**6), st.floats(0, 1), st.integers(1, 9))
def test_top_p_keeps_the_fewest_that_reach_p(seed, p, size):
    x = 3 * normal(1, size, seed=seed)
    share = x.softmax(-1)
    kept = keep_top_p(x, p) != -math.inf
    together = share[kept].sum().item()
    assert kept.any()
    assert together >= p - 1e-12
    assert kept.sum() == 1 or together - share[kept].min().item() < p + 1e-12
    if not kept.all():
        assert share[kept].min() >= share[~kept].max()


@pytest.mark.parametrize("p", [0.25, 0.5, 0.75, 1.0])
def test_exactly_p_is_enough(p):
    kept = keep_top_p(torch.zeros(3, 4), p) != -math.inf
    assert kept.sum(-1).tolist() == [4 * p] * 3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_top_p_loses_no_token_to_rounding(dtype):
    """With 50,257 tokens a sum in half precision would stand still long before p."""
    x = (2 * normal(2, 50_257)).to(dtype)
    assert torch.equal(keep_top_p(x, 1.0), x)
    shares = x.double().softmax(-1)
    kept = keep_top_p(x, 0.9) != -math.inf
    assert_close((shares * kept).sum(-1), shares.new_full((2,), 0.9), rtol=0, atol=3e-3)


def test_top_p_of_one_keeps_what_rounds_to_nothing():
    """e^-200 is 0 in float32. What comes back is a copy, and it carries a gradient."""
    x = torch.tensor([0.0, -200.0, -math.inf], requires_grad=True)
    got = keep_top_p(x, 1.0)
    assert torch.equal(got, x)
    assert got.data_ptr() != x.data_ptr()
    got[:2].sum().backward()
    assert x.grad.tolist() == [1.0, 1.0, 0.0]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("shape", [(5,), (2, 5), (2, 3, 5)])
def test_any_number_of_axes_may_come_before_the_tokens(shape, device):
    x = normal(*shape).to(device)
    flat = x.reshape(-1, 5)
    for cut, setting in (keep_top_k, 2), (keep_top_p, 0.6):
        apart = torch.stack([cut(row, setting) for row in flat])
        got = cut(x, setting)
        assert got.device.type == device
        assert torch.equal(got, apart.view(shape))


def test_what_is_cut_already_stays_cut():
    x = torch.tensor([[2.0, -math.inf, 1.0, -math.inf]])
    assert torch.equal(keep_top_k(x, 3), x)
    assert torch.equal(keep_top_p(x, 1.0), x)


# Writing


@pytest.mark.parametrize("prompt", [1, 5])
def test_greedy_writing_is_that_of_transformers(prompt):
    ours = shaken(GPT(TINY), 1.0).eval()
    nn.init.zeros_(ours.norm.bias)  # or one token would be the likeliest everywhere
    nn.init.ones_(ours.norm.weight)
    ids = tokens(3, prompt)
    steps = TINY.n_positions - prompt
    expected = as_transformers(ours).generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=steps,
        do_sample=False,
        pad_token_id=0,
    )
    before = ids.clone()
    written = write(ours, ids, steps, temperature=0)
    assert torch.equal(written, expected)
    assert torch.equal(ids, before)
    assert len(written[:, prompt:].unique()) > 3  # it does not say one thing only


SETTINGS = [
    {},
    {"temperature": 0.4},
    {"temperature": 2.5},
    {"top_k": 3},
    {"top_p": 0.4},
    {"top_k": 4, "top_p": 0.7},
    {"temperature": 1.7, "top_k": 6, "top_p": 0.8},
    {"top_k": 100, "top_p": 1.0},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_each_step_draws_from_what_transformers_leaves(settings):
    """Their warpers in their order: temperature, top-k, top-p; the same seed."""
    ours = shaken(GPT(TINY), 0.25).eval()
    written = write(ours, tokens(40, 2), 5, generator=seeded(7), **settings)
    source, ids = seeded(7), tokens(40, 2)
    for _ in range(5):
        logits = ours(ids)[:, -1] / settings.get("temperature", 1.0)
        if "top_k" in settings:
            logits = TopKLogitsWarper(settings["top_k"])(None, logits)
        if "top_p" in settings:
            logits = TopPLogitsWarper(settings["top_p"])(None, logits)
        new = torch.multinomial(logits.detach().softmax(-1), 1, generator=source)
        ids = torch.cat([ids, new], dim=1)
    assert torch.equal(written, ids)


@pytest.mark.parametrize(
    "settings", [{"temperature": 0.0}, {"top_k": 1}, {"top_p": 0.0}], ids=str
)
def test_three_ways_to_leave_nothing_to_chance(settings):
    ours, ids = shaken(GPT(TINY)).eval(), tokens(3, 4)
    greedy = ids
    for _ in range(4):
        best = ours(greedy)[:, -1:].argmax(-1)
        greedy = torch.cat([greedy, best], dim=1)
    for seed in 0, 1:
        assert torch.equal(
            write(ours, ids, 4, generator=seeded(seed), **settings), greedy
        )


def test_a_context_lets_a_text_grow_beyond_the_positions():
    ours, ids = shaken(GPT(TINY)).eval(), tokens(2, 9)
    written = write(ours, ids, 7, temperature=0, context=TINY.n_positions)
    assert written.shape == (2, 16)
    for t in range(9, 16):
        seen = written[:, max(0, t - TINY.n_positions) : t]
        assert torch.equal(written[:, t], ours(seen)[:, -1].argmax(-1))
    with pytest.raises(ValueError, match="do not fit the context of 11"):
        write(ours, ids, 7, temperature=0)


def test_no_step_writes_nothing_and_no_graph_is_kept():
    ours, ids = shaken(GPT(TINY)), tokens(2, 3)
    assert torch.equal(write(ours, ids, 0), ids)
    seen = []
    write(lambda ids: seen.append(ours(ids)) or seen[-1], ids, 1)
    assert not seen[0].requires_grad


# Weights in and out


def test_a_state_dict_makes_the_round_trip():
    ours, ids = shaken(GPT(TINY)), tokens(2, 5)
    file = io.BytesIO()
    torch.save(ours.state_dict(), file)
    file.seek(0)
    other = GPT(TINY).double()
    other.load_state_dict(torch.load(file))
    assert torch.equal(other(ids), ours(ids))


def test_to_gpt2_and_back_is_the_same_model():
    ours = shaken(GPT(TINY))
    state = to_gpt2(ours)
    other = from_gpt2(state, TINY)
    assert_close(other.state_dict(), ours.state_dict(), rtol=0, atol=0)
    assert all(value.is_contiguous() for value in state.values())  # as safetensors asks
    assert all(value.is_contiguous() for value in other.state_dict().values())


def test_openais_extra_buffers_and_the_tied_output_are_left_aside():
    ours, ids = shaken(GPT(TINY)), tokens(2, 5)
    state = {name.removeprefix("transformer."): v for name, v in to_gpt2(ours).items()}
    for layer in range(TINY.n_layer):
        state[f"h.{layer}.attn.bias"] = torch.ones(1, 1, 11, 11).tril()
        state[f"h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)
    state["lm_head.weight"] = state["wte.weight"]
    assert torch.equal(from_gpt2(state, TINY)(ids), ours(ids))


class Read(UserDict):
    """A state that makes a tensor anew when it is asked for, as a file is read."""

    def __init__(self, state: dict[str, torch.Tensor]) -> None:
        super().__init__(state)
        self.alive: WeakSet[torch.Tensor] = WeakSet()
        self.most = 0

    def __getitem__(self, name: str) -> torch.Tensor:
        made = self.data[name].clone()
        self.alive.add(made)
        self.most = max(self.most, len(self.alive))
        return made


def test_a_state_that_is_read_from_a_file_is_never_held_as_a_whole():
    state = Read(to_gpt2(GPT(TINY)))
    model = from_gpt2(state, TINY)
    assert_close(to_gpt2(model), state.data, rtol=0, atol=0)
    assert state.most == 2  # the one before is let go when the next one has come


def test_loaded_weights_are_copies_that_train():
    state = to_gpt2(shaken(GPT(TINY)))
    before = {name: value.clone() for name, value in state.items()}
    ours = from_gpt2(state, TINY)
    assert all(p.requires_grad and p.is_leaf for p in ours.parameters())
    ours(tokens(2, 5)).sum().backward()
    with torch.no_grad():
        for parameter in ours.parameters():
            assert parameter.grad is not None
            parameter.sub_(parameter.grad)
    assert_close(state, before, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_keep_their_type(dtype):
    ours = from_gpt2(to_gpt2(GPT(TINY).to(dtype)), TINY)
    assert {p.dtype for p in ours.parameters()} == {dtype}
    assert ours(tokens(1, 3)).isfinite().all()


def without(name: str) -> dict[str, torch.Tensor]:
    return {n: v for n, v in to_gpt2(GPT(TINY)).items() if n != f"transformer.{name}"}


def misshapen(name: str, *shape: int) -> dict[str, torch.Tensor]:
    return to_gpt2(GPT(TINY)) | {f"transformer.{name}": torch.zeros(shape)}


# What is refused


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: GPTConfig(n_layer=0), "n_layer is 0, expected 1 or more"),
        (lambda: GPTConfig(vocab_size=2.5), "vocab_size is 2.5, expected 1 or more"),
        (lambda: GPTConfig(n_head=7), "n_head 7 does not divide n_embd 768: choose"),
        (lambda: GPTConfig(attn_pdrop=1.5), "attn_pdrop is 1.5, expected 0 to 1"),
        (lambda: Block(10, 4, 8), "4 heads do not divide 10 channels"),
        (lambda: Block(10, 5, 8, dropout=-1), "the dropout probability is -1, expect"),
        (lambda: Block(10, 5, 3)(torch.zeros(1, 4, 10)), "the context of 3"),
        (lambda: GPT(TINY)(tokens(1, 12)), r"12 tokens do not fit the context of 11"),
        (lambda: keep_top_k(torch.zeros(5), 0), "k is 0, expected 1 or more"),
        (lambda: keep_top_p(torch.zeros(5), 1.01), "p is 1.01, expected 0 to 1"),
        (lambda: keep_top_p(torch.zeros(5), -0.1), "p is -0.1, expected 0 to 1"),
        (lambda: keep_top_p(torch.zeros(5), math.nan), "p is nan, expected 0 to 1"),
        (
            lambda: write(GPT(TINY), tokens(1, 2), 1, temperature=-1),
            "temperature is -1",
        ),
        (lambda: write(GPT(TINY), tokens(1, 2), 1, top_k=0), "k is 0, expected 1"),
        (lambda: write(GPT(TINY), tokens(1, 2), 1, top_p=2.0), "p is 2.0, expected 0"),
        (
            lambda: write(GPT(TINY), tokens(1, 2), 1, temperature=0, top_k=0),
            "k is 0, expected 1",
        ),
        (lambda: write(GPT(TINY), tokens(1, 2), 1, context=0), "the context is 0, exp"),
        (lambda: write(GPT(TINY), tokens(1, 0), 1), r"expected ids \(B, T\) with T >="),
        (
            lambda: from_gpt2(without("h.2.attn.c_proj.weight"), TINY),
            "the checkpoint has no h.2.attn.c_proj.weight: is it a GPT-2 of 3 layers?",
        ),
        (
            lambda: from_gpt2(to_gpt2(GPT(TINY)), replace(TINY, n_layer=4)),
            "the checkpoint has no h.3.ln_1.weight: is it a GPT-2 of 4 layers?",
        ),
        (
            lambda: from_gpt2(to_gpt2(GPT(TINY)), replace(TINY, vocab_size=29)),
            r"wte.weight is \(23, 10\) in the checkpoint, .* makes it \(29, 10\)",
        ),
        (
            lambda: from_gpt2(misshapen("h.1.attn.c_attn.weight", 30, 10), TINY),
            r"c_attn.weight is \(30, 10\) in the checkpoint, .* makes it \(10, 30\)",
        ),
        (
            lambda: from_gpt2(misshapen("h.0.mlp.c_fc.weight", 400), TINY),
            r"h.0.mlp.c_fc.weight is \(400,\) in the checkpoint, .* \(10, 40\)",
        ),
        (
            lambda: from_gpt2(misshapen("ln_f.bias", 11), TINY),
            r"ln_f.bias is \(11,\) in the checkpoint, .* makes it \(10,\)",
        ),
    ],
)
def test_bad_input_gets_one_clear_line(call, words):
    with pytest.raises(ValueError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_a_config_cannot_be_changed():
    with pytest.raises(AttributeError):
        TINY.n_layer = 2


def test_the_examples_in_the_docstrings_hold():
    results = doctest.testmod(chapter)
    assert results.attempted > 3
    assert results.failed == 0
