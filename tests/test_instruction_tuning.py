"""Instruction tuning by transformers: its templates, masks, padding and loss."""

from __future__ import annotations

import doctest
import math
import random
from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from torch.optim import SGD
from torch.testing import assert_close
from transformers import (
    DataCollatorForSeq2Seq,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
)

import solutions.instruction_tuning as chapter
from course import pretrained
from solutions.gpt_block import GPT, GPTConfig, from_gpt2, to_gpt2
from solutions.instruction_tuning import (
    Dialogues,
    answer_targets,
    dialogue,
    dialogue_tokens,
    exact_match,
    padded,
)
from solutions.pretraining import (
    NOTHING,
    Plan,
    evaluate,
    next_token_loss,
    pretrain,
    training_step,
)
from solutions.tokens import to_tiktoken, train_bpe

TEMPLATE = """\
{{- '\\n' -}}
{%- for message in messages -%}
  {%- if message['role'] == 'user' -%}
    {{- message['content'] | trim + '\\n' -}}
  {%- else -%}
    {%- generation -%}{{- message['content'] | trim -}}{%- endgeneration -%}
    {{- '\\n\\n' -}}
  {%- endif -%}
{%- endfor -%}
"""
"""The template as a Jinja template, which other programs chat with."""

LETTERS = "ab é안\n\t?\U0001f600'"
SIZES = GPTConfig(31, 12, n_embd=6, n_layer=2, n_head=3)

ASKED = [("user", "Who won?"), ("assistant", "Mina"), ("user", "Who lost?")]


@pytest.fixture(scope="module")
def theirs() -> PreTrainedTokenizerFast:
    """A tokenizer of theirs, one token for each character."""
    characters = sorted({*map(chr, range(9, 127)), *LETTERS})
    vocabulary = {character: i for i, character in enumerate(characters)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="~")
    fast.chat_template = TEMPLATE
    return fast


def messages(seed: int) -> list[tuple[str, str]]:
    """Some turns of random text, with white space anywhere."""
    rng = random.Random(seed)
    texts = ["".join(rng.choices(LETTERS, k=rng.randrange(9))) for _ in range(5)]
    roles = ["user", "assistant"] * 3
    return list(zip(roles, texts, strict=False))[: rng.randrange(1, 6)]


def as_theirs(some: list[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"role": role, "content": text} for role, text in some]


# The template


@pytest.mark.parametrize("seed", range(40))
def test_a_dialogue_is_what_the_template_makes_of_it_in_transformers(theirs, seed):
    some = messages(seed)
    expected = theirs.apply_chat_template(as_theirs(some), tokenize=False)
    assert dialogue(some) == expected


def test_a_dialogue_that_ends_with_the_user_is_a_prompt():
    whole = dialogue([*ASKED, ("assistant", "Tom")])
    assert whole == dialogue(ASKED) + "Tom\n\n"


@pytest.mark.parametrize(
    ("some", "words"),
    [
        ([], "the dialogue is empty"),
        ([("system", "Be kind.")], "message 1 has the role 'system', expected 'user'"),
        ([("assistant", "Hello.")], "message 1 has the role 'assistant'"),
        ([*ASKED, ("user", "Well?")], "message 4 has the role 'user', expected 'assi"),
        ([*ASKED[:2], ("assistant", "")], "message 3 has the role 'assistant'"),
        ([("User", "Who?")], "message 1 has the role 'User'"),
    ],
)
def test_what_is_no_dialogue_is_refused_in_one_line(some, words):
    for make in dialogue, lambda some: dialogue_tokens(some, list):
        with pytest.raises(ValueError, match=words) as caught:
            make(some)
        assert "\n" not in str(caught.value)


# Which tokens are answers


@pytest.mark.parametrize("seed", range(20))
def test_the_tokens_and_which_are_answers_are_those_of_transformers(theirs, seed):
    some = messages(seed)
    expected = theirs.apply_chat_template(
        as_theirs(some),
        return_dict=True,
        return_assistant_tokens_mask=True,
    )

    def encode(text: str) -> list[int]:
        return theirs(text, add_special_tokens=False)["input_ids"]

    ids, is_answer = dialogue_tokens(some, encode)
    assert ids == expected["input_ids"]
    assert is_answer == [mask == 1 for mask in expected["assistant_masks"]]


def test_a_prompt_has_the_tokens_of_its_text():
    """Else a prompt would have other tokens than what the model was tuned on."""
    _, shipped = pretrained.load()
    text = "\n".join(dialogue(messages(seed)) for seed in range(300, 400))
    ours = to_tiktoken(train_bpe(text, 300))
    assert len(ours.encode("\n\n")) == 1
    compared = 0
    for encoding, seed in product((shipped, ours), range(300)):
        some = messages(seed)
        prompt = some if len(some) % 2 else some[:-1]
        if encoding is shipped or all(text.strip() for _, text in prompt):
            ids, _ = dialogue_tokens(prompt, encoding.encode_ordinary)
            assert ids == encoding.encode_ordinary(dialogue(prompt)), prompt
            compared += 1
    assert compared > 400


