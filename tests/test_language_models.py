"""The bigram model, the loss, its units and the writing loop, by foreign oracles."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Categorical
from torch.testing import assert_close

from solutions.language_models import (
    BigramModel,
    bigram_counts,
    bigram_probabilities,
    bits_per_character,
    cross_entropy,
    generate,
    perplexity,
    sample_next,
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# Counting


@given(st.lists(st.integers(0, 6), max_size=60))
def test_counts_agree_with_a_counter_of_pairs(ids):
    pairs = Counter(pairwise(ids))
    counts = bigram_counts(torch.tensor(ids, dtype=torch.int64), vocab_size=7)
    assert counts.shape == (7, 7)
    assert counts.dtype == torch.int64
    assert counts.tolist() == [[pairs[a, b] for b in range(7)] for a in range(7)]


@pytest.mark.parametrize("ids", [[0, 3], [-1, 0]])
def test_ids_outside_the_vocabulary_are_named(ids):
    with pytest.raises(ValueError, match="expected 0 to 2"):
        bigram_counts(torch.tensor(ids), vocab_size=3)


def test_small_integers_do_not_overflow():
    ids = torch.tensor([99, 98, 99], dtype=torch.uint8)
    counts = bigram_counts(ids, vocab_size=100)
    assert counts.nonzero().tolist() == [[98, 99], [99, 98]]


def test_counting_wants_one_row_of_ids():
    with pytest.raises(ValueError, match=r"one row of ids \(T,\), got shape \(2, 3\)"):
        bigram_counts(torch.zeros(2, 3, dtype=torch.int64), vocab_size=3)


def test_probabilities_by_hand():
    counts = torch.tensor([[1, 3], [4, 1]])
    assert_close(bigram_probabilities(counts), torch.tensor([[0.25, 0.75], [0.8, 0.2]]))
    # (1 + 2) / (4 + 2 * 2), (3 + 2) / 8, (4 + 2) / 9, (1 + 2) / 9
    assert_close(
        bigram_probabilities(counts, alpha=2),
        torch.tensor([[3 / 8, 5 / 8], [6 / 9, 3 / 9]]),
    )


def test_smoothing_makes_an_unseen_row_uniform():
    counts = torch.tensor([[0, 0, 0], [1, 2, 3], [5, 0, 0]])
    probabilities = bigram_probabilities(counts, alpha=0.5)
    assert_close(probabilities[0], torch.full((3,), 1 / 3))
    assert (probabilities > 0).all()


def test_probabilities_keep_the_precision_of_their_counts():
    counts = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64)
    exact = torch.tensor([[1 / 3, 2 / 3], [3 / 7, 4 / 7]], dtype=torch.float64)
    assert_close(bigram_probabilities(counts), exact)


@pytest.mark.parametrize(
    ("alpha", "says"), [(-1, "alpha is -1"), (0, "never followed")]
)
def test_impossible_probabilities_are_refused(alpha, says):
    with pytest.raises(ValueError, match=says):
        bigram_probabilities(torch.tensor([[0, 0], [1, 1]]), alpha)


# The model


def test_the_model_gives_each_position_the_row_of_its_token():
    probabilities = Categorical(logits=torch.randn(5, 5, generator=seeded())).probs
    ids = torch.tensor([[0, 4, 1], [3, 3, 2]])
    logits = BigramModel(probabilities)(ids)
    assert logits.shape == (2, 3, 5)
    assert_close(logits.exp()[1, 2], probabilities[2])
    assert_close(logits.exp()[0, 1], probabilities[4])


def test_the_table_moves_and_is_saved_with_the_model():
    model = BigramModel(torch.full((3, 3), 1 / 3))
    assert list(model.state_dict()) == ["logits"]
    assert model.to("meta")(torch.zeros(1, 2, dtype=torch.int64, device="meta")).is_meta


# The loss


@pytest.mark.parametrize("shape", [(7,), (2, 3), (2, 3, 5)])
def test_cross_entropy_equals_torch_in_value_and_gradient(shape):
    logits = torch.randn(*shape, 11, dtype=torch.float64, generator=seeded())
    targets = torch.randint(11, shape, generator=seeded(1))
    ours = logits.clone().requires_grad_()
    theirs = logits.clone().requires_grad_()
    loss = cross_entropy(ours, targets)
    oracle = F.cross_entropy(theirs.reshape(-1, 11), targets.reshape(-1))
    assert_close(loss, oracle)
    loss.backward()
    oracle.backward()
    assert_close(ours.grad, theirs.grad)


def test_cross_entropy_equals_the_log_probability_of_torch_distributions():
    logits = torch.randn(5, 3, dtype=torch.float64, generator=seeded())
    targets = torch.tensor([0, 2, 1, 1, 0])
    assert_close(
        cross_entropy(logits, targets),
        -Categorical(logits=logits).log_prob(targets).mean(),
    )


def test_cross_entropy_by_hand():
    # p = (1/8, 2/8, 5/8); -log(5/8) and -log(1/8), averaged.
    logits = torch.tensor([1.0, 2.0, 5.0]).log().expand(2, 3)
    expected = torch.tensor((math.log(8 / 5) + math.log(8)) / 2)
    assert_close(cross_entropy(logits, torch.tensor([2, 0])), expected)


@pytest.mark.parametrize("scale", [1e4, -1e4])
def test_large_logits_neither_overflow_nor_vanish(scale):
    logits = torch.tensor([[scale, 0.0, 1.0]], requires_grad=True)
    targets = torch.tensor([2])
    loss = cross_entropy(logits, targets)
    assert_close(loss, F.cross_entropy(logits, targets))
    (gradient,) = torch.autograd.grad(loss, logits)
    assert_close(gradient.sum(), torch.tensor(0.0))
    assert gradient.isfinite().all()


def test_each_row_is_shifted_by_its_own_maximum():
    logits = torch.tensor([[5e3, 4999.0], [-5e3, -5001.0]], dtype=torch.float64)
    targets = torch.tensor([1, 0])
    assert_close(cross_entropy(logits, targets), F.cross_entropy(logits, targets))


def test_an_impossible_target_costs_infinity_and_nothing_else_does():
    logits = torch.tensor([[0.0, -math.inf, 0.0]])
    assert cross_entropy(logits, torch.tensor([1])) == math.inf
    assert_close(cross_entropy(logits, torch.tensor([0])), torch.tensor(math.log(2)))


def test_cross_entropy_leaves_the_logits_alone():
    logits = torch.randn(3, 5, generator=seeded())
    before = logits.clone()
    cross_entropy(logits, torch.tensor([0, 1, 2]))
    assert torch.equal(logits, before)


def test_mismatched_targets_are_named():
    with pytest.raises(ValueError, match=r"need targets \(2, 3\), got \(2, 1\)"):
        cross_entropy(torch.zeros(2, 3, 5), torch.zeros(2, 1, dtype=torch.int64))


# The units


@given(st.integers(1, 50_000))
def test_perplexity_of_equal_chances_is_their_number(choices):
    assert perplexity(math.log(choices)) == pytest.approx(choices)


def test_bits_per_character_by_hand():
    # Four equal choices are two bits; three tokens on twelve characters: a quarter.
    assert bits_per_character(math.log(4), 3, 12) == pytest.approx(0.5)
    assert bits_per_character(1.0, 1, 1) == pytest.approx(1.4426950408889634)


def test_bits_need_characters():
    with pytest.raises(ValueError, match="at least one character"):
        bits_per_character(1.0, 5, 0)


# Sampling


def chi_square(ids: torch.Tensor, probabilities: torch.Tensor) -> float:
    """Pearson's statistic of drawn ids against the probabilities they came from."""
    expected = probabilities * len(ids)
    seen = torch.bincount(ids, minlength=len(probabilities))
    return float(((seen - expected) ** 2 / expected).sum())


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_samples_follow_the_softmax(temperature):
    logits = torch.tensor([0.3, -1.2, 1.1, 0.0, -0.4])
    ids = sample_next(logits.expand(20_000, 5), temperature, seeded())
    probabilities = Categorical(logits=logits / temperature).probs
    # With four degrees of freedom, 18.47 is exceeded once in a thousand.
    assert chi_square(ids, probabilities) < 18.47


