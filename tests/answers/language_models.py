"""Answers to "What a language model is": right in other ways, and plausibly wrong."""

from __future__ import annotations

import math
from collections import Counter

import torch
import torch.nn.functional as F

from tests.answers import right, wrong

# Bigram counts


@right("bigram_counts")
def loops_over_pairs(ids, vocab_size):
    counts = torch.zeros(vocab_size, vocab_size, dtype=torch.int64)
    for a, b in zip(ids[:-1], ids[1:]):
        counts[a, b] += 1
    return counts


@right("bigram_counts")
def loops_over_indices_of_a_list(ids, vocab_size):
    ids = ids.tolist()
    table = [[0] * vocab_size for _ in range(vocab_size)]
    for i in range(1, len(ids)):
        table[ids[i - 1]][ids[i]] = table[ids[i - 1]][ids[i]] + 1
    return torch.tensor(table)


@right("bigram_counts")
def accumulates_with_index_put(ids, vocab_size):
    counts = torch.zeros((vocab_size, vocab_size), dtype=torch.long)
    one = torch.ones(len(ids) - 1, dtype=torch.long)
    return counts.index_put((ids[:-1], ids[1:]), one, accumulate=True)


@right("bigram_counts")
def multiplies_one_hot_vectors(ids, vocab_size):
    hot = F.one_hot(ids, vocab_size)
    return hot[:-1].T @ hot[1:]


@right("bigram_counts")
def asks_a_counter(ids, vocab_size):
    tokens = [int(i) for i in ids]
    seen = Counter(zip(tokens, tokens[1:]))
    rows = range(vocab_size)
    return torch.tensor([[seen[a, b] for b in rows] for a in rows])


@wrong("bigram_counts", says="on its side")
def counts_transposed(ids, vocab_size):
    counts = torch.zeros(vocab_size, vocab_size, dtype=torch.int64)
    for a, b in zip(ids[:-1], ids[1:]):
        counts[b, a] += 1
    return counts


@wrong("bigram_counts", says="counted once")
def adds_through_an_index_tensor(ids, vocab_size):
    counts = torch.zeros(vocab_size, vocab_size, dtype=torch.int64)
    counts[ids[:-1], ids[1:]] += 1
    return counts


@wrong("bigram_counts", says="Pairs overlap")
def cuts_into_pairs(ids, vocab_size):
    counts = torch.zeros(vocab_size, vocab_size, dtype=torch.int64)
    for a, b in zip(ids[::2], ids[1::2]):
        counts[a, b] += 1
    return counts


@wrong("bigram_counts", says="the last token is paired with the first")
def rolls_around(ids, vocab_size):
    pairs = ids * vocab_size + ids.roll(-1)
    return torch.bincount(pairs, minlength=vocab_size**2).view(vocab_size, -1)


@wrong("bigram_counts", says="no token after the last one")
def runs_over_the_end(ids, vocab_size):
    counts = torch.zeros(vocab_size, vocab_size, dtype=torch.int64)
    for i in range(len(ids)):
        counts[ids[i], ids[i + 1]] += 1
    return counts


@wrong("bigram_counts", says="last pair is missing")
def stops_one_early(ids, vocab_size):
    counts = torch.zeros(vocab_size, vocab_size, dtype=torch.int64)
    for i in range(len(ids) - 2):
        counts[ids[i], ids[i + 1]] += 1
    return counts


@wrong("bigram_counts", says="torch.int64")
def counts_in_floats(ids, vocab_size):
    counts = torch.zeros(vocab_size, vocab_size)
    for a, b in zip(ids[:-1], ids[1:]):
        counts[a, b] += 1
    return counts


@wrong("bigram_counts", says="whatever occurs in the text")
def sizes_the_table_by_the_text(ids, vocab_size):
    size = int(ids.max()) + 1
    counts = torch.zeros(size, size, dtype=torch.int64)
    for a, b in zip(ids[:-1], ids[1:]):
        counts[a, b] += 1
    return counts