# The mask


def test_the_targets_of_a_dialogue_on_paper():
    """Characters for tokens; `.` where nothing is asked."""
    some = [*ASKED, ("assistant", "Tom")]
    ids, is_answer = dialogue_tokens(some, lambda text: list(text.encode()))
    targets = answer_targets(torch.tensor([ids]), torch.tensor([is_answer]))
    shown = "".join("." if t == NOTHING else chr(t) for t in targets[0])
    assert shown == "." * 9 + "Mina\n." + "." * 10 + "Tom\n."


def test_the_loss_on_answers_is_a_sum_on_paper():
    """A vocabulary of four, of which the model gives 1/2, 1/4, 1/8, 1/8 everywhere."""
    ids = torch.tensor([[3, 2, 0, 1, 3], [3, 3, 1, NOTHING, NOTHING]])
    is_answer = torch.tensor([[0, 0, 1, 1, 0], [0, 0, 1, 0, 0]]).bool()
    targets = answer_targets(ids, is_answer)
    assert targets.tolist() == [[-100, 0, 1, 3], [-100, 1, -100, -100]]
    logits = torch.tensor([2.0, 1.0, 0.0, 0.0]) * math.log(2)
    loss = F.cross_entropy(logits.expand(2, 4, 4).mT, targets)
    assert loss.item() == pytest.approx((1 + 2 + 3 + 2) / 4 * math.log(2))


