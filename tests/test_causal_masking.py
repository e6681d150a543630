"""The mask, dropout, the causal head and the leak detector, by foreign oracles."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.testing import assert_close

from solutions.attention import SelfAttention, attention_scores
from solutions.causal_masking import (
    CausalHead,
    Dropout,
    HeadModel,
    causal_mask,
    dropout,
    leaks,
    masked_weights,
    stolen_score,
)

DEVICES = ["cpu"] + ["cuda"] * torch.cuda.is_available()


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=dtype)


def by_torch(scores: Tensor, mask: Tensor) -> Tensor:
    """Torch's attention gives its weights away: unit keys bring the scores back, and
    unit values bring the weights out."""
    unit = torch.eye(scores.shape[-1], dtype=scores.dtype)
    unit = unit.expand(*scores.shape[:-2], *unit.shape)
    return F.scaled_dot_product_attention(
        scores, unit, unit, attn_mask=mask.expand(scores.shape), scale=1.0
    )


# The mask


@given(st.integers(0, 40))
def test_the_mask_lets_each_position_see_itself_and_before(length):
    mask = causal_mask(length)
    assert mask.dtype == torch.bool
    assert mask.shape == (length, length)
    assert mask.tolist() == [[s <= t for s in range(length)] for t in range(length)]


def test_the_mask_is_where_it_is_asked_for():
    assert causal_mask(3, device="meta").is_meta


def test_a_mask_of_less_than_nothing_is_refused():
    with pytest.raises(ValueError, match="a mask for -1 tokens: expected 0 or more"):
        causal_mask(-1)


# Masked weights


@pytest.mark.parametrize("shape", [(5, 7), (3, 5, 7), (2, 3, 5, 7), (2, 1, 1, 1)])
def test_masked_weights_equal_torch_in_value_and_gradient(shape):
    mask = torch.rand(shape[-2:], generator=seeded(1)) < 0.6
    mask[0] = True
    mask[-1] = shape[-1] == 1  # a row that sees nothing, but for the single token
    ours = normal(*shape).requires_grad_()
    theirs = ours.detach().clone().requires_grad_()
    weights, oracle = masked_weights(ours, mask), by_torch(theirs, mask)
    assert_close(weights, oracle)
    upstream = normal(*shape, seed=2)
    weights.backward(upstream)
    oracle.backward(upstream)
    assert_close(ours.grad, theirs.grad)


def test_masked_weights_by_hand():
    odds = torch.tensor([[1.0, 2, 5], [3, 1, 4], [2, 6, 3]], dtype=torch.float64)
    expected = [[1, 0, 0], [3 / 4, 1 / 4, 0], [2 / 11, 6 / 11, 3 / 11]]
    assert_close(
        masked_weights(odds.log(), causal_mask(3)),
        torch.tensor(expected, dtype=torch.float64),
    )


def test_a_mask_may_lack_the_axes_in_front_or_be_one_per_text():
    scores = normal(2, 3, 5, 5)
    padding = torch.tensor([[True] * 5, [True, True, True, False, False]])
    mask = causal_mask(5) & padding[:, None, None, :]  # (B, 1, T, T)
    assert_close(masked_weights(scores, mask), by_torch(scores, mask))
    assert (masked_weights(scores, mask)[1, ..., 3:] == 0).all()


def test_what_is_hidden_has_no_effect_whatever_it_is():
    scores, mask = normal(3, 7, 7), causal_mask(7)
    weights = masked_weights(scores, mask)
    for value in (0.0, 900.0, -900.0, math.inf, -math.inf, math.nan):
        again = masked_weights(scores.masked_fill(~mask, value), mask)
        assert torch.equal(again, weights)
    assert (weights[:, ~mask] == 0).all()
    assert_close(weights.sum(-1), torch.ones(3, 7, dtype=torch.float64))


def test_a_row_that_sees_nothing_is_zeros_and_there_is_no_nan_on_the_way_back():
    scores = normal(2, 3).requires_grad_()
    mask = torch.tensor([[False, False, False], [True, False, True]])
    with torch.autograd.set_detect_anomaly(True):
        weights = masked_weights(scores, mask)
        (weights * normal(2, 3, seed=1)).sum().backward()
    assert torch.equal(weights[0], torch.zeros(3, dtype=torch.float64))
    assert torch.equal(scores.grad[0], torch.zeros(3, dtype=torch.float64))
    assert (scores.grad[1, [0, 2]] != 0).all()


def test_a_nan_that_may_be_seen_is_not_swept_away():
    scores = torch.tensor([[math.nan, 0.0], [1.0, 2.0]])
    weights = masked_weights(scores, causal_mask(2))
    assert weights[0, 0].isnan()
    assert weights[1].isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("size", [1.0, 1e4])
def test_low_precision_stays_finite(dtype, size):
    exact = size * normal(5, 5, dtype=torch.float32)
    scores = exact.to(dtype)
    weights = masked_weights(scores, causal_mask(5))
    assert weights.dtype == dtype
    assert weights.isfinite().all()
    assert_close(weights, by_torch(scores.float(), causal_mask(5)).to(dtype))


def test_masked_weights_leave_their_inputs_alone():
    scores, mask = normal(3, 5, 5), causal_mask(5)
    before = scores.clone()
    masked_weights(scores, mask)
    assert torch.equal(scores, before)
    assert torch.equal(mask, causal_mask(5))


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (torch.ones(5, 5), r"a mask of bools, got torch.float32: use mask.bool\(\)"),
        (causal_mask(4), r"a mask \(4, 4\) does not fit scores \(3, 5, 5\): cut it"),
        (causal_mask(5).expand(7, 1, 5, 5), r"does not fit scores \(3, 5, 5\)"),
    ],
)
def test_a_mask_that_does_not_fit_is_named(mask, words):
    with pytest.raises(ValueError, match=words) as caught:
        masked_weights(torch.zeros(3, 5, 5), mask)
    assert "\n" not in str(caught.value)


# The mask that comes too late


def test_a_late_mask_gives_the_hidden_score_away():
    scores = normal(2, 3, 7, 7)
    late = scores.softmax(-1) * causal_mask(7)
    seen = scores.masked_fill(~causal_mask(7), -math.inf)
    assert_close(stolen_score(late, seen), scores[..., -2, -1])


def test_a_visible_weight_that_vanished_does_no_harm():
    scores = normal(7, 7)
    scores[-2, 0] = -900.0
    late = scores.softmax(-1) * causal_mask(7)
    seen = scores.masked_fill(~causal_mask(7), -math.inf)
    assert_close(stolen_score(late, seen), scores[-2, -1])


def test_a_mask_in_time_gives_nothing_away():
    scores = normal(5, 5).masked_fill(~causal_mask(5), -math.inf)
    assert stolen_score(scores.softmax(-1), scores) < -30  # the rounding of 1 - sum


def test_one_token_hides_nothing():
    with pytest.raises(ValueError, match=r"nothing is hidden in weights \(1, 1\)"):
        stolen_score(torch.ones(1, 1), torch.zeros(1, 1))


# Dropout


def binomial(zeros: int, draws: int, p: float) -> float:
    """How many standard deviations a number of zeros is away from its mean."""
    return abs(zeros - draws * p) / math.sqrt(draws * p * (1 - p))


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_dropout_drops_at_its_rate_and_rescales_like_torch(p, dtype):
    x = 1 + torch.rand(100, 500, generator=seeded()).to(dtype)
    torch.manual_seed(0)
    for dropped in (dropout(x, p, generator=seeded(1)), F.dropout(x, p)):
        zeros = dropped == 0
        # Four deviations are exceeded six times in a hundred thousand.
        assert binomial(int(zeros.sum()), x.numel(), p) < 4
        kept = dropped[~zeros]
        assert kept.dtype == dtype
        assert_close(kept, x[~zeros] / (1 - p))


def test_a_rate_too_fine_for_bfloat16_is_kept():
    x = torch.ones(400, 500, dtype=torch.bfloat16)
    zeros = int((dropout(x, 0.001, generator=seeded()) == 0).sum())
    assert binomial(zeros, x.numel(), 0.001) < 4


def test_each_number_has_a_draw_of_its_own():
    zeros = dropout(torch.ones(50, 60, 70), 0.5, generator=seeded()) == 0
    for dim in range(3):
        # Neighbours agree as often as two coins do.
        first, second = zeros.narrow(dim, 0, 49), zeros.narrow(dim, 1, 49)
        assert binomial(int((first == second).sum()), first.numel(), 0.5) < 4


def test_the_mean_stays_where_it_was():
    x = torch.linspace(1, 2, 1000, dtype=torch.float64)
    many = torch.stack([dropout(x, 0.3, generator=seeded(s)) for s in range(400)])
    # The deviation of the mean: sqrt(p / (1 - p)) * x / sqrt(400 * 1000) = 0.0017.
    assert abs((many.mean() / x.mean()).item() - 1) < 0.004


@pytest.mark.parametrize(("p", "training"), [(0.5, False), (0.0, True), (1.0, False)])
def test_dropout_at_rest_is_the_identity(p, training):
    x = normal(3, 5)
    assert torch.equal(dropout(x, p, training), x)


def test_everything_is_dropped_with_p_1():
    x = normal(3, 5).requires_grad_()
    dropped = dropout(x, 1.0)
    dropped.sum().backward()
    assert torch.equal(dropped, torch.zeros_like(x))
    assert torch.equal(x.grad, torch.zeros_like(x))


def test_the_gradient_is_dropped_and_rescaled_as_the_values_are():
    x = (
        1 + torch.rand(7, 11, generator=seeded(), dtype=torch.float64)
    ).requires_grad_()
    dropped = dropout(x, 0.4, generator=seeded(1))
    dropped.sum().backward()
    assert_close(x.grad, (dropped != 0).double() / 0.6)


def test_the_generator_alone_decides():
    x = torch.ones(5, 70)
    first, again, other = (dropout(x, 0.5, generator=seeded(s)) for s in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    dropout(x, 0.5, generator=seeded())
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("p", [-0.1, 1.1, math.nan])
@pytest.mark.parametrize("build", [Dropout, lambda p: dropout(torch.ones(1), p)])
def test_an_impossible_probability_is_refused(build, p):
    with pytest.raises(ValueError, match="dropout probability is"):
        build(p)


def test_the_layer_follows_the_mode():
    layer, x = Dropout(0.5), torch.ones(5, 70)
    assert torch.equal(layer.eval()(x), x)
    torch.manual_seed(0)
    assert set(layer.train()(x).unique().tolist()) == {0.0, 2.0}
    assert "p=0.5" in repr(layer)


# The causal head


def attended(head: CausalHead, x: Tensor) -> Tensor:
    """The same head by torch's own attention, with the same weights."""
    return F.scaled_dot_product_attention(
        x @ head.query.weight.T,
        x @ head.key.weight.T,
        x @ head.value.weight.T,
        is_causal=True,
    )