@wrong("bigram_counts", says="minlength")
def forgets_the_minimum_length(ids, vocab_size):
    pairs = ids[:-1] * vocab_size + ids[1:]
    return torch.bincount(pairs).view(vocab_size, vocab_size)


# Bigram probabilities


@right("bigram_probabilities")
def row_by_row(counts, alpha=0.0):
    rows = []
    for row in counts:
        row = row + alpha
        rows.append(row / sum(row))
    return torch.stack(rows)


@right("bigram_probabilities")
def through_lists(counts, alpha=0.0):
    table = []
    for row in counts.tolist():
        total = sum(row) + alpha * len(row)
        table.append([(count + alpha) / total for count in row])
    return torch.tensor(table)


@right("bigram_probabilities")
def divides_the_transposed(counts, alpha=0.0):
    smoothed = (counts + alpha).to(torch.float32)
    return (smoothed.T / smoothed.sum(1)).T


@right("bigram_probabilities")
def lets_torch_normalise(counts, alpha=0.0):
    return F.normalize(counts.float() + alpha, p=1, dim=1)


@wrong("bigram_probabilities", says="column")
def normalises_columns(counts, alpha=0.0):
    smoothed = counts + alpha
    return smoothed / smoothed.sum(dim=0)


@wrong("bigram_probabilities", says="keepdim")
def forgets_keepdim(counts, alpha=0.0):
    smoothed = counts + alpha
    return smoothed / smoothed.sum(dim=-1)


@wrong("bigram_probabilities", says="whole *table*")
def normalises_everything(counts, alpha=0.0):
    smoothed = counts + alpha
    return smoothed / smoothed.sum()


@wrong("bigram_probabilities", says="throws the fraction away")
def divides_whole_numbers(counts, alpha=0):
    smoothed = counts + alpha
    return smoothed // smoothed.sum(dim=-1, keepdim=True)


@wrong("bigram_probabilities", says="no logits")
def takes_a_softmax(counts, alpha=0.0):
    return (counts + alpha).float().softmax(dim=-1)


@wrong("bigram_probabilities", says="fractions")
def writes_into_the_counts(counts, alpha=0.0):
    counts += alpha
    return counts / counts.sum(dim=-1, keepdim=True)


@wrong("bigram_probabilities", says="no effect")
def ignores_alpha(counts, alpha=0.0):
    return counts / counts.sum(dim=-1, keepdim=True)


@wrong("bigram_probabilities", says="more than 1")
def smooths_above_the_line_only(counts, alpha=0.0):
    return (counts + alpha) / counts.sum(dim=-1, keepdim=True)


@wrong("bigram_probabilities", says="to the total once")
def smooths_the_total_once(counts, alpha=0.0):
    return (counts + alpha) / (counts.sum(dim=-1, keepdim=True) + alpha)


@wrong("bigram_probabilities", says="to the *probabilities*")
def smooths_probabilities(counts, alpha=0.0):
    return counts / counts.sum(dim=-1, keepdim=True) + alpha


@wrong("bigram_probabilities", says="every count, also")
def smooths_zeros_only(counts, alpha=0.0):
    smoothed = torch.where(counts == 0, alpha, counts.float())
    return smoothed / smoothed.sum(dim=-1, keepdim=True)


@wrong("bigram_probabilities", says="0 / 0 is NaN")
def divides_before_it_smooths(counts, alpha=0.0):
    p = counts / counts.sum(dim=-1, keepdim=True)
    weight = counts.sum(dim=-1, keepdim=True) / (counts + alpha).sum(-1, keepdim=True)
    return weight * p + (1 - weight) / counts.shape[-1]


# Cross-entropy


@right("cross_entropy")
def one_prediction_at_a_time(logits, targets):
    rows = logits.reshape(-1, logits.shape[-1])
    losses = []
    for row, target in zip(rows, targets.flatten()):
        losses.append(torch.logsumexp(row, dim=0) - row[target])
    return sum(losses) / len(losses)


@right("cross_entropy")
def with_a_log_softmax(logits, targets):
    log_p = logits.log_softmax(-1).flatten(0, -2)
    where = torch.arange(len(log_p), device=log_p.device)
    return -log_p[where, targets.flatten()].mean()


