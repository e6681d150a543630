"""What the answers of the chapter on instruction tuning must satisfy.

Oracles: dialogues written out by hand, targets found on paper or position by position,
and answers counted by eye.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from course.case import Case, Exercise, Mistake
from course.refusal import is_refused, refusal, refused

NOTHING = -100


# The template

Messages = list[tuple[str, str]]

QUESTION: Messages = [("user", "Who won?")]
ANSWERED: Messages = [*QUESTION, ("assistant", "Mina")]
THREE: Messages = [*ANSWERED, ("user", "Who lost?")]
FOUR: Messages = [*THREE, ("assistant", "Tom")]
STORY: Messages = [
    ("user", "Mina and Tom ran a race.\n\nWho won?"),
    ("assistant", "Mina"),
]
SPACED: Messages = [
    ("user", "  Tom had a  hat.\n\n Whose hat was it? \n"),
    ("assistant", "\nTom\t"),
    ("user", "\n\nWho lost it?"),
]


def _written(
    messages: Messages,
    start: str = "\n",
    user: str = "\n",
    assistant: str = "\n\n",
    tidy: Callable[[str], str] = str.strip,
    line: str = "{text}",
) -> str:
    ends = {"user": user, "assistant": assistant}
    return start + "".join(
        line.format(role=role, text=tidy(text)) + ends[role] for role, text in messages
    )


def _template_mistakes(messages: Messages) -> tuple[Mistake, ...]:
    def one_of(*texts: str) -> Callable[[Any], bool]:
        return lambda got: got in texts

    right = _written(messages)
    return (
        Mistake(
            'Return one text, not a list of pieces: `"".join(...)` makes one.',
            when=lambda got: isinstance(got, list | tuple),
        ),
        Mistake(
            "These are bytes or tokens. The template is a text; the tokenizer comes "
            "later.",
            when=lambda got: not isinstance(got, str),
        ),
        Mistake(
            'The "\\n" before the first message is missing. Every text of the course '
            "begins after one, and so the model expects it.",
            when=one_of(_written(messages, start="")),
        ),
        Mistake(
            'There is one "\\n" too many at the beginning.',
            when=one_of(_written(messages, start="\n\n")),
        ),
        Mistake(
            "The white space around a message is still there. `.strip()` takes it "
            "away: a model that has only seen tidy texts should be given tidy ones.",
            when=one_of(
                _written(messages, tidy=str),
                _written(messages, tidy=str.lstrip),
                _written(messages, tidy=str.rstrip),
                _written(messages, tidy=lambda text: text.strip(" ")),
                _written(messages, tidy=lambda text: text.strip("\n")),
            ),
        ),
        Mistake(
            "White space *inside* a message has changed. An empty line between a story "
            "and a question stays as it is: take away only what is around a message.",
            when=one_of(
                _written(messages, tidy=lambda text: " ".join(text.split())),
                _written(messages, tidy=lambda text: "\n".join(text.split("\n\n"))),
                _written(messages, tidy=lambda text: text.replace("\n", "")),
            ),
        ),
        Mistake(
            "What stands after the last message is missing. A question without its "
            '"\\n" is not finished: the model may go on with the question.',
            when=one_of(right.rstrip("\n"), right.strip()),
        ),
        Mistake(
            'An answer ends with an empty line, "\\n\\n", as a story does, also at the '
            'end of the text. After one "\\n" the next question could be the rest of '
            "the answer.",
            when=one_of(_written(messages, assistant="\n"), right[:-1]),
        ),
        Mistake(
            'A question ends with one "\\n". The empty line, "\\n\\n", comes after '
            "answers.",
            when=one_of(
                _written(messages, user="\n\n"),
                _written(messages, user="\n\n", assistant="\n"),
            ),
        ),
        Mistake(
            'Nothing ends a message: each is followed by "\\n" or "\\n\\n".',
            when=one_of(
                _written(messages, user="", assistant=""),
                _written(messages, user=" ", assistant=" "),
            ),
        ),
        Mistake(
            "The roles stand in the text. This template does without them: who speaks "
            "is told by what stands after a message. (Others do write them.)",
            when=lambda got: "user" in got or "assistant" in got,
        ),
        Mistake(
            "Messages are missing. All of them belong into the text, in their order.",
            when=lambda got: any(text.strip() not in got for _, text in messages),
        ),
        Mistake(
            "A dialogue that is in order is refused. The user begins, the two take "
            "turns, and either may have the last word.",
            raises=ValueError,
        ),
    )


def dialogue() -> Iterator[Case]:
    for title, messages, expected in (
        ("one question", QUESTION, "\nWho won?\n"),
        ("a question and its answer", ANSWERED, "\nWho won?\nMina\n\n"),
        ("another question", THREE, "\nWho won?\nMina\n\nWho lost?\n"),
        ("and its answer", FOUR, "\nWho won?\nMina\n\nWho lost?\nTom\n\n"),
        (
            "an empty line inside a message",
            STORY,
            "\nMina and Tom ran a race.\n\nWho won?\nMina\n\n",
        ),
        (
            "white space around messages, and inside",
            SPACED,
            "\nTom had a  hat.\n\n Whose hat was it?\nTom\n\nWho lost it?\n",
        ),
    ):
        yield Case(
            title,
            args=(messages,),
            expected=expected,
            mistakes=_template_mistakes(messages),
        )
    turns = (
        "The user begins and the two take turns, for the text does not say who speaks. "
        "Raise a `ValueError` if it is not so."
    )
    for title, messages, hint in (
        (
            "another role, system: a ValueError",
            [("system", "Be brief."), *QUESTION],
            "The template knows two roles. Raise a `ValueError` for any other, instead "
            "of leaving it out or taking it for one of the two.",
        ),
        (
            "the assistant begins: a ValueError",
            [("assistant", "Hello."), *THREE],
            turns,
        ),
        (
            "two questions in a row: a ValueError",
            [*ANSWERED, *QUESTION, *QUESTION],
            turns,
        ),
        (
            "two answers in a row: a ValueError",
            [*ANSWERED, ("assistant", "Tom")],
            turns,
        ),
        (
            "no message: a ValueError",
            [],
            "There is nothing to answer. Raise a `ValueError` if there is no message.",
        ),
    ):
        yield Case(
            title,
            args=(messages,),
            call=lambda answer, messages: refusal(answer, messages),
            judge=is_refused,
            mistakes=refused(hint),
        )


# The mask


def _told(*rows: str) -> Tensor:
    """`x` for the tokens of answers: (B, T + 1), bool."""
    return torch.tensor([[sign == "x" for sign in row] for row in rows])


ONE = torch.tensor([[10, 41, 42, 43, 10, 77, 78, 10, 10]])
TWO = torch.tensor(
    [
        [10, 41, 10, 0, 10, 10, 42, 43, 10, 71, 72],
        [10, 51, 52, 10, 81, 10, 10, NOTHING, NOTHING, NOTHING, NOTHING],
        [10, 61, 62, 63, 64, 65, 66, 10, 91, 92, NOTHING],
    ]
)
TWO_TOLD = _told("...x.....xx", "....x......", "........xx.")


def _targets(ids: Tensor, is_answer: Tensor) -> Tensor:
    """Position by position."""
    targets = torch.full_like(ids[:, 1:], NOTHING)
    for row in range(ids.shape[0]):
        for t in range(ids.shape[1] - 1):
            if is_answer[row, t] or is_answer[row, t + 1]:
                targets[row, t] = ids[row, t + 1]
    return targets


def _mask_mistakes(ids: Tensor, told: Tensor) -> tuple[Mistake, ...]:
    here, after = told[:, :-1], told[:, 1:]
    asked = here | after
    following = ids[:, 1:]

    def masked(asked: Tensor, of: Tensor = following, by: int = NOTHING) -> Tensor:
        return torch.where(asked, of, by)

    def astray(hint: str, *values: Tensor) -> Mistake:
        return Mistake(
            hint,
            when=lambda got: any(
                got.shape == value.shape and bool((got == value).all())
                for value in values
            ),
        )

    two_after = after.clone()
    two_after[:, 1:] |= here[:, :-1] | here[:, 1:]
    two_after[:, 0] |= here[:, 0]
    before = asked.clone()
    before[:, :-1] |= after[:, 1:]
    return (
        Mistake(
            "Targets are token numbers, whole ones. `masked_fill` and `torch.where` "
            "keep the type of `ids`.",
            when=lambda got: got.is_floating_point() or got.dtype == torch.bool,
        ),
        Mistake(
            "There is one target for each of the T tokens that are read: of T + 1 "
            "tokens the first is never a target.",
            when=lambda got: got.shape == ids.shape,
        ),
        Mistake(
            "Only what is asked is left, and its place is lost. Keep the shape (B, T), "
            f"and put {NOTHING} where nothing is asked.",
            when=lambda got: got.dim() != 2,
        ),
        astray(
            "The end of an answer is not asked, so the model would never learn to "
            "stop. The first token *after* an answer counts, too: there token t is "
            "part of the answer, and token t + 1 is not.",
            masked(after),
        ),
        astray(
            "The mask is not shifted: it says which tokens are *read* from an answer. "
            "So the first token of each answer is not asked. A target at position t is "
            "token t + 1, so look at `is_answer[:, 1:]`, too.",
            masked(here),
        ),
        astray(
            "The tokens are not shifted: the model would learn to copy. "
            "The target at position t is token t + 1, `ids[:, 1:]`.",
            masked(here, ids[:, :-1]),
            masked(after, ids[:, :-1]),
            masked(asked, ids[:, :-1]),
        ),
        astray(
            "Everything is asked, the questions, too: so the model learns to ask, as "
            f"much as to answer. Put {NOTHING} wherever no answer is asked.",
            following,
        ),
        astray(
            "The mask is the wrong way round: the questions are asked and the answers "
            "are not. `masked_fill` fills where the mask is True; `torch.where` keeps "
            "there.",
            masked(~asked),
            masked(~after),
            masked(~here),
        ),
        astray(
            "Two tokens after each answer are asked. The first one ends it. The other "
            "is the template's, which the model never has to write.",
            masked(two_after),
        ),
        astray(
            "The token before each answer is asked, too. It ends the question, and the "
            "user writes it.",
            masked(before),
        ),
        astray(
            "The end alone is asked, and no answer: an answer counts where token t "
            "*or* token t + 1 is part of it.",
            masked(here & ~after),
        ),
        astray(
            "An answer of one token is lost, and of the others the first and the end: "
            "one of the two tokens, t *or* t + 1, is enough.",
            masked(here & after),
        ),
        *(
            astray(
                f"Where nothing is asked stands {filler}, and the loss leaves out "
                f"{NOTHING} alone. Use `NOTHING`.",
                masked(asked, by=filler),
                masked(after, by=filler),
            )
            for filler in (0, -1)
        ),
        astray(
            f"Where a row has no more tokens, token 0 is asked. Leave its {NOTHING} as "
            "it is.",
            masked(asked | (following == NOTHING), following.clamp(min=0)),
            masked(asked, following.clamp(min=0)),
        ),
    )


def answer_targets() -> Iterator[Case]:
    generator = torch.Generator().manual_seed(0)
    many = torch.randint(1600, (7, 23), generator=generator)
    told = torch.rand(7, 23, generator=generator) < 0.3
    for title, ids, is_answer, expected in (
        (
            "one answer, of two tokens",
            ONE,
            _told(".....xx.."),
            torch.tensor([[-100, -100, -100, -100, 77, 78, 10, -100]]),
        ),
        (
            "three rows; two end early, and two are cut off within an answer",
            TWO,
            TWO_TOLD,
            torch.tensor(
                [
                    [-100, -100, 0, 10, -100, -100, -100, -100, 71, 72],
                    [-100, -100, -100, 81, 10, -100, -100, -100, -100, -100],
                    [-100, -100, -100, -100, -100, -100, -100, 91, 92, -100],
                ]
            ),
        ),
        ("no answer: nothing is asked", ONE, ONE < 0, torch.full((1, 8), NOTHING)),
        (
            "an answer that begins with the row",
            torch.tensor([[31, 32, 10, 33]]),
            _told("xx.."),
            torch.tensor([[32, 10, NOTHING]]),
        ),
        ("seven rows of 23 tokens", many, told, _targets(many, told)),
    ):
        yield Case(
            title,
            args=(ids, is_answer),
            expected=expected,
            any_device=True,
            seconds=30.0,  # what the other device needs of torch is loaded here
            mistakes=_mask_mistakes(ids, is_answer),
        )
    yield Case(
        "is_answer is one column short: a ValueError",
        args=(ONE, _told(".....xx..")[:, 1:]),
        call=lambda answer, ids, is_answer: refusal(answer, ids, is_answer),
        judge=is_refused,
        mistakes=refused(
            "One of the two belongs to other tokens. Raise a `ValueError` if their "
            "shapes differ, before a mask is laid on the wrong tokens."
        ),
    )


# The mark

PLACES = ("under the bed", "in the teapot", "three", "Mina")


def _mark_mistakes(
    answers: Sequence[str], expected: Sequence[str]
) -> tuple[Mistake, ...]:
    n = len(expected)

    def share(judge: Callable[[str, str], bool]) -> float:
        return sum(map(judge, answers, expected)) / n

    def loosely(text: str) -> str:
        return text.strip().strip(".").lower()

    right = share(lambda a, b: a.strip() == b.strip())

    def astray(hint: str, *values: float) -> Mistake:
        return Mistake(
            hint,
            when=lambda got: any(abs(got - value) < 1e-9 for value in values),
        )

    words = [
        word
        for a, b in zip(answers, expected, strict=True)
        for word in (
            left == right for left, right in zip(a.split(), b.split(), strict=False)
        )
    ]
    return (
        Mistake(
            "Return one number for all answers: the share of those that are right.",
            when=lambda got: isinstance(got, list | tuple),
        ),
        Mistake(
            "A tensor is not needed here. Return a plain number.",
            when=lambda got: isinstance(got, Tensor),
        ),
        Mistake(
            "White space around an answer makes it wrong here. Take it away from both, "
            "by `.strip()`, before you compare.",
            when=lambda got: (
                got != right
                and got
                in (
                    share(lambda a, b: a == b),
                    share(lambda a, b: a.strip() == b),
                    share(lambda a, b: a == b.strip()),
                    share(lambda a, b: a.rstrip() == b.rstrip()),
                    share(lambda a, b: a.lstrip() == b.lstrip()),
                )
            ),
        ),
        astray(
            "This is how many are right. Divide by how many there are.",
            right * n,
        ),
        astray("This is in percent. Return a share, from 0 to 1.", 100 * right),
        astray(
            "Capital letters are treated like small ones. To the letter means that "
            "they count.",
            share(lambda a, b: a.strip().lower() == b.strip().lower()),
        ),
        astray(
            "A full stop or a capital letter does not matter here. It does: every "
            "letter counts.",
            share(lambda a, b: loosely(a) == loosely(b)),
            share(lambda a, b: a.strip().strip(".") == b.strip().strip(".")),
        ),
        astray(
            "An answer that contains the right one passes here, or one that is part of "
            "it. Whoever names all places would be right everywhere. Compare with "
            "`==`.",
            share(lambda a, b: b.strip() in a),
            share(lambda a, b: a.strip() in b),
            share(lambda a, b: a.strip() in b or b.strip() in a),
            share(lambda a, b: a.strip().startswith(b.strip())),
            share(lambda a, b: b.strip().startswith(a.strip())),
        ),
        astray(
            "White space *inside* an answer is changed, too. Take away only what is "
            "around it.",
            share(lambda a, b: a.split() == b.split()),
            share(lambda a, b: "".join(a.split()) == "".join(b.split())),
        ),
        astray(
            "Answers are looked up among all the right ones. Compare each with its own "
            "question's, in order.",
            sum(a.strip() in {b.strip() for b in expected} for a in answers) / n,
            len({a.strip() for a in answers} & {b.strip() for b in expected}) / n,
        ),
        astray(
            "Words are counted, and half an answer is half right. An answer is right "
            "or wrong as a whole.",
            sum(words) / max(1, len(words)),
        ),
        astray("This is the share of *wrong* answers.", 1 - right),
    )


def exact_match() -> Iterator[Case]:
    for title, answers, expected, share in (
        ("three of four are right", (*PLACES[:3], "Tom"), PLACES, 0.75),
        ("all are right", PLACES, PLACES, 1.0),
        (
            "white space around answers, and around what is expected",
            (" under the bed", "in the teapot\n", "three", "Tom "),
            ("under the bed", "in the teapot", "three\n", "Mina"),
            0.75,
        ),
        (
            "half an answer, or more than one",
            (
                "the bed",
                "in the teapot or the shed",
                "three",
                "Mina",
                "a hat",
                "Tom",
                "a",
            ),
            (*PLACES, "a red hat", "Ada", "two"),
            2 / 7,
        ),
        (
            "capital letters and full stops",
            ("Under the bed", "in the teapot.", "three", "mina", "Tom", "Ada", "two"),
            (*PLACES, "Tom", "Omar", "four"),
            2 / 7,
        ),
        (
            "white space inside",
            ("under  the bed", "inthe teapot", "three"),
            PLACES[:3],
            1 / 3,
        ),
        (
            "the right answers, to the wrong questions",
            ("Mina", "three", "three", "under the bed", "two"),
            ("under the bed", "Mina", "three", "in the teapot", "two"),
            0.4,
        ),
    ):
        yield Case(
            title,
            args=(list(answers), list(expected)),
            expected=share,
            mistakes=_mark_mistakes(answers, expected),
        )
    for title, answers, expected, hint in (
        (
            "four answers to three questions: a ValueError",
            PLACES,
            PLACES[:3],
            "`zip` alone stops at the shorter one and says nothing. Raise a "
            "`ValueError` if there is not one answer to each question.",
        ),
        (
            "no question: a ValueError",
            (),
            (),
            "A share of nothing is no number. Raise a `ValueError` if there is no "
            "question.",
        ),
    ):
        yield Case(
            title,
            args=(list(answers), list(expected)),
            call=lambda answer, answers, expected: refusal(answer, answers, expected),
            judge=is_refused,
            mistakes=refused(hint),
        )


EXERCISES = (
    Exercise(
        "dialogue",
        difficulty=1,
        minutes=10,
        hints=(
            "What stands after a question, and what after an answer? Write both down "
            "in a small table, and the rest is one loop.",
            'Begin with a list that holds "\\n". For each message, look at its number: '
            "whose turn is it? Then append the text, stripped, and what stands after "
            'it. `"".join` makes one text at the end.',
            "if there is no message: raise ValueError\n"
            'parts = ["\\n"]\n'
            "for number, (role, text) in enumerate(messages):\n"
            '    turn = "user" if number is even, else "assistant"\n'
            "    if role is not turn: raise ValueError\n"
            "    append text.strip() to parts\n"
            '    append "\\n" after the user, "\\n\\n" after the assistant\n'
            'return "".join(parts)',
        ),
        cases=dialogue,
    ),
    Exercise(
        "answer_targets",
        difficulty=2,
        minutes=12,
        hints=(
            "Write a short dialogue in a row, and below it what the model should say "
            "at each token. Where does the first word of an answer stand? Where the "
            "end?",
            "The target at position t is token t + 1. It counts if it is part of an "
            "answer, or if token t is: then it is the rest of the answer, or its end. "
            "`|` is *or* for two masks of the same shape.",
            "if the shapes differ: raise ValueError\n"
            "asked = is_answer[:, 1:] | is_answer[:, :-1]    # (B, T)\n"
            "targets = ids[:, 1:]                            # (B, T)\n"
            "return targets, with NOTHING wherever asked is False (masked_fill)",
        ),
        cases=answer_targets,
    ),
    Exercise(
        "exact_match",
        difficulty=1,
        minutes=6,
        hints=(
            "When are two texts the same answer? Which differences would you forgive, "
            "and what could somebody do with your forgiveness?",
            "Go through both lists together, `zip(..., strict=True)`, strip both texts "
            "and compare with `==`. True counts as 1 in a sum.",
            "if there is no question, or not one answer to each: raise ValueError\n"
            "right = 0\n"
            "for got, wanted in zip(answers, expected):\n"
            "    if got.strip() == wanted.strip(): add 1 to right\n"
            "return right / len(expected)",
        ),
        cases=exact_match,
    ),
)
