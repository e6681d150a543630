"""What the answers of "What a language model is" must satisfy.

Oracles: tables worked out on paper, `F.cross_entropy`, Pearson's statistic of drawn
samples, and a toy model whose text can be continued with plain integers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from course.case import Case, Complaint, Exercise, Mistake


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# Bigram counts


def bigram_counts() -> Iterator[Case]:
    # The pairs: 0-1, 1-0, 0-1, 1-1, 1-1, 1-2, 2-0, 0-1, 1-2
    text = torch.tensor([0, 1, 0, 1, 1, 1, 2, 0, 1, 2])
    counts = torch.tensor([[0, 3, 0], [1, 2, 2], [1, 0, 0]])
    fractions = Mistake(
        "Counts are whole numbers: make the table with `dtype=torch.int64`.",
        when=lambda got: got.is_floating_point(),
    )
    sized_by_the_text = Mistake(
        "The table has `vocab_size` rows and columns, whatever occurs in the text: "
        "make it of zeros first, or give `minlength=vocab_size**2` to "
        "`torch.bincount`.",
        raises=RuntimeError,
    )
    yield Case(
        "ten tokens of a vocabulary of three",
        args=(text, 3),
        expected=counts,
        mistakes=(
            fractions,
            Mistake(
                "Your table is on its side. The row is the token that comes first, "
                "the column the one that follows: `counts[a, b]` for `a` then `b`.",
                equals=counts.T,
            ),
            Mistake(
                "A pair that occurs several times is counted once. With a tensor of "
                "indices, `counts[a, b] += 1` adds only once per place: loop over the "
                "pairs, or use `torch.bincount` or `index_put_(..., accumulate=True)`.",
                equals=counts.clamp(max=1),
            ),
            Mistake(
                "Only every second pair is counted. Pairs overlap: the second token of "
                "one pair is the first of the next.",
                equals=torch.tensor([[0, 2, 0], [0, 1, 1], [1, 0, 0]]),
            ),
            Mistake(
                "The last token is paired with the first. Nothing follows the last "
                "token: T tokens make T - 1 pairs.",
                equals=counts + torch.tensor([[0, 0, 0], [0, 0, 0], [1, 0, 0]]),
            ),
            Mistake(
                "The last pair is missing: T tokens make T - 1 pairs, and `range(n)` "
                "stops before n.",
                equals=counts - torch.tensor([[0, 0, 0], [0, 0, 1], [0, 0, 0]]),
            ),
            Mistake(
                "There is no token after the last one: stop one before the end.",
                raises=IndexError,
            ),
            sized_by_the_text,
        ),
    )
    larger = torch.zeros(7, 7, dtype=torch.int64)
    larger[2, 4], larger[4, 2] = 2, 1
    yield Case(
        "tokens that never occur still have a row and a column",
        args=(torch.tensor([2, 4, 2, 4]), 7),
        expected=larger,
        mistakes=(
            fractions,
            sized_by_the_text,
            Mistake(sized_by_the_text.hint, when=lambda got: got.shape != larger.shape),
        ),
    )
    yield Case(
        "a text of one token has no pairs",
        args=(torch.tensor([4]), 5),
        expected=torch.zeros(5, 5, dtype=torch.int64),
        mistakes=(fractions,),
    )


# Bigram probabilities


def bigram_probabilities() -> Iterator[Case]:
    counts = torch.tensor([[1, 2, 5], [3, 0, 1], [2, 6, 3]])
    expected = torch.tensor(
        [[1 / 8, 2 / 8, 5 / 8], [3 / 4, 0 / 4, 1 / 4], [2 / 11, 6 / 11, 3 / 11]]
    )
    in_place = Mistake(
        "The counts are whole numbers, and `+=` or `/=` would have to write fractions "
        "into them. Make a new tensor: `counts + alpha`.",
        raises=RuntimeError,
    )
    yield Case(
        "three tokens, every count different",
        args=(counts,),
        expected=expected,
        mistakes=(
            in_place,
            Mistake(
                "Each *column* sums to 1. A row is what followed one token: divide by "
                "the sum over `dim=-1`.",
                equals=counts / counts.sum(0),
            ),
            Mistake(
                "Without `keepdim=True` the sums have shape (V,) and broadcast along "
                "the wrong axis: the row sums divide the columns.",
                equals=counts / counts.sum(1),
            ),
            Mistake(
                "The whole *table* sums to 1: these are probabilities of pairs. Given "
                "the first token, each row sums to 1.",
                equals=counts / counts.sum(),
            ),
            Mistake(
                "`//` divides whole numbers and throws the fraction away. Use `/`.",
                when=lambda got: not got.is_floating_point(),
            ),
            Mistake(
                "This is the softmax of the counts. Counts are no logits: divide them "
                "by their sum, without `exp`.",
                equals=counts.float().softmax(-1),
            ),
        ),
    )
    smoothed = torch.tensor([[2, 3, 6], [4, 1, 2], [3, 7, 4]]) / torch.tensor(
        [[11], [7], [14]]
    )
    ignored = Mistake(
        "`alpha` has no effect yet: add it to every count before you divide.",
        equals=expected,
    )
    yield Case(
        "one added to every count",
        args=(counts, 1),
        expected=smoothed,
        mistakes=(
            in_place,
            ignored,
            Mistake(
                "The rows sum to more than 1: `alpha` is added above the line only. "
                "Sum *after* adding it.",
                equals=(counts + 1) / counts.sum(1, keepdim=True),
            ),
            Mistake(
                "`alpha` is added to the total once, but V counts grew by it. Sum the "
                "smoothed counts.",
                equals=(counts + 1) / (counts.sum(1, keepdim=True) + 1),
            ),
            Mistake(
                "`alpha` is added to the *probabilities*. Add it to the counts, then "
                "divide.",
                equals=expected + 1,
            ),
            Mistake(
                "`alpha` belongs to every count, also to those that are not 0.",
                equals=counts.clamp(min=1) / counts.clamp(min=1).sum(1, keepdim=True),
            ),
        ),
    )
    unseen = torch.tensor([[0, 0, 0, 0, 0], [0, 4, 0, 0, 1], *[[1, 1, 1, 1, 1]] * 3])
    table = torch.full((5, 5), 1 / 5)
    table[1] = torch.tensor([1, 9, 1, 1, 3]) / 15
    yield Case(
        "a token that nothing ever followed, with alpha 0.5",
        args=(unseen, 0.5),
        expected=table,
        mistakes=(
            in_place,
            Mistake(
                "0 / 0 is NaN: this row had no counts when you divided. Add `alpha` "
                "first; then the row is uniform.",
                when=lambda got: bool(got.isnan().any()),
            ),
        ),
    )


# Cross-entropy


def _torch_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1))


def cross_entropy() -> Iterator[Case]:
    axis = Mistake(
        "An index does not fit its axis. The logits are (..., V), the targets (...): "
        "pick along the last axis, for example with "
        "`logits.gather(-1, targets.unsqueeze(-1))`.",
        raises=(RuntimeError, IndexError),
    )
    one = torch.tensor([[1.0, 2.0, 5.0]]).log()
    surprise = torch.tensor(8 / 5).log()
    yield Case(
        "one prediction: the right token has probability 5/8",
        args=(one, torch.tensor([2])),
        expected=surprise,
        mistakes=(
            axis,
            Mistake(
                "The sign is missing: the logarithm of a probability is negative, a "
                "surprise is positive.",
                equals=-surprise,
            ),
            Mistake(
                "These are bits, with `log2`. The loss is in nats: use the natural "
                "logarithm, `log`.",
                equals=surprise / math.log(2),
            ),
            Mistake(
                "This is the logit itself, with a minus. It becomes a log-probability "
                "when the log of the sum of all `exp(logits)` is taken away.",
                equals=-torch.tensor(5.0).log(),
            ),
            Mistake(
                "This is the probability. The surprise is minus its logarithm.",
                when=lambda got: math.isclose(abs(float(got)), 5 / 8, rel_tol=1e-5),
            ),
            Mistake(
                "The logits are used as if they were probabilities. Take the softmax "
                "over the last axis first.",
                equals=-one[0, 2].log(),
            ),
            Mistake(
                "One number is wanted, a tensor of shape (): end with `.mean()`.",
                when=lambda got: got.dim() > 0,
            ),
        ),
    )
    logits = torch.randn(2, 3, 5, dtype=torch.float64, generator=_seeded(5))
    targets = torch.tensor([[0, 1, 2], [4, 3, 1]])
    losses = -logits.log_softmax(-1).gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    yield Case(
        "two texts of three tokens, five candidates",
        args=(logits, targets),
        expected=_torch_cross_entropy,
        gradient=True,
        any_device=True,
        mistakes=(
            axis,
            Mistake(
                "This is the *sum* over all positions. The loss is their mean: it "
                "must not grow with the length of the text.",
                equals=losses.sum(),
            ),
            Mistake(
                "You sum over a text and average over the batch. Average over all "
                "positions alike.",
                equals=losses.sum(1).mean(),
            ),
            Mistake(
                "One number is wanted, a tensor of shape (): the mean over all "
                "positions.",
                when=lambda got: got.dim() > 0,
            ),
            *(
                Mistake(
                    f"The softmax runs over `dim={dim}`, across positions or texts. "
                    "The candidates compete with each other: `dim=-1`.",
                    equals=-logits.log_softmax(dim)
                    .gather(-1, targets.unsqueeze(-1))
                    .mean(),
                )
                for dim in (0, 1)
            ),
            Mistake(
                "The average runs over all candidates, not only over the right one at "
                "each position. Pick the targets with `gather`.",
                equals=-logits.log_softmax(-1).mean(),
            ),
        ),
    )
    yield Case(
        "seven positions and no batch",
        args=(
            torch.randn(7, 11, dtype=torch.float64, generator=_seeded(7)),
            torch.tensor([0, 10, 3, 5, 5, 1, 8]),
        ),
        expected=_torch_cross_entropy,
        mistakes=(
            Mistake(
                "There may be any number of axes in front of the last one: use "
                "`dim=-1`, and reshape with `-1`.",
                raises=(ValueError, RuntimeError, IndexError),
            ),
        ),
    )
    hides = Mistake(
        "A small number inside the logarithm only hides the zero: the surprise here "
        "is 10,000, yours is far less. Stay with logarithms: log(sum(exp)) minus the "
        "logit of the target.",
        when=lambda got: 0 <= float(got.detach()) < 1000,
    )
    yield Case(
        "logits as large as 10,000",
        args=(
            torch.tensor([[1e4, 0.0, 9990.0], [1e4, 0.0, 9990.0]]).double(),
            torch.tensor([2, 1]),
        ),
        expected=_torch_cross_entropy,
        gradient=True,
        mistakes=(
            Mistake(
                "`exp(10000)` overflows to infinity, and infinity divided by itself "
                "(or taken from itself) is NaN. Take the largest logit away from all "
                "of them first: no probability changes.",
                when=lambda got: bool(got.isnan()),
            ),
            Mistake(
                "A probability was rounded to 0 before its logarithm was taken, or "
                "`exp` overflowed. Do not go through probabilities: take the largest "
                "logit away, then log(sum(exp)) minus the logit of the target.",
                when=lambda got: bool(got.isinf()),
            ),
            hides,
        ),
    )
    yield Case(
        "rows of very different size",
        args=(
            torch.tensor([[5e3, 4999.0, 0.0], [-5e3, -5001.0, -4999.5]]).double(),
            torch.tensor([1, 0]),
        ),
        expected=_torch_cross_entropy,
        gradient=True,
        mistakes=(
            Mistake(
                "One maximum was taken for the whole tensor, so that a row far below "
                "it vanishes: exp(-10000) is 0. Every row needs its own: "
                "`logits.amax(dim=-1, keepdim=True)`.",
                when=lambda got: not bool(got.isfinite()),
            ),
        ),
    )


# Bits per character


def bits_per_character() -> Iterator[Case]:
    eight = math.log(8)
    yield Case(
        "every character is a token, eight equal candidates: three bits",
        args=(eight, 70, 70),
        expected=3.0,
        mistakes=(
            Mistake(
                "A bit is *less* than a nat (0.693 nats), so there are more bits than "
                "nats: divide by ln 2.",
                equals=eight * math.log(2),
            ),
            Mistake("These are still nats: divide by ln 2.", equals=eight),
            Mistake(
                "The loss is already a logarithm. Change its unit with a division by "
                "ln 2; do not take another logarithm.",
                equals=math.log2(eight),
            ),
            Mistake(
                "`math.log10(2)` belongs to base 10. A nat uses base e: `math.log(2)`.",
                equals=eight / math.log10(2),
            ),
            Mistake(
                "This is the total of the whole text. Divide by its characters.",
                equals=3.0 * 70,
            ),
            Mistake(
                "`nats` is already a mean over the tokens. Multiply by their number to "
                "get the total, then divide by the characters.",
                equals=3.0 / 70,
            ),
        ),
    )
    bits = 2.0 / math.log(2)
    yield Case(
        "50 tokens that cover 175 characters",
        args=(2.0, 50, 175),
        expected=bits * 50 / 175,
        mistakes=(
            Mistake(
                "The ratio is upside down. Longer tokens spread the same bits over "
                "*more* characters: times tokens, divided by characters.",
                equals=bits * 175 / 50,
            ),
            Mistake(
                "These are bits per *token*. The whole text costs `tokens` times as "
                "much, spread over `characters`.",
                equals=bits,
            ),
            Mistake(
                "You divide by the characters a mean that was taken over tokens. "
                "Multiply by `tokens` first.",
                equals=bits / 175,
            ),
            Mistake(
                "This is the total of the whole text. Divide by its characters.",
                equals=bits * 50,
            ),
            Mistake(
                "`//` throws the fraction away. Use `/`.",
                when=lambda got: float(got).is_integer(),
            ),
        ),
    )


# Sampling the next token

DRAWS = 10_000


def _pearson(ids: Tensor, probabilities: Tensor) -> float:
    expected = probabilities * ids.numel()
    seen = torch.bincount(ids.flatten(), minlength=len(probabilities))
    return float(((seen - expected) ** 2 / expected).sum())


def _follows(ids: Tensor, probabilities: Tensor) -> bool:
    """Whether drawn ids may come from five given probabilities.

    With four degrees of freedom, Pearson's statistic of a right answer exceeds 30 five
    times in a million.
    """
    return _pearson(ids, probabilities) < 30


def _malformed(ids: object, shape: tuple[int, ...], candidates: int) -> str | None:
    """What is wrong with drawn ids before one looks at how often each occurs."""
    if not isinstance(ids, Tensor):
        return f"Your code returned a `{type(ids).__name__}`, expected a tensor of ids."
    if tuple(ids.shape) != shape:
        return f"The shape is {tuple(ids.shape)}, expected {shape}: one id per row."
    if ids.dtype != torch.int64:
        return f"The dtype is {ids.dtype}, expected torch.int64."
    if ids.min() < 0 or ids.max() >= candidates:
        return (
            f"The ids run from {ids.min()} to {ids.max()}, "
            f"expected 0 to {candidates - 1}."
        )
    return None


def _draw(answer: Callable, logits: Tensor, temperature: float) -> Tensor:
    """Ids drawn from one row of logits, in four calls of the reader's code."""
    generator = _seeded(11)
    rows = logits.expand(DRAWS // 4, -1)
    drawn = []
    for _ in range(4):
        ids = answer(rows.clone(), temperature=temperature, generator=generator)
        complaint = _malformed(ids, (DRAWS // 4,), logits.numel())
        if complaint:
            raise Complaint(complaint + _cause(ids, logits.numel()))
        drawn.append(ids)
    return torch.stack(drawn)


def _cause(ids: object, candidates: int) -> str:
    if not isinstance(ids, Tensor) or ids.is_floating_point():
        return ""
    if ids.dim() == 2 and ids.shape[-1] == 1:
        return " Take the last axis away with `.squeeze(-1)`."
    if ids.max() >= candidates:
        return (
            " A dart fell beyond the last candidate: do the probabilities of each row "
            "still sum to 1?"
        )
    return ""


def _often(logits: Tensor, temperature: float) -> Callable[[Tensor], str | None]:
    probabilities = (logits / temperature).softmax(-1)

    def judge(ids: Tensor) -> str | None:
        if bool((ids == ids[0]).all()):
            return "Several calls with one generator all give the same ids."
        if _follows(ids, probabilities):
            return None
        seen = torch.bincount(ids.flatten(), minlength=len(probabilities)) / DRAWS
        return (
            f"In {DRAWS:,} draws the candidates come up with frequencies "
            f"{_listed(seen)}; expected about {_listed(probabilities)}."
        )

    return judge


def _listed(values: Tensor) -> str:
    return ", ".join(f"{value:.2f}" for value in values.tolist())


def sample_next() -> Iterator[Case]:
    sure = torch.full((3, 7), -50.0)
    sure[0, 2] = sure[1, 6] = sure[2, 0] = 50.0
    yield Case(
        "three rows, each sure of one candidate",
        args=(sure,),
        expected=torch.tensor([2, 6, 0]),
        any_device=True,
        mistakes=(
            Mistake(
                "The drawn ids still have an axis of length 1 at the end: take it away "
                "with `.squeeze(-1)`.",
                when=lambda got: got.shape == (3, 1),
            ),
            Mistake(
                "One id per *row* is wanted. The candidates stand along the last axis: "
                "`dim=-1`.",
                when=lambda got: got.shape in {(7,), (7, 1), ()},
            ),
            Mistake(
                "These are probabilities. Draw an id from each row of them.",
                when=lambda got: got.is_floating_point(),
            ),
            Mistake(
                "Logits may be negative; probabilities may not. Take the softmax "
                "before you draw.",
                raises=RuntimeError,
            ),
        ),
    )
    yield Case(
        "a single row stays a row",
        args=(sure[:1],),
        expected=torch.tensor([2]),
        mistakes=(
            Mistake(
                "With one row the result is (1,), not (): `.squeeze()` took away every "
                "axis of length 1. Take away the last one only: `.squeeze(-1)`.",
                when=lambda got: got.shape == (),
            ),
        ),
    )
    logits = torch.tensor([0.5, 1.0, 3.0, 2.0, 0.2])
    largest = Mistake(
        "The largest logit wins every time: that is `argmax`. At temperature 1 every "
        "candidate comes up as often as its probability says.",
        when=lambda got: bool((got == logits.argmax()).all()),
    )
    one_dart = Mistake(
        "All rows of a call get the same id: one random number serves them all. Draw "
        "one per row.",
        when=lambda got: bool((got == got[:, :1]).all()),
    )
    own_seed = Mistake(
        "Your code brings its own seed. Use the `generator` it is given, and never "
        "seed it.",
        when=lambda got: bool((got == got[0]).all()),
    )
    yield Case(
        "as often as the probabilities say",
        args=(logits,),
        call=lambda answer, logits: _draw(answer, logits, 1.0),
        judge=_often(logits, 1.0),
        mistakes=(
            largest,
            one_dart,
            own_seed,
            Mistake(
                "Logits are not probabilities: you draw in proportion to the logits. "
                "Take the softmax first.",
                when=lambda got: _follows(got, logits / logits.sum()),
            ),
            Mistake(
                "Every candidate comes up equally often: the logits play no role.",
                when=lambda got: _follows(got, torch.full((5,), 1 / 5)),
            ),
        ),
    )
    for temperature in (2.0, 0.5):
        yield Case(
            f"temperature {temperature:g}",
            args=(logits, temperature),
            call=lambda answer, logits, t: _draw(answer, logits, t),
            judge=_often(logits, temperature),
            mistakes=(
                largest,
                Mistake(
                    "The temperature has no effect. Divide the *logits* by it, before "
                    "the softmax; probabilities divided by it go back to what they "
                    "were as soon as they sum to 1 again.",
                    when=lambda got: _follows(got, logits.softmax(-1)),
                ),
                Mistake(
                    "It works the wrong way round: you multiply. *Divide* the logits "
                    "by the temperature, so that a high one makes them alike.",
                    when=lambda got, t=temperature: _follows(
                        got, (logits * t).softmax(-1)
                    ),
                ),
            ),
        )
    rows = torch.randn(5, 7, generator=_seeded(3))
    yield Case(
        "temperature 0: always the largest logit",
        args=(rows,),
        kwargs={"temperature": 0.0},
        expected=rows.sort(dim=-1).indices[:, -1],
        mistakes=(
            Mistake(
                "Dividing by a temperature of 0 gives infinities and NaN. Treat it "
                "apart: return the `argmax` before you divide.",
                raises=(RuntimeError, ZeroDivisionError),
            ),
            Mistake(
                "Temperature 0 takes the largest logit of each row; yours still draws, "
                "or divides by 0. Return the `argmax` before you divide.",
                when=lambda got: got.shape == (5,),
            ),
        ),
    )
    yield Case(
        "the same seed draws the same ids",
        args=(torch.zeros(101, 11),),
        call=lambda answer, logits: [
            answer(logits, generator=_seeded(seed)) for seed in (3, 3, 4)
        ],
        judge=_reproducible,
        mistakes=(
            Mistake(
                "The randomness must come from `generator`: hand it on, "
                "`generator=generator`.",
                when=lambda got: not torch.equal(got[0], got[1]),
            ),
            Mistake(
                "Your code brings its own seed. Use the `generator` it is given, and "
                "never seed it.",
                when=lambda got: torch.equal(got[0], got[2]),
            ),
        ),
    )
    yield Case(
        "a logit of minus infinity is never drawn",
        args=(
            torch.tensor([0.0, -math.inf, 0.0, -math.inf, -math.inf]).expand(999, 5),
        ),
        kwargs={"generator": _seeded(1)},
        judge=_only_possible,
        mistakes=(
            Mistake(
                "minus infinity times 0, or minus itself, is NaN: let the logits go "
                "straight into the softmax.",
                raises=RuntimeError,
            ),
        ),
    )


def _reproducible(got: list[Tensor]) -> str | None:
    first, again, other = got
    if not torch.equal(first, again):
        return "Two generators with the same seed give different ids."
    if torch.equal(first, other):
        return "Two different seeds give the same ids."
    return None


def _only_possible(ids: Tensor) -> str | None:
    drawn = sorted(set(ids.tolist()))
    if drawn != [0, 2]:
        return f"The ids {drawn} came up; only 0 and 2 are possible here."
    return None


# The generation loop

TOY_SIZE = 11


def _toy(ids: Tensor) -> Tensor:
    """A model that is sure of its next token: it adds up all it sees, the last thrice.

    (B, T) -> (B, T, 11). Its next token tells what it was shown, and in which order.
    """
    following = (ids.cumsum(dim=1) + 2 * ids) % TOY_SIZE  # (B, T)
    return 100.0 * torch.eye(TOY_SIZE, device=ids.device)[following]  # (B, T, 11)


def _continued(
    prompt: list[int],
    steps: int,
    shown: Callable[[list[int]], list[int]] = lambda text: text,
    position: int = -1,
    put: Callable[[list[int], int], list[int]] = lambda text, new: [*text, new],
) -> list[int]:
    """What the toy writes, in plain integers: the oracle, and likely distortions."""
    text = list(prompt)
    for _ in range(steps):
        seen = shown(text)
        seen = seen[: range(len(seen))[position] + 1]
        text = put(text, (sum(seen) + 2 * seen[-1]) % TOY_SIZE)
    return text


def _batch(*texts: list[int]) -> Tensor:
    return torch.tensor(texts)


def _generate_with(model: Callable) -> Callable:
    """How a case calls the answer: with this model, and the rest as arguments."""
    return lambda answer, ids, steps, **options: answer(model, ids, steps, **options)


def generate() -> Iterator[Case]:
    prompt = [1, 2, 5]
    expected = _continued(prompt, 4)
    yield Case(
        "four steps from three tokens",
        args=(_batch(prompt), 4),
        call=_generate_with(_toy),
        expected=_batch(expected),
        any_device=True,
        mistakes=(
            Mistake(
                "These are the new tokens only. Return the whole text: what was given, "
                "and what follows.",
                equals=_batch(expected[3:]),
            ),
            Mistake(
                "The new tokens stand in front of the text. Put each at the end: "
                "`torch.cat([ids, new], dim=1)`.",
                equals=_batch(
                    _continued(prompt, 4, put=lambda text, new: [new, *text])
                ),
            ),
            Mistake(
                "The next token is read off at the *first* position. The prediction "
                "for what comes next stands at the last one: `logits[:, -1]`.",
                equals=_batch(_continued(prompt, 4, position=0)),
            ),
            Mistake(
                "The model is shown the last token only. Show it the whole text so "
                "far: other models than the bigram use all of it.",
                equals=_batch(_continued(prompt, 4, shown=lambda text: text[-1:])),
            ),
            Mistake(
                "The model is asked about the prompt each time. Show it the text *so "
                "far*, with the tokens it has just written.",
                equals=_batch(_continued(prompt, 4, shown=lambda text: text[:3])),
            ),
            Mistake(
                "The number of tokens is not right: `steps` new ones follow the "
                "prompt, so the result is (B, T + steps).",
                when=lambda got: got.shape[1:] in {(6,), (8,), (5,)},
            ),
            Mistake(
                "The shapes do not fit. `sample_next` wants the logits of the last "
                "position, (B, V). A text is a row: the drawn ids (B,) need an axis "
                "before they can stand at its end, `drawn.unsqueeze(1)`.",
                raises=(RuntimeError, IndexError),
            ),
            Mistake(
                "`context` may be None, and None has no minus: then the model sees the "
                "whole text.",
                raises=TypeError,
            ),
        ),
    )
    texts = [4, 0], [9, 10], [3, 3]
    yield Case(
        "three texts at once",
        args=(_batch(*texts), 5),
        call=_generate_with(_toy),
        expected=_batch(*(_continued(text, 5) for text in texts)),
        mistakes=(
            Mistake(
                "It works for one text but not for a batch: avoid `.item()` and "
                "`[0]`; draw for all rows with one call of `sample_next`.",
                raises=(RuntimeError, ValueError, IndexError),
            ),
            Mistake(
                "It works for one text but not for a batch: every row needs the token "
                "drawn from its own logits.",
                when=lambda got: got.dim() == 2,
            ),
        ),
    )
    long = [1, 2, 5, 7, 3]

    def short_sighted(ids: Tensor) -> Tensor:
        if ids.shape[1] > 3:
            raise Complaint(
                f"The model was shown {ids.shape[1]} tokens, but `context` is 3. Show "
                "it the last 3 only: `ids[:, -context:]`."
            )
        return _toy(ids)

    yield Case(
        "a context shorter than the text",
        args=(_batch(long), 4),
        kwargs={"context": 3},
        call=_generate_with(short_sighted),
        expected=_batch(_continued(long, 4, shown=lambda text: text[-3:])),
        mistakes=(
            Mistake(
                "The model sees the *first* tokens of the text. Show it the last ones: "
                "`ids[:, -context:]`.",
                equals=_batch(_continued(long, 4, shown=lambda text: text[:3])),
            ),
            Mistake(
                "The beginning of the text is lost. Crop what the model *sees*, and "
                "keep the text itself whole.",
                when=lambda got: got.shape[1] < 9,
            ),
        ),
    )
    yield Case(
        "a context longer than the text",
        args=(_batch([6, 2]), 3),
        kwargs={"context": 50},
        call=_generate_with(_toy),
        expected=_batch(_continued([6, 2], 3)),
    )
    # Nearly equal chances, so that drawing and taking the largest differ.
    table = torch.tensor([[0.0, 0.3, 0.1], [0.1, 0.0, 0.3], [0.3, 0.1, 0.0]])
    circle = [0, 1, 2, 0, 1, 2, 0, 1, 2, 0]
    yield Case(
        "the temperature: 0 takes the largest",
        args=(_batch([0]), 9),
        kwargs={"temperature": 0.0, "generator": _seeded(2)},
        call=_generate_with(lambda ids: table.to(ids.device)[ids]),
        expected=_batch(circle),
        mistakes=(
            Mistake(
                "Hand `temperature` on to `sample_next`.",
                when=lambda got: got.shape == (1, 10),
            ),
        ),
    )
    yield Case(
        "the generator: the same seed writes the same text",
        args=(_batch([0]), 49),
        call=lambda answer, ids, steps: [
            answer(lambda seen: table[seen], ids, steps, generator=_seeded(seed))
            for seed in (3, 3, 4)
        ],
        judge=_reproducible,
        mistakes=(
            Mistake(
                "The most likely token is taken at every step. *Draw* it from the "
                "logits: `sample_next(logits, temperature, generator)`.",
                when=lambda got: got[0][0, :10].tolist() == circle,
            ),
            Mistake(
                "Hand `generator` on to `sample_next`.",
                when=lambda got: not torch.equal(got[0], got[1]),
            ),
            Mistake(
                "Your code brings its own seed. Use the `generator` it is given.",
                when=lambda got: torch.equal(got[0], got[2]),
            ),
        ),
    )


EXERCISES = (
    Exercise(
        "bigram_counts",
        difficulty=1,
        minutes=10,
        hints=(
            "Put the text beside itself, moved by one: `ids[:-1]` comes first, "
            "`ids[1:]` follows.",
            "Make a table of zeros, (V, V) and `torch.int64`, and add 1 at `[a, b]` "
            "for each pair. A Python loop is fine.",
            "counts = zeros(V, V)\nfor a, b in zip(ids[:-1], ids[1:]):\n"
            "    add 1 to counts[a, b]\nreturn counts",
        ),
        cases=bigram_counts,
    ),
    Exercise(
        "bigram_probabilities",
        difficulty=1,
        minutes=8,
        hints=(
            "A row holds what followed one token. Which sum turns it into shares?",
            "Add `alpha` to every count, sum each row of the result, and divide. The "
            "sums must keep their axis to divide row by row.",
            "smoothed = counts + alpha\n"
            "totals = sum of smoothed over the last axis, with keepdim: (V, 1)\n"
            "return smoothed / totals",
        ),
        cases=bigram_probabilities,
    ),
    Exercise(
        "sample_next",
        difficulty=2,
        minutes=15,
        hints=(
            "Logits become probabilities by the softmax, and a temperature is a number "
            "that divides the logits. What does a temperature of 0 ask for?",
            "Return the `argmax` over the last axis at temperature 0. Otherwise take "
            "the softmax of `logits / temperature` and draw from it with "
            "`torch.multinomial`, which takes the generator.",
            "if temperature is 0: return argmax over the last axis\n"
            "p = softmax(logits / temperature) over the last axis\n"
            "drawn = torch.multinomial(p, 1, generator=generator): (B, 1)\n"
            "return drawn without its last axis: (B,)",
        ),
        cases=sample_next,
    ),
    Exercise(
        "generate",
        difficulty=2,
        minutes=20,
        hints=(
            "One step: show the model the text, look at the prediction for what comes "
            "next, draw a token, put it at the end. Repeat.",
            "The model gives logits (B, T, V); the next token is predicted at the last "
            "position. With a context, the model sees only the last `context` tokens, "
            "but the text keeps all.",
            "repeat steps times:\n"
            "    seen = the last `context` tokens of ids (or all)\n"
            "    logits = model(seen) at the last position: (B, V)\n"
            "    drawn = sample_next(logits, temperature, generator): (B,)\n"
            "    ids = ids with drawn as one more column\nreturn ids",
        ),
        cases=generate,
    ),
    Exercise(
        "cross_entropy",
        difficulty=2,
        minutes=20,
        hints=(
            "The logarithm of a softmax is a difference: the logit of the target minus "
            "the logarithm of the sum of all `exp(logits)`.",
            "Take each row's largest logit away first (`amax` with `keepdim=True`): "
            "then no `exp` exceeds 1. Pick the targets with `gather` on the last axis.",
            "shifted = logits - largest of each row\n"
            "log_total = log(sum of exp(shifted) over the last axis)\n"
            "chosen = shifted at the targets\nreturn mean of (log_total - chosen)",
        ),
        cases=cross_entropy,
    ),
    Exercise(
        "bits_per_character",
        difficulty=1,
        minutes=6,
        hints=(
            "Two changes of unit: from nats to bits, and from per token to per "
            "character.",
            "A bit is ln 2 nats. `tokens` times the mean is the cost of the whole "
            "text; that cost is shared by `characters`.",
            "bits per token = nats / ln 2\ntotal = bits per token * tokens\n"
            "return total / characters",
        ),
        cases=bits_per_character,
    ),
)