def test_samples_of_another_temperature_are_told_apart():
    logits = torch.tensor([0.3, -1.2, 1.1, 0.0, -0.4])
    ids = sample_next(logits.expand(20_000, 5), 0.9, seeded())
    assert chi_square(ids, Categorical(logits=logits).probs) > 18.47


def test_each_row_of_a_batch_is_drawn_from_its_own_logits():
    logits = torch.full((3, 7), -math.inf)
    logits[0, 2] = logits[1, 6] = logits[2, 0] = 0.0
    assert sample_next(logits, 1.0, seeded()).tolist() == [2, 6, 0]


def test_the_impossible_is_never_drawn():
    logits = torch.tensor([0.0, -math.inf, 0.0]).expand(5_000, 3)
    assert set(sample_next(logits, 1.0, seeded()).tolist()) == {0, 2}


def test_temperature_zero_is_greedy():
    logits = torch.randn(5, 7, generator=seeded())
    greedy = [max(range(7), key=row.__getitem__) for row in logits.tolist()]
    assert sample_next(logits, 0.0).tolist() == greedy
    assert sample_next(logits, 1e-3, seeded()).tolist() == greedy


def test_one_row_without_a_batch_gives_one_id():
    drawn = sample_next(torch.zeros(3), 1.0, seeded())
    assert drawn.shape == ()
    assert drawn.dtype == torch.int64