def a_head(width: int = 7, head_width: int = 3, context: int = 11) -> CausalHead:
    torch.manual_seed(0)
    return CausalHead(width, head_width, context).double()


@pytest.mark.parametrize("length", [1, 2, 5, 11])
def test_the_head_equals_torch_in_value_and_gradient(length):
    head = a_head()
    ours = normal(2, length, 7).requires_grad_()
    theirs = ours.detach().clone().requires_grad_()
    output, oracle = head(ours), attended(head, theirs)
    assert output.shape == (2, length, 3)
    assert_close(output, oracle)
    upstream = normal(2, length, 3, seed=1)
    weights = list(head.parameters())
    mine = torch.autograd.grad(output, [ours, *weights], upstream)
    other = torch.autograd.grad(oracle, [theirs, *weights], upstream)
    for a, b in zip(mine, other, strict=True):
        assert_close(a, b)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_past_is_the_same_bit_for_bit_when_the_future_changes(device, dtype):
    head = a_head().to(device, dtype)
    x = normal(2, 11, 7).to(device, dtype)
    before = head(x)
    for t in range(1, 11):
        changed = x.clone()
        changed[:, t:] = 5 * normal(2, 11 - t, 7, seed=t).to(x)
        after = head(changed)
        assert torch.equal(after[:, :t], before[:, :t])
        assert not torch.equal(after[:, t], before[:, t])