@right("cross_entropy")
def with_a_one_hot_mask(logits, targets):
    top = logits.max(dim=-1, keepdim=True).values.detach()
    log_total = top.squeeze(-1) + torch.log(torch.exp(logits - top).sum(-1))
    candidates = torch.arange(logits.shape[-1], device=logits.device)
    chosen = torch.where(targets[..., None] == candidates, logits, 0.0).sum(-1)
    return torch.mean(log_total - chosen)


@right("cross_entropy")
def as_a_sum_of_differences(logits, targets):
    """log(sum(exp(x_v - x_target))) needs no separate target term."""
    gaps = logits - logits.gather(-1, targets[..., None])
    return gaps.logsumexp(-1).mean()


@wrong("cross_entropy", says="sign is missing")
def forgets_the_sign(logits, targets):
    return logits.log_softmax(-1).gather(-1, targets.unsqueeze(-1)).mean()


@wrong("cross_entropy", says="log2")
def measures_in_bits(logits, targets):
    p = logits.softmax(-1).gather(-1, targets.unsqueeze(-1))
    return -p.log2().mean()


@wrong("cross_entropy", says="the logit itself")
def forgets_the_normaliser(logits, targets):
    return -logits.gather(-1, targets.unsqueeze(-1)).mean()


@wrong("cross_entropy", says="This is the probability")
def forgets_the_logarithm(logits, targets):
    return logits.softmax(-1).gather(-1, targets.unsqueeze(-1)).mean()


@wrong("cross_entropy", says="as if they were probabilities")
def takes_logits_for_probabilities(logits, targets):
    return -logits.gather(-1, targets.unsqueeze(-1)).log().mean()


@wrong("cross_entropy", says=".mean()")
def keeps_every_loss(logits, targets):
    shifted = logits - logits.amax(-1, keepdim=True)
    chosen = shifted.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    return shifted.exp().sum(-1).log() - chosen


@wrong("cross_entropy", says="*sum* over all positions")
def sums_the_losses(logits, targets):
    return -logits.log_softmax(-1).gather(-1, targets.unsqueeze(-1)).sum()


@wrong("cross_entropy", says="average over the batch")
def sums_over_time(logits, targets):
    losses = -logits.log_softmax(-1).gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    return losses.sum(-1).mean()


@wrong("cross_entropy", says="`dim=1`")
def softmax_over_positions(logits, targets):
    if logits.dim() == 2:
        log_p = logits.log_softmax(-1)
    else:
        log_p = logits.log_softmax(1)
    return -log_p.gather(-1, targets.unsqueeze(-1)).mean()


@wrong("cross_entropy", says="does not fit its axis")
def gathers_over_the_wrong_axis(logits, targets):
    log_p = logits.log_softmax(-1)
    return -log_p.gather(-2, targets.unsqueeze(-2)).mean()


@wrong("cross_entropy", says="does not fit its axis")
def hands_it_to_torch_as_it_is(logits, targets):
    return F.cross_entropy(logits, targets)


@wrong("cross_entropy", says="any number of axes")
def insists_on_a_batch(logits, targets):
    if logits.shape[0] == 1:
        logits, targets = logits[None], targets[None]
    B, T, V = logits.shape
    return F.cross_entropy(logits.view(B * T, V), targets.view(B * T))


@wrong("cross_entropy", says="overflows")
def exponentiates_as_it_is(logits, targets):
    log_total = logits.exp().sum(-1).log()
    p = logits.exp() / logits.exp().sum(-1, keepdim=True)
    return -p.gather(-1, targets.unsqueeze(-1)).log().mean() + 0 * log_total.mean()


@wrong("cross_entropy", says="rounded to 0")
def softmax_first_logarithm_after(logits, targets):
    p = torch.softmax(logits, dim=-1)
    return -torch.log(p.gather(-1, targets.unsqueeze(-1))).mean()


@wrong("cross_entropy", says="only hides the zero")
def adds_a_little_inside_the_logarithm(logits, targets):
    p = torch.softmax(logits, dim=-1)
    return -torch.log(p.gather(-1, targets.unsqueeze(-1)) + 1e-12).mean()


