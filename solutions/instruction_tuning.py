r"""Instruction tuning: from a model that goes on with a text to one that answers.

A pretrained GPT goes on with whatever it is given. To make it answer, it is trained on,
with the same loop and the same loss. Two things differ. The text is a dialogue in a
fixed form, the template:

    "\n" user "\n" assistant "\n\n" user "\n" assistant "\n\n" ...

And only what the assistant says is asked, the mask: the model reads all of a dialogue,
and learns to say one side of it.

Shapes: `N` dialogues, of which a batch holds `B`; `T + 1` tokens each, and `NOTHING`
where one has no more; `V` tokens in the vocabulary. Left out: what the dialogues are
about (`course/tuning.py`).

Source: Wei et al. 2022, "Finetuned Language Models Are Zero-Shot Learners",
arXiv:2109.01652, and Ouyang et al. 2022, "Training language models to follow
instructions with human feedback", arXiv:2203.02155, whose first step this is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from solutions.pretraining import NOTHING

START = "\n"
"""What stands before the first message, as before every story."""

ENDS = {"user": "\n", "assistant": "\n\n"}
"""What stands after a message: the roles in the order in which they speak."""


def dialogue(messages: Sequence[tuple[str, str]]) -> str:
    r"""A dialogue as one text, in the form that the model is tuned on.

        "\n" user "\n" assistant "\n\n" user "\n" assistant "\n\n" ...

    White space around a message is left out; what is inside stays. A dialogue that ends
    with the user is a prompt: what comes next is the answer, up to the first "\n".

    >>> dialogue([("user", "Who won?"), ("assistant", "Mina"), ("user", "What?")])
    '\nWho won?\nMina\n\nWhat?\n'

    Args:
        messages: pairs (role, text). The user begins, and the two take turns.

    Raises:
        ValueError: if there is no message, or another role than the one whose turn it
            is.
    """
    if not messages:
        raise ValueError("the dialogue is empty: give at least one message")
    parts = [START]
    for number, (role, text) in enumerate(messages):
        turn = list(ENDS)[number % len(ENDS)]
        if role != turn:
            raise ValueError(
                f"message {number + 1} has the role {role!r}, expected {turn!r}: the "
                "user begins, and the two take turns"
            )
        parts += text.strip(), ENDS[role]
    return "".join(parts)


def dialogue_tokens(
    messages: Sequence[tuple[str, str]], encode: Callable[[str], list[int]]
) -> tuple[list[int], list[bool]]:
    """The tokens of a dialogue, and of each whether it is part of an answer.

    Piece by piece, so that no token is partly in an answer and partly outside. What
    follows an answer is not part of it. Line ends are encoded one at a time, as they
    are between two words of a text; so a prompt has the tokens of `dialogue(messages)`,
    unless a message is empty.

    Raises:
        ValueError: as `dialogue`.
    """
    dialogue(messages)  # refuses what is none
    ids = encode(START)
    is_answer = [False] * len(ids)
    for role, text in messages:
        said = encode(text.strip())
        ends = [token for end in ENDS[role] for token in encode(end)]
        ids += said + ends
        is_answer += [role == "assistant"] * len(said) + [False] * len(ends)
    return ids, is_answer


def answer_targets(ids: Tensor, is_answer: Tensor) -> Tensor:
    """What a model is asked at each position: ids (B, T + 1) -> targets (B, T).

        targets[b, t] = ids[b, t + 1]   if token t or token t + 1 is part of an answer
                        NOTHING         otherwise

    So the first token after an answer is asked, too. A model that was never asked for
    the end of an answer would never stop.

    Args:
        is_answer: (B, T + 1), bool: True for the tokens of answers.

    Raises:
        ValueError: if the two have different shapes, or rows of no token.
    """
    if ids.shape != is_answer.shape or ids.shape[-1] < 1:
        raise ValueError(
            f"ids {tuple(ids.shape)} and is_answer {tuple(is_answer.shape)}: expected "
            "the same shape (B, T + 1)"
        )
    asked = is_answer[:, 1:] | is_answer[:, :-1]  # (B, T)
    return ids[:, 1:].masked_fill(~asked, NOTHING)


def exact_match(answers: Sequence[str], expected: Sequence[str]) -> float:
    """The share of answers that are right to the letter, 0 to 1.

    White space around an answer does not matter. Everything else does: half of an
    answer, or one in other words, is wrong.

    >>> exact_match(["under the bed\\n", "Two"], ["under the bed", "two"])
    0.5

    Raises:
        ValueError: if there is no answer, or not one for each that is expected.
    """
    if not expected or len(answers) != len(expected):
        raise ValueError(
            f"{len(answers)} answers to {len(expected)} questions: expected one to "
            "each, and at least one"
        )
    pairs = zip(answers, expected, strict=True)
    return sum(got.strip() == right.strip() for got, right in pairs) / len(expected)


# ---- dialogues for the loop of week 4 -----------------------------------------------


def padded(rows: Iterable[tuple[list[int], list[bool]]]) -> tuple[Tensor, Tensor]:
    """Dialogues of different lengths as two tensors: ids and is_answer, (N, T + 1).

    A dialogue that is shorter than the longest ends in `NOTHING`, no part of an answer.
    """
    pairs = [(torch.tensor(ids), torch.tensor(told)) for ids, told in rows]
    ids, is_answer = (
        nn.utils.rnn.pad_sequence(side, batch_first=True, padding_value=padding)
        for side, padding in zip(zip(*pairs, strict=True), (NOTHING, 0), strict=True)
    )
    return ids, is_answer


class Dialogues(nn.Module):
    """A model, and dialogues to tune it on with the loop of week 4.

    That loop reads and asks from the same tensor (B, T + 1). Here the two differ: all
    is read, and answers alone are asked. So a batch holds what is asked; its first
    column, for which nothing is ever asked, holds the numbers of the dialogues; and
    this module looks up what there is to read.
    """

    def __init__(self, model: nn.Module, ids: Tensor, is_answer: Tensor) -> None:
        """`model` maps ids (B, T) to logits; `ids` and `is_answer` are (N, T + 1)."""
        super().__init__()
        self.model = model
        self.register_buffer("ids", ids, persistent=False)
        targets = answer_targets(ids, is_answer)
        self.register_buffer("targets", targets, persistent=False)

    def batch(self, chosen: Tensor) -> Tensor:
        """What the loop is given of the chosen dialogues: (B,) -> (B, T + 1).

        `T` is as large as the longest of these needs.
        """
        targets = self.targets[chosen]  # (B, T)
        asked = (targets != NOTHING).any(dim=0).nonzero()  # (positions, 1)
        longest = int(asked.max()) + 1 if len(asked) else 0
        return torch.cat([chosen[:, None], targets[:, :longest]], dim=1)

    def forward(self, batch: Tensor) -> Tensor:
        """What the model says to the dialogues of a batch: (B, T) -> (B, T, V)."""
        read = self.ids[batch[:, 0], : batch.shape[1]]  # (B, T)
        return self.model(read.clamp(min=0))