def test_no_gradient_flows_from_the_past_to_the_future():
    x = normal(1, 7, 7).requires_grad_()
    for t in range(7):
        (gradient,) = torch.autograd.grad(a_head()(x)[0, t].sum(), x)
        assert (gradient[0, t + 1 :] == 0).all()
        assert (gradient[0, : t + 1] != 0).any(-1).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_head_stays_finite_in_low_precision(dtype):
    head = a_head().to(dtype)
    x = (30 * normal(2, 11, 7)).to(dtype).requires_grad_()
    output = head(x)
    output.float().sum().backward()
    assert output.dtype == dtype
    assert output.isfinite().all()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("device", [*DEVICES, "meta"])
def test_the_mask_moves_with_the_head_and_is_not_saved(device):
    head = a_head().to(device)
    x = torch.zeros(2, 5, 7, dtype=torch.float64, device=device)
    assert head(x).device.type == device
    assert list(head.state_dict()) == ["query.weight", "key.weight", "value.weight"]


def test_dropout_is_on_the_weights_and_in_training_only():
    torch.manual_seed(0)
    head = CausalHead(5, 5, context=7, dropout=0.5)
    nn.init.zeros_(head.query.weight)  # all scores are equal: row t has weights 1/(t+1)
    nn.init.eye_(head.value.weight)
    x = torch.ones(300, 7, 5)
    sums = head.train()(x)  # (B, T, D): how much of each row's weights is left, doubled
    assert (sums == sums[..., :1]).all()  # a token is dropped with all its channels
    assert set(sums[:, 0, 0].tolist()) == {0.0, 2.0}
    for t in range(7):
        left = (sums[:, t, 0] * (t + 1) / 2).round()
        assert binomial(int(left.sum()), 300 * (t + 1), 0.5) < 4
    assert_close(head.eval()(x), x)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((2, 12, 7), r"12 tokens do not fit the context of 11: give .* x\[:, -11:\]"),
        ((2, 5, 6), r"expected x \(B, T, 7\), got \(2, 5, 6\)"),
        ((5, 7), r"expected x \(B, T, 7\), got \(5, 7\)"),
    ],
)
def test_what_the_head_cannot_read_is_named_in_one_line(shape, words):
    with pytest.raises(ValueError, match=words) as caught:
        a_head()(torch.zeros(shape, dtype=torch.float64))
    assert "\n" not in str(caught.value)