@pytest.mark.parametrize("seed", range(5))
def test_targets_shift_as_transformers_shifts_labels(seed):
    """Its labels stand in the place of the token; the model shifts them itself."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(31, (3, 11), generator=generator)
    is_answer = torch.rand(3, 11, generator=generator) < 0.4
    torch.manual_seed(seed)
    model = GPT2LMHeadModel(GPT2Config(**vars(SIZES))).double().eval()
    ended = is_answer | F.pad(is_answer, (1, 0))[:, :-1]
    expected = model(ids, labels=ids.where(ended, -100)).loss
    logits = model(ids[:, :-1]).logits.float()  # as theirs
    loss = F.cross_entropy(logits.mT, answer_targets(ids, is_answer))
    assert_close(loss, expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    ("ids", "is_answer"),
    [
        (torch.zeros(2, 5), torch.zeros(2, 4).bool()),
        (torch.zeros(2, 5), torch.zeros(3, 5).bool()),
        (torch.zeros(2, 5), torch.zeros(5).bool()),
        (torch.zeros(2, 0), torch.zeros(2, 0).bool()),
    ],
)
def test_a_mask_of_other_tokens_is_refused(ids, is_answer):
    with pytest.raises(ValueError, match="expected the same shape"):
        answer_targets(ids, is_answer)


# The mark


@pytest.mark.parametrize("seed", range(5))
def test_the_share_is_that_of_numpy(seed):
    rng = random.Random(seed)
    words = ["two", "Two", " two", "two\n", "two.", "tw o", "three"]
    answers, expected = rng.choices(words, k=30), rng.choices(words, k=30)
    mean = (np.strings.strip(answers) == np.strings.strip(expected)).mean()
    assert exact_match(answers, expected) == pytest.approx(mean)
    assert 0 < mean < 1


@pytest.mark.parametrize(("answers", "expected"), [([], []), (["a"], ["a", "b"])])
def test_a_share_of_nothing_or_of_something_else_is_refused(answers, expected):
    with pytest.raises(ValueError, match="expected one to each, and at least one"):
        exact_match(answers, expected)


# Dialogues for the loop

ROWS = [
    ([1, 5, 0, 2, 7, 8, 2, 2], [0, 0, 0, 0, 1, 1, 0, 0]),
    ([1, 9, 2, 10, 2, 2, 11, 12, 2, 13, 14], [0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 1]),
    ([1, 15, 2, 16, 2], [0, 0, 0, 1, 0]),
]
ROWS = [(ids, [bool(told) for told in is_answer]) for ids, is_answer in ROWS]


def gpt(seed: int = 0) -> GPT:
    torch.manual_seed(seed)
    theirs = GPT2LMHeadModel(GPT2Config(**vars(SIZES))).double()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return from_gpt2(theirs.state_dict(), SIZES).double()


def labelled() -> dict[str, torch.Tensor]:
    """The rows as a collator of transformers pads them, with labels for answers."""
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel({"~": 0}, unk_token="~")),
        pad_token="~",
    )
    features = []
    for ids, told in ROWS:
        ended = [before or now for before, now in pairwise([False, *told])]
        labels = [i if asked else -100 for i, asked in zip(ids, ended, strict=True)]
        features.append({"input_ids": ids, "labels": labels})
    return dict(DataCollatorForSeq2Seq(tokenizer, padding=True)(features))


def test_dialogues_are_padded_as_by_a_collator_of_transformers():
    ids, is_answer = padded(ROWS)
    expected = labelled()
    assert torch.equal(ids != NOTHING, expected["attention_mask"] == 1)
    assert torch.equal(ids.clamp(min=0), expected["input_ids"])
    assert torch.equal(answer_targets(ids, is_answer), expected["labels"][:, 1:])
    assert is_answer.dtype == torch.bool


def test_a_step_on_dialogues_is_a_step_of_transformers_on_their_labels():
    ours = gpt()
    theirs = GPT2LMHeadModel(GPT2Config(**vars(SIZES), attn_implementation="eager"))
    theirs.double().load_state_dict(to_gpt2(ours), strict=False)
    some = Dialogues(ours, *padded(ROWS))
    batch = some.batch(torch.arange(3))
    loss = training_step(some, [batch], [SGD(some.parameters(), lr=0.5)], clip=1e9)
    expected = theirs(**labelled()).loss
    expected.backward()
    SGD(theirs.parameters(), lr=0.5).step()
    assert_close(loss, expected.detach().to(loss.dtype), rtol=1e-5, atol=0)
    stepped = from_gpt2(theirs.state_dict(), SIZES)
    for name, parameter in stepped.named_parameters():
        assert_close(ours.get_parameter(name), parameter, rtol=1e-4, atol=1e-6)


def test_a_batch_of_dialogues_is_as_wide_as_it_needs_to_be():
    some = Dialogues(gpt(), *padded(ROWS))
    batch = some.batch(torch.tensor([2, 0]))
    assert batch.tolist() == [
        [2, -100, -100, 16, 2, -100, -100],
        [0, -100, -100, -100, 7, 8, 2],
    ]
    read = some(batch)  # (B, T, V)
    alone = some.model(torch.tensor([[1, 5, 0, 2, 7, 8, 2]]))
    assert_close(read[1:], alone)


def test_the_same_dialogues_in_parts_give_the_same_loss():
    some = Dialogues(gpt(), *padded(ROWS))
    together, tokens = evaluate(some, [some.batch(torch.arange(3))])
    one_by_one = evaluate(some, (some.batch(n[None]) for n in torch.arange(3)))
    assert tokens == one_by_one[1] == 3 + 4 + 2
    assert together == pytest.approx(one_by_one[0], rel=1e-6)


def test_where_nothing_is_asked_nothing_is_learned():
    ids, is_answer = padded(ROWS)
    some = Dialogues(gpt(), ids, torch.zeros_like(is_answer))
    batch = some.batch(torch.arange(3))
    assert batch.tolist() == [[0], [1], [2]]
    with pytest.raises(ValueError, match="no token is asked"):
        training_step(some, [batch], [])


def test_what_the_user_says_is_read_but_never_asked():
    """Another question changes what the model says, and adds nothing to the sum."""
    other = [(list(ids), told) for ids, told in ROWS]
    other[0][0][1] = 20
    model = gpt()
    sums = []
    for rows in ROWS, other:
        some = Dialogues(model, *padded(rows))
        batch = some.batch(torch.tensor([0]))
        assert (batch[:, 1:] != NOTHING).sum() == 3
        sums.append(next_token_loss(some, batch))
    assert abs(sums[0] - sums[1]) > 1e-3


def test_the_loop_of_week_4_teaches_two_answers_and_where_they_end():
    torch.manual_seed(0)
    model = GPT(replace(SIZES, n_embd=24))
    some = Dialogues(model, *padded([ROWS[0], ROWS[2]]))
    optimizer = torch.optim.Adam(some.parameters(), lr=0.02)
    plan = Plan(steps=100)
    everything = some.batch(torch.arange(2))
    for _step, loss in pretrain(some, lambda _: [everything], [optimizer], plan):
        last = loss
    assert last < 0.05
    for ids, prompt in (ROWS[0][0], 4), (ROWS[2][0], 3):
        read = ids[:prompt]
        while read[-1] != 2 or len(read) == prompt:
            read.append(int(model(torch.tensor([read]))[0, -1].argmax()))
            assert len(read) <= len(ids)
        assert read == ids[: len(read)]


def test_the_examples_in_the_docstrings_are_true():
    results = doctest.testmod(chapter)
    assert results.attempted > 0
    assert results.failed == 0