@wrong("cross_entropy", says="Every row needs its own")
def shifts_by_one_maximum(logits, targets):
    shifted = logits - logits.max()
    log_total = shifted.exp().sum(-1).log()
    return (log_total - shifted.gather(-1, targets[..., None])[..., 0]).mean()


@wrong("cross_entropy", says="no gradient reaches")
def detaches_the_losses(logits, targets):
    rows = logits.log_softmax(-1).flatten(0, -2)
    picked = [-row[t].item() for row, t in zip(rows, targets.flatten())]
    return torch.tensor(picked, dtype=logits.dtype).mean()


# Bits per character


@right("bits_per_character")
def step_by_step(nats, tokens, characters):
    bits_per_token = nats / math.log(2)
    total = bits_per_token * tokens
    return total / characters


@right("bits_per_character")
def with_log2_of_e(nats, tokens, characters):
    return math.log2(math.e) * nats / (characters / tokens)


@right("bits_per_character")
def through_perplexity(nats, tokens, characters):
    return tokens * math.log2(math.exp(nats)) / characters


@wrong("bits_per_character", says="divide by ln 2")
def multiplies_by_ln_2(nats, tokens, characters):
    return nats * math.log(2) * tokens / characters


@wrong("bits_per_character", says="still nats")
def stays_with_nats(nats, tokens, characters):
    return nats * tokens / characters


@wrong("bits_per_character", says="another logarithm")
def takes_the_logarithm_of_the_loss(nats, tokens, characters):
    return math.log2(nats) * tokens / characters


@wrong("bits_per_character", says="base 10")
def uses_base_ten(nats, tokens, characters):
    return nats / math.log10(2) * tokens / characters


@wrong("bits_per_character", says="upside down")
def turns_the_ratio(nats, tokens, characters):
    return nats / math.log(2) * characters / tokens


@wrong("bits_per_character", says="per *token*")
def forgets_the_ratio(nats, tokens, characters):
    return nats / math.log(2)


@wrong("bits_per_character", says="already a mean over the tokens")
def divides_a_mean_by_the_characters(nats, tokens, characters):
    return nats / math.log(2) / characters


@wrong("bits_per_character", says="Divide by its characters")
def gives_the_total(nats, tokens, characters):
    return nats / math.log(2) * tokens


# Sampling the next token


@right("sample_next")
def throws_a_dart(logits, temperature=1.0, generator=None):
    """Inverse CDF: count the pieces that end before the dart."""
    if temperature == 0:
        return logits.argmax(-1)
    edges = torch.softmax(logits / temperature, dim=-1).cumsum(-1)
    dart = torch.rand(len(logits), 1, generator=generator, device=logits.device)
    return (edges <= dart * edges[:, -1:]).sum(-1).clamp(max=logits.shape[-1] - 1)


@right("sample_next")
def adds_gumbel_noise(logits, temperature=1.0, generator=None):
    if temperature == 0:
        return torch.max(logits, dim=-1).indices
    uniform = torch.rand(logits.shape, generator=generator, device=logits.device)
    gumbel = -torch.log(-torch.log(uniform.clamp(min=1e-20)))
    return torch.argmax(logits / temperature + gumbel, dim=-1)


@right("sample_next")
def row_by_row_multinomial(logits, temperature=1.0, generator=None):
    ids = []
    for row in logits:
        if temperature == 0.0:
            ids.append(int(row.argmax()))
        else:
            weights = torch.exp((row - row.max()) / temperature)
            ids.append(int(torch.multinomial(weights, 1, generator=generator)))
    return torch.tensor(ids, device=logits.device)


@right("sample_next")
def searches_the_cumulative_sum(logits, temperature=1.0, generator=None):
    if temperature < 1e-9:
        return logits.sort(dim=-1, descending=True).indices[:, 0]
    edges = (logits / temperature).softmax(-1).cumsum(-1).contiguous()
    dart = torch.rand((logits.size(0), 1), generator=generator, device=logits.device)
    found = torch.searchsorted(edges, dart * edges[:, -1:], right=True)
    return found.clamp(max=logits.size(1) - 1).flatten()