# The leak detector


def linked(*pairs: tuple[int, int], length: int = 7) -> Callable[[Tensor], Tensor]:
    """A model that looks back, and forward in the given pairs (position, token)."""
    links = torch.ones(length, length, dtype=torch.float64).tril()
    for position, token in pairs:
        links[position, token] = 1e-6
    table = normal(11, 11)
    return lambda ids: links[: ids.shape[1], : ids.shape[1]] @ table[ids]


@given(st.sets(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=4))
def test_exactly_the_positions_that_see_ahead_are_found(pairs):
    ids = torch.randint(11, (2, 7), generator=seeded())
    forward = {(position, token) for position, token in pairs if token > position}
    assert leaks(linked(*forward), ids) == sorted({position for position, _ in forward})


def late(scores: Tensor, mask: Tensor) -> Tensor:
    return scores.softmax(-1) * mask


def renormalised(scores: Tensor, mask: Tensor) -> Tensor:
    weights = late(scores, mask)
    return weights / weights.sum(-1, keepdim=True)


class OtherHead(CausalHead):
    """A causal head with other masked weights."""

    def __init__(self, weights: Callable) -> None:
        super().__init__(5, 5, context=7)
        self.weights = weights

    def forward(self, x: Tensor) -> Tensor:
        length = x.shape[1]
        scores = attention_scores(self.query(x), self.key(x))
        mask = self.mask[:length, :length]
        return self.weights(scores, mask) @ self.value(x)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("head", "found"),
    [
        (lambda: CausalHead(5, 5, context=7), []),
        (lambda: OtherHead(masked_weights), []),
        (lambda: SelfAttention(5, 5), [0, 1, 2, 3, 4, 5]),
        (lambda: OtherHead(late), [0, 1, 2, 3, 4, 5]),
    ],
)
def test_the_detector_tells_good_masks_from_bad_ones(head, found, device):
    torch.manual_seed(0)
    model = HeadModel(11, context=7, width=5, head=head()).eval().to(device)
    ids = torch.randint(11, (3, 7), generator=seeded()).to(device)
    assert leaks(model, ids) == found