def test_the_same_seed_draws_the_same():
    logits = torch.zeros(50, 11)
    first, again, other = (sample_next(logits, 1.0, seeded(s)) for s in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_drawing_leaves_the_global_randomness_alone():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    sample_next(torch.zeros(5, 7), 1.0, seeded())
    assert torch.equal(torch.rand(3), expected)


def test_a_negative_temperature_is_refused():
    with pytest.raises(ValueError, match=r"temperature is -0.5, expected 0 or more"):
        sample_next(torch.zeros(1, 3), -0.5)


# Writing


class Recorder:
    """Scores the sum of what it sees, modulo V; remembers the shapes it was given."""

    def __init__(self, vocab_size: int) -> None:
        self.vocab_size, self.seen = vocab_size, []

    def __call__(self, ids: torch.Tensor) -> torch.Tensor:
        self.seen.append(tuple(ids.shape))
        following = ids.cumsum(dim=1) % self.vocab_size  # (B, T)
        return F.one_hot(following, self.vocab_size) * 100.0  # (B, T, V)


def test_the_loop_by_hand():
    # Each next token is the sum of all before it, modulo 10.
    written = generate(Recorder(10), torch.tensor([[1, 2], [0, 5]]), steps=4)
    assert written.tolist() == [[1, 2, 3, 6, 2, 4], [0, 5, 5, 0, 0, 0]]


def test_the_context_is_what_the_model_sees_at_most():
    model = Recorder(10)
    written = generate(model, torch.tensor([[1, 2, 4]]), steps=3, context=2)
    assert model.seen == [(1, 2)] * 3
    assert written.tolist() == [[1, 2, 4, 6, 0, 6]]


def test_without_a_context_the_model_sees_everything():
    model = Recorder(7)
    generate(model, torch.tensor([[1, 2]]), steps=3)
    assert model.seen == [(1, 2), (1, 3), (1, 4)]


def test_writing_leaves_its_input_and_the_gradients_alone():
    ids = torch.tensor([[1, 2]])
    learns = []

    def model(seen):
        learns.append(torch.is_grad_enabled())
        return torch.zeros(*seen.shape, 3)

    written = generate(model, ids, steps=5, generator=seeded())
    assert learns == [False] * 5
    assert ids.tolist() == [[1, 2]]
    assert written.shape == (1, 7)
    assert torch.equal(written[:, :2], ids)
    assert torch.is_grad_enabled()


def test_zero_steps_return_what_was_given():
    ids = torch.tensor([[1, 2]])
    assert torch.equal(generate(Recorder(5), ids, steps=0), ids)


def test_the_temperature_reaches_the_sampler():
    model = BigramModel(torch.tensor([[0.4, 0.6], [0.6, 0.4]]))
    written = generate(model, torch.tensor([[0]]), steps=6, temperature=0)
    assert written.tolist() == [[0, 1, 0, 1, 0, 1, 0]]


def test_the_same_seed_writes_the_same_text():
    model = BigramModel(torch.full((5, 5), 1 / 5))
    start = torch.tensor([[0], [3]])
    first, again, other = (
        generate(model, start, 30, generator=seeded(seed)) for seed in (3, 3, 4)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_written_pairs_follow_the_bigrams():
    probabilities = torch.tensor([[0.1, 0.6, 0.3], [0.5, 0.2, 0.3], [0.3, 0.3, 0.4]])
    start = torch.zeros(1, 1, dtype=torch.int64)
    written = generate(BigramModel(probabilities), start, 6_000, generator=seeded())
    pairs = Counter(pairwise(written[0].tolist()))
    for a in range(3):
        followers = torch.tensor([b for b in range(3) for _ in range(pairs[a, b])])
        # With two degrees of freedom, 13.82 is exceeded once in a thousand.
        assert chi_square(followers, probabilities[a]) < 13.82


@pytest.mark.parametrize("shape", [(3,), (2, 0)])
def test_writing_needs_a_batch_with_a_first_token(shape):
    with pytest.raises(ValueError, match="with T >= 1"):
        generate(Recorder(5), torch.zeros(shape, dtype=torch.int64), steps=1)


def test_a_context_of_nothing_is_refused():
    with pytest.raises(ValueError, match="context is 0"):
        generate(Recorder(5), torch.tensor([[1]]), steps=1, context=0)