@wrong("sample_next", says="that is `argmax`")
def always_takes_the_largest(logits, temperature=1.0, generator=None):
    return logits.argmax(dim=-1)


@wrong("sample_next", says="squeeze")
def keeps_the_last_axis(logits, temperature=1.0, generator=None):
    p = torch.softmax(logits / temperature, dim=-1)
    return torch.multinomial(p, 1, generator=generator)


@wrong("sample_next", says="every axis of length 1")
def squeezes_every_axis(logits, temperature=1.0, generator=None):
    if temperature == 0:
        return logits.argmax(dim=-1)
    p = torch.softmax(logits / temperature, dim=-1)
    return torch.multinomial(p, 1, generator=generator).squeeze()


@wrong("sample_next", says="before you draw")
def draws_from_raw_logits(logits, temperature=1.0, generator=None):
    return torch.multinomial(logits, 1, generator=generator).squeeze(-1)


@wrong("sample_next", says="in proportion to the logits")
def draws_from_clipped_logits(logits, temperature=1.0, generator=None):
    p = logits.clamp(min=0) / logits.clamp(min=0).sum(-1, keepdim=True)
    return torch.multinomial(p, 1, generator=generator).squeeze(-1)


@wrong("sample_next", says="no effect")
def ignores_the_temperature(logits, temperature=1.0, generator=None):
    p = torch.softmax(logits, dim=-1)
    return torch.multinomial(p, 1, generator=generator).squeeze(-1)


@wrong("sample_next", says="divide the *logits*")
def divides_after_the_softmax(logits, temperature=1.0, generator=None):
    p = torch.softmax(logits, dim=-1) / temperature
    return torch.multinomial(p, 1, generator=generator).squeeze(-1)


@wrong("sample_next", says="wrong way round")
def multiplies_by_the_temperature(logits, temperature=1.0, generator=None):
    p = torch.softmax(logits * temperature, dim=-1)
    return torch.multinomial(p, 1, generator=generator).squeeze(-1)


@wrong("sample_next", says="temperature of 0")
def divides_by_zero(logits, temperature=1.0, generator=None):
    p = torch.softmax(logits / temperature, dim=-1)
    return torch.multinomial(p, 1, generator=generator).squeeze(-1)


@wrong("sample_next", says="still draws")
def mends_zero_with_a_small_number(logits, temperature=1.0, generator=None):
    p = torch.softmax(logits / (temperature + 0.3 * (temperature == 0)), dim=-1)
    return torch.multinomial(p, 1, generator=generator).squeeze(-1)


@wrong("sample_next", says="hand it on")
def forgets_the_generator(logits, temperature=1.0, generator=None):
    if temperature == 0:
        return logits.argmax(-1)
    p = torch.softmax(logits / temperature, dim=-1)
    return torch.multinomial(p, 1).squeeze(-1)


@wrong("sample_next", says="its own seed")
def brings_its_own_seed(logits, temperature=1.0, generator=None):
    if temperature == 0:
        return logits.argmax(-1)
    torch.manual_seed(42)
    p = torch.softmax(logits / temperature, dim=-1)
    return torch.multinomial(p, 1).squeeze(-1)


@wrong("sample_next", says="one random number serves them all")
def throws_one_dart_for_all_rows(logits, temperature=1.0, generator=None):
    if temperature == 0:
        return logits.argmax(-1)
    edges = torch.softmax(logits / temperature, dim=-1).cumsum(-1)
    dart = torch.rand(1, generator=generator, device=logits.device)
    return (edges < dart).sum(-1)


@wrong("sample_next", says="beyond the last candidate")
def throws_a_dart_at_unnormalised_pieces(logits, temperature=1.0, generator=None):
    if temperature == 0:
        return logits.argmax(-1)
    edges = (logits.softmax(-1) / temperature).cumsum(-1)
    dart = torch.rand(len(logits), 1, generator=generator, device=logits.device)
    return (edges < dart).sum(-1)