def test_the_detector_finds_what_is_left_of_a_mask_that_was_renormalised():
    torch.manual_seed(0)
    model = HeadModel(11, context=7, width=5, head=OtherHead(renormalised)).eval()
    ids = torch.randint(11, (30, 7), generator=seeded())
    assert leaks(model, ids)


def test_the_detector_leaves_ids_modes_and_gradients_alone():
    model = HeadModel(11, context=7, width=5)
    ids = torch.randint(11, (2, 7), generator=seeded())
    before = ids.clone()
    learns = []
    model.register_forward_hook(lambda *_: learns.append(torch.is_grad_enabled()))
    leaks(model, ids)
    assert torch.equal(ids, before)
    assert model.training
    assert not any(learns)
    assert torch.is_grad_enabled()


def test_one_token_cannot_leak():
    assert leaks(HeadModel(11, context=7, width=5), torch.zeros(2, 1).long()) == []


def test_a_random_model_is_refused():
    model = HeadModel(11, context=7, width=5, dropout=0.5)
    ids = torch.randint(11, (2, 7), generator=seeded())
    torch.manual_seed(0)
    with pytest.raises(ValueError, match=r"call model.eval\(\)"):
        leaks(model.train(), ids)
    assert leaks(model.eval(), ids) == []


# The model


def test_the_model_adds_what_the_head_finds():
    torch.manual_seed(0)
    model = HeadModel(11, context=7, width=5).double()
    ids = torch.randint(11, (2, 5), generator=seeded())
    tables = model.embedding
    x = tables.token_embedding.weight[ids] + tables.position_embedding.weight[:5]
    expected = (x + attended(model.head, x)) @ model.output.weight.T + model.output.bias
    assert_close(model(ids), expected)


def test_the_model_drops_in_the_embeddings_and_in_the_weights():
    torch.manual_seed(0)
    model = HeadModel(11, context=7, width=5, dropout=0.5).train()
    assert isinstance(model.head.dropout, Dropout)
    assert model.head.dropout.p == model.dropout.p == 0.5
    seen = []
    model.head.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    model(torch.zeros(50, 7).long())
    assert binomial(int((seen[0] == 0).sum()), seen[0].numel(), 0.5) < 4


def test_a_text_over_the_context_is_refused_in_one_line():
    model = HeadModel(11, context=7, width=5)
    with pytest.raises(ValueError, match="8 tokens do not fit the context of 7"):
        model(torch.zeros(1, 8).long())


def test_the_model_learns_what_needs_a_look_back():
    """Each token is the one of two steps before: a bigram cannot know it."""
    torch.manual_seed(0)
    model = HeadModel(5, context=8, width=16)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(200):
        pair = torch.randint(5, (32, 2))
        text = pair.repeat(1, 5)  # (B, 10): a b a b a b ...
        logits = model(text[:, 1:9])
        loss = F.cross_entropy(logits.flatten(0, 1), text[:, 2:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    # The first target of a row, and no other, cannot be known: log(5) / 8 = 0.2.
    assert loss < 0.4