@wrong("sample_next", says="another device")
def leaves_the_dart_on_the_cpu(logits, temperature=1.0, generator=None):
    if temperature == 0:
        return logits.argmax(-1)
    edges = torch.softmax(logits / temperature, dim=-1).cumsum(-1)
    dart = torch.rand(len(logits), 1, generator=generator)
    return (edges < dart).sum(-1)


# The generation loop


def sample_next(logits, temperature=1.0, generator=None):
    """What the exercise before it gives."""
    if temperature == 0:
        return logits.argmax(dim=-1)
    p = torch.softmax(logits / temperature, dim=-1)
    return torch.multinomial(p, 1, generator=generator).squeeze(-1)


@right("generate")
def fills_a_table_prepared_before(
    model, ids, steps, *, temperature=1.0, context=None, generator=None
):
    B, T = ids.shape
    text = torch.zeros(B, T + steps, dtype=ids.dtype, device=ids.device)
    text[:, :T] = ids
    for t in range(T, T + steps):
        start = 0 if context is None else max(0, t - context)
        with torch.no_grad():
            logits = model(text[:, start:t])
        text[:, t] = sample_next(logits[:, -1, :], temperature, generator)
    return text


@right("generate")
def keeps_a_list_of_columns(
    model, ids, steps, temperature=1.0, context=None, generator=None
):
    columns = list(ids.unbind(1))
    while len(columns) < ids.shape[1] + steps:
        seen = torch.stack(columns[-context:] if context else columns, dim=1)
        last = model(seen)[:, -1]
        columns.append(sample_next(last, temperature=temperature, generator=generator))
    return torch.stack(columns, 1)


@right("generate")
def calls_itself(model, ids, steps, *, temperature=1.0, context=None, generator=None):
    def write(text, left):
        if left == 0:
            return text
        logits = model(text[:, -(context or text.shape[1]) :])[:, -1]
        new = sample_next(logits, temperature, generator)[:, None]
        return write(torch.hstack([text, new]), left - 1)

    return write(ids, steps)


@wrong("generate", says="new tokens only")
def returns_only_the_new(
    model, ids, steps, *, temperature=1.0, context=None, generator=None
):
    new = []
    for _ in range(steps):
        drawn = sample_next(model(ids)[:, -1], temperature, generator)
        ids = torch.cat([ids, drawn[:, None]], dim=1)
        new.append(drawn)
    return torch.stack(new, dim=1)


@wrong("generate", says="in front of the text")
def appends_in_front(
    model, ids, steps, *, temperature=1.0, context=None, generator=None
):
    for _ in range(steps):
        drawn = sample_next(model(ids)[:, -1], temperature, generator)
        ids = torch.cat([drawn[:, None], ids], dim=1)
    return ids


@wrong("generate", says="*first* position")
def reads_off_the_first_position(
    model, ids, steps, *, temperature=1.0, context=None, generator=None
):
    for _ in range(steps):
        drawn = sample_next(model(ids)[:, 0], temperature, generator)
        ids = torch.cat([ids, drawn[:, None]], dim=1)
    return ids


@wrong("generate", says="last token only")
def shows_the_last_token_only(
    model, ids, steps, *, temperature=1.0, context=None, generator=None
):
    for _ in range(steps):
        drawn = sample_next(model(ids[:, -1:])[:, -1], temperature, generator)
        ids = torch.cat([ids, drawn[:, None]], dim=1)
    return ids


@wrong("generate", says="about the prompt each time")
def asks_about_the_prompt_again(
    model, ids, steps, *, temperature=1.0, context=None, generator=None
):
    text = ids
    for _ in range(steps):
        drawn = sample_next(model(ids)[:, -1], temperature, generator)
        text = torch.cat([text, drawn[:, None]], dim=1)
    return text


@wrong("generate", says="number of tokens")
def makes_one_step_less(
    model, ids, steps, *, temperature=1.0, context=None, generator=None
):
    for _ in range(1, steps):
        drawn = sample_next(model(ids)[:, -1], temperature, generator)
        ids = torch.cat([ids, drawn[:, None]], dim=1)
    return ids


@wrong("generate", says="unsqueeze(1)")
def forgets_the_axis(
    model, ids, steps, *, temperature=1.0, context=None, generator=None
):
    for _ in range(steps):
        drawn = sample_next(model(ids)[:, -1], temperature, generator)
        ids = torch.cat([ids, drawn], dim=1)
    return ids


@wrong("generate", says="not for a batch")
def draws_for_one_text_only(
    model, ids, steps, *, temperature=1.0, context=None, generator=None
):
    for _ in range(steps):
        drawn = sample_next(model(ids)[0, -1], temperature, generator)
        new = drawn.expand(ids.shape[0], 1)
        ids = torch.cat([ids, new], dim=1)
    return ids


@wrong("generate", says="but `context` is 3")
def never_crops(model, ids, steps, *, temperature=1.0, context=None, generator=None):
    for _ in range(steps):
        drawn = sample_next(model(ids)[:, -1], temperature, generator)
        ids = torch.cat([ids, drawn[:, None]], dim=1)
    return ids


@wrong("generate", says="sees the *first* tokens")
def crops_at_the_wrong_end(
    model, ids, steps, *, temperature=1.0, context=None, generator=None
):
    for _ in range(steps):
        drawn = sample_next(model(ids[:, :context])[:, -1], temperature, generator)
        ids = torch.cat([ids, drawn[:, None]], dim=1)
    return ids


@wrong("generate", says="beginning of the text is lost")
def crops_the_text_itself(
    model, ids, steps, *, temperature=1.0, context=None, generator=None
):
    for _ in range(steps):
        if context is not None:
            ids = ids[:, -context:]
        drawn = sample_next(model(ids)[:, -1], temperature, generator)
        ids = torch.cat([ids, drawn[:, None]], dim=1)
    return ids


@wrong("generate", says="hand `temperature` on")
def forgets_the_temperature(
    model, ids, steps, *, temperature=1.0, context=None, generator=None
):
    for _ in range(steps):
        seen = ids if context is None else ids[:, -context:]
        drawn = sample_next(model(seen)[:, -1], generator=generator)
        ids = torch.cat([ids, drawn[:, None]], dim=1)
    return ids


@wrong("generate", says="hand `generator` on")
def loses_the_generator(
    model, ids, steps, *, temperature=1.0, context=None, generator=None
):
    for _ in range(steps):
        seen = ids if context is None else ids[:, -context:]
        drawn = sample_next(model(seen)[:, -1], temperature)
        ids = torch.cat([ids, drawn[:, None]], dim=1)
    return ids


@wrong("generate", says="*Draw* it")
def takes_the_most_likely(
    model, ids, steps, *, temperature=1.0, context=None, generator=None
):
    for _ in range(steps):
        seen = ids if context is None else ids[:, -context:]
        best = model(seen)[:, -1].argmax(dim=-1, keepdim=True)
        ids = torch.cat([ids, best], dim=1)
    return ids


@wrong("generate", says="changes its input")
def writes_into_its_input(
    model, ids, steps, *, temperature=1.0, context=None, generator=None
):
    for _ in range(steps):
        seen = ids if context is None else ids[:, -context:]
        drawn = sample_next(model(seen)[:, -1], temperature, generator)
        grown = torch.cat([ids, drawn[:, None]], dim=1)
        ids.resize_(grown.shape).copy_(grown)
    return ids


@wrong("generate", says="may be None")
def crops_always(model, ids, steps, *, temperature=1.0, context=None, generator=None):
    for _ in range(steps):
        drawn = sample_next(model(ids[:, -context:])[:, -1], temperature, generator)
        ids = torch.cat([ids, drawn[:, None]], dim=1)
    return ids


@wrong("generate", says="logits of the last position")
def draws_at_every_position(
    model, ids, steps, *, temperature=1.0, context=None, generator=None
):
    for _ in range(steps):
        seen = ids if context is None else ids[:, -context:]
        drawn = sample_next(model(seen), temperature, generator)
        ids = torch.cat([ids, drawn], dim=1)
    return ids
