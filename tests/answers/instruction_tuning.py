"""Answers to the chapter on instruction tuning: right in other ways, and wrong."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from solutions.pretraining import NOTHING
from tests.answers import right, wrong

# The template


@right("dialogue")
def adds_up_a_text(messages):
    if len(messages) == 0:
        raise ValueError("nothing was said")
    text, speaks = "\n", "user"
    for role, words in messages:
        if role != speaks:
            raise ValueError(f"it is the {speaks}'s turn, not that of {role}")
        if role == "user":
            text += words.strip() + "\n"
            speaks = "assistant"
        else:
            text += words.strip() + "\n\n"
            speaks = "user"
    return text


@right("dialogue")
def takes_every_second(messages):
    roles = [role for role, _ in messages]
    users, assistants = set(roles[::2]), set(roles[1::2])
    if users != {"user"} or not assistants <= {"assistant"}:
        raise ValueError("user, assistant, user, ...")
    lines = [f"{text.strip()}\n{'' if i % 2 == 0 else chr(10)}"
             for i, (_, text) in enumerate(messages)]  # fmt: skip
    return "\n" + "".join(lines)


@right("dialogue")
def joins_turns(messages):
    expected = ["user", "assistant"] * len(messages)
    if not messages or any(r != e for (r, _), e in zip(messages, expected)):
        raise ValueError("the user begins, and the two take turns")
    texts = [text.strip() for _, text in messages]
    turns = ["\n".join(texts[i : i + 2]) for i in range(0, len(texts), 2)]
    end = "\n" if len(texts) % 2 else "\n\n"
    return "\n" + "\n\n".join(turns) + end


def _refuse(messages):
    """What most wrong answers share."""
    if not messages:
        raise ValueError("empty")
    for number, (role, _) in enumerate(messages):
        if role != ("user", "assistant")[number % 2]:
            raise ValueError("not their turn")


def _said(messages, user="\n", assistant="\n\n", tidy=str.strip):
    _refuse(messages)
    ends = {"user": user, "assistant": assistant}
    return "".join(tidy(text) + ends[role] for role, text in messages)


@wrong("dialogue", says="before the first message is missing")
def forgets_the_start(messages):
    return _said(messages)


@wrong("dialogue", says='one "\\n" too many at the beginning')
def starts_with_an_empty_line(messages):
    return "\n\n" + _said(messages)


@wrong("dialogue", says="An answer ends with an empty line")
def ends_all_alike(messages):
    return "\n" + _said(messages, assistant="\n")


@wrong("dialogue", says="A question ends with one")
def ends_all_with_an_empty_line(messages):
    return "\n" + _said(messages, user="\n\n")


@wrong("dialogue", says="A question ends with one")
def exchanges_the_ends(messages):
    return "\n" + _said(messages, user="\n\n", assistant="\n")


@wrong("dialogue", says="after the last message is missing")
def joins_only(messages):
    _refuse(messages)
    text = "\n"
    for number, (_, words) in enumerate(messages):
        if number:
            text += "\n" if number % 2 else "\n\n"
        text += words.strip()
    return text


@wrong("dialogue", says="also at the end of the text")
def ends_the_text_with_one(messages):
    return ("\n" + _said(messages)).rstrip("\n") + "\n"


@wrong("dialogue", says="Nothing ends a message")
def runs_together(messages):
    return "\n" + _said(messages, user=" ", assistant=" ")


@wrong("dialogue", says="white space around a message is still there")
def keeps_white_space(messages):
    return "\n" + _said(messages, tidy=str)


@wrong("dialogue", says="white space around a message is still there")
def strips_spaces_only(messages):
    return "\n" + _said(messages, tidy=lambda text: text.strip(" "))


@wrong("dialogue", says="White space *inside* a message has changed")
def tidies_inside(messages):
    return "\n" + _said(messages, tidy=lambda text: " ".join(text.split()))


@wrong("dialogue", says="The roles stand in the text")
def names_the_roles(messages):
    _refuse(messages)
    return "\n" + "".join(f"{role}: {text.strip()}\n" for role, text in messages)


@wrong("dialogue", says="Messages are missing")
def takes_the_last(messages):
    _refuse(messages)
    return "\n" + _said(messages[:1]) if len(messages) < 2 else "\n" + messages[-1][1]


@wrong("dialogue", says="not a list of pieces")
def returns_pieces(messages):
    _refuse(messages)
    return ["\n", *(text.strip() for _, text in messages)]


@wrong("dialogue", says="The template is a text")
def encodes(messages):
    return ("\n" + _said(messages)).encode()


@wrong("dialogue", says="that is in order is refused")
def wants_an_answer(messages):
    if len(messages) % 2:
        raise ValueError("the last question has no answer")
    return "\n" + _said(messages)


@wrong("dialogue", says="The template knows two roles")
def takes_any_role(messages):
    if not messages:
        raise ValueError("empty")
    return "\n" + "".join(
        text.strip() + ("\n\n" if role == "assistant" else "\n")
        for role, text in messages
    )


@wrong("dialogue", says="The template knows two roles")
def leaves_other_roles_out(messages):
    return "\n" + _said([m for m in messages if m[0] in ("user", "assistant")])


@wrong("dialogue", says="the text does not say who speaks")
def looks_at_the_roles_only(messages):
    ends = {"user": "\n", "assistant": "\n\n"}
    if not messages or any(role not in ends for role, _ in messages):
        raise ValueError("unknown role")
    return "\n" + "".join(text.strip() + ends[role] for role, text in messages)


@wrong("dialogue", says="the text does not say who speaks")
def looks_at_the_first_only(messages):
    ends = {"user": "\n", "assistant": "\n\n"}
    if not messages or messages[0][0] != "user":
        raise ValueError("the user begins")
    if any(role not in ends for role, _ in messages):
        raise ValueError("unknown role")
    return "\n" + "".join(text.strip() + ends[role] for role, text in messages)


@wrong("dialogue", says="if there is no message")
def allows_silence(messages):
    if messages:
        _refuse(messages)
    ends = {"user": "\n", "assistant": "\n\n"}
    return "\n" + "".join(text.strip() + ends[role] for role, text in messages)


@wrong("dialogue", says="Something else is raised")
def looks_the_role_up(messages):
    if messages:
        _said([m for m in messages if m[0] in ("user", "assistant")])
    ends = {"user": "\n", "assistant": "\n\n"}
    return "\n" + "".join(text.strip() + ends[role] for role, text in messages)


@wrong("dialogue", says="An `assert` is a note to yourself")
def asserts_the_turns(messages):
    assert messages
    for number, (role, _) in enumerate(messages):
        assert role == ("user", "assistant")[number % 2]
    return "\n" + _said(messages)


# The mask


def _same_shape(ids, is_answer):
    if ids.shape != is_answer.shape:
        raise ValueError(f"{ids.shape} and {is_answer.shape}")


@right("answer_targets")
def looks_at_each_pair(ids, is_answer):
    _same_shape(ids, is_answer)
    pairs = is_answer.unfold(1, 2, 1)  # (B, T, 2)
    nothing = torch.full_like(ids[:, 1:], NOTHING)
    return torch.where(pairs.any(dim=-1), ids[:, 1:], nothing)


@right("answer_targets")
def adds_the_ends(ids, is_answer):
    if ids.size() != is_answer.size():
        raise ValueError("they do not belong together")
    targets = ids.clone()
    ended = F.pad(is_answer[:, :-1], (1, 0))  # what follows a token of an answer
    targets[~(is_answer | ended)] = NOTHING
    return targets[:, 1:]


@right("answer_targets")
def counts_the_two(ids, is_answer):
    if list(ids.shape) != list(is_answer.shape):
        raise ValueError("other tokens")
    told = is_answer.to(torch.int64)
    asked = (told[:, 1:] + told[:, :-1]).clamp(max=1)  # 0 or 1
    return ids[:, 1:] * asked + NOTHING * (1 - asked)


@right("answer_targets")
def goes_row_by_row(ids, is_answer):
    if ids.shape != is_answer.shape:
        raise ValueError("shapes")
    rows = []
    for row, told in zip(ids, is_answer):
        asked = torch.logical_or(told[1:], told[:-1])
        rows.append(row[1:].masked_fill(asked.logical_not(), NOTHING))
    return torch.stack(rows)


def _masked(ids, is_answer, asked):
    """What most wrong answers share."""
    _same_shape(ids, is_answer)
    return ids[:, 1:].masked_fill(~asked, NOTHING)


@wrong("answer_targets", says="would never learn to stop")
def forgets_the_end(ids, is_answer):
    return _masked(ids, is_answer, is_answer[:, 1:])


@wrong("answer_targets", says="The mask is not shifted")
def masks_what_is_read(ids, is_answer):
    return _masked(ids, is_answer, is_answer[:, :-1])


@wrong("answer_targets", says="The tokens are not shifted")
def does_not_shift(ids, is_answer):
    _same_shape(ids, is_answer)
    return ids[:, :-1].masked_fill(~is_answer[:, :-1], NOTHING)


@wrong("answer_targets", says="of T + 1 tokens the first is never a target")
def keeps_all_columns(ids, is_answer):
    _same_shape(ids, is_answer)
    return ids.masked_fill(~is_answer, NOTHING)


@wrong("answer_targets", says="the model learns to ask")
def asks_everything(ids, is_answer):
    _same_shape(ids, is_answer)
    return ids[:, 1:].clone()


@wrong("answer_targets", says="The mask is the wrong way round")
def turns_the_mask(ids, is_answer):
    asked = is_answer[:, 1:] | is_answer[:, :-1]
    return _masked(ids, is_answer, ~asked)


@wrong("answer_targets", says="The mask is the wrong way round")
def turns_a_simpler_mask(ids, is_answer):
    return _masked(ids, is_answer, ~is_answer[:, 1:])


@wrong("answer_targets", says="Two tokens after each answer are asked")
def asks_the_empty_line(ids, is_answer):
    wider = is_answer.clone()
    wider[:, 1:] |= is_answer[:, :-1]
    return _masked(ids, is_answer, wider[:, 1:] | wider[:, :-1])


@wrong("answer_targets", says="The token before each answer is asked")
def asks_the_end_of_the_question(ids, is_answer):
    wider = is_answer.clone()
    wider[:, :-1] |= is_answer[:, 1:]
    return _masked(ids, is_answer, wider[:, 1:] | wider[:, :-1])


@wrong("answer_targets", says="The end alone is asked")
def asks_the_end_alone(ids, is_answer):
    return _masked(ids, is_answer, is_answer[:, :-1] & ~is_answer[:, 1:])


@wrong("answer_targets", says="An answer of one token is lost")
def wants_both(ids, is_answer):
    return _masked(ids, is_answer, is_answer[:, :-1] & is_answer[:, 1:])


@wrong("answer_targets", says="Where nothing is asked stands 0")
def multiplies(ids, is_answer):
    _same_shape(ids, is_answer)
    return ids[:, 1:] * (is_answer[:, 1:] | is_answer[:, :-1])


@wrong("answer_targets", says="Where nothing is asked stands -1")
def fills_with_another_number(ids, is_answer):
    _same_shape(ids, is_answer)
    asked = is_answer[:, 1:] | is_answer[:, :-1]
    return ids[:, 1:].masked_fill(~asked, -1)


@wrong("answer_targets", says="Where a row has no more tokens, token 0 is asked")
def clamps_the_padding(ids, is_answer):
    return _masked(ids.clamp(min=0), is_answer, is_answer[:, 1:] | is_answer[:, :-1])


@wrong("answer_targets", says="its place is lost")
def picks_what_is_asked(ids, is_answer):
    _same_shape(ids, is_answer)
    return ids[:, 1:][is_answer[:, 1:] | is_answer[:, :-1]]


@wrong("answer_targets", says="Targets are token numbers, whole ones")
def makes_floats(ids, is_answer):
    _same_shape(ids, is_answer)
    asked = is_answer[:, 1:] | is_answer[:, :-1]
    return torch.where(asked, ids[:, 1:].float(), float(NOTHING))


@wrong("answer_targets", says="Targets are token numbers, whole ones")
def returns_the_mask(ids, is_answer):
    _same_shape(ids, is_answer)
    return is_answer[:, 1:] | is_answer[:, :-1]


@wrong("answer_targets", says="changes its input `ids`")
def fills_in_place(ids, is_answer):
    _same_shape(ids, is_answer)
    asked = is_answer[:, 1:] | is_answer[:, :-1]
    targets = ids[:, 1:]
    targets[~asked] = NOTHING
    return targets


@wrong("answer_targets", says="changes its input `is_answer`")
def marks_in_place(ids, is_answer):
    _same_shape(ids, is_answer)
    is_answer[:, 1:] |= is_answer[:, :-1].clone()
    return ids[:, 1:].masked_fill(~is_answer[:, 1:], NOTHING)


@wrong("answer_targets", says="stays on the CPU")
def makes_a_tensor_on_the_cpu(ids, is_answer):
    _same_shape(ids, is_answer)
    asked = is_answer[:, 1:] | is_answer[:, :-1]
    nothing = torch.full(asked.shape, NOTHING)
    return torch.where(asked, ids[:, 1:], nothing)


@wrong("answer_targets", says="if their shapes differ")
def cuts_to_fit(ids, is_answer):
    asked = torch.zeros_like(ids, dtype=torch.bool)
    asked[:, : is_answer.shape[1]] = is_answer
    return ids[:, 1:].masked_fill(~(asked[:, 1:] | asked[:, :-1]), NOTHING)


@wrong("answer_targets", says="Something else is raised")
def lets_torch_complain(ids, is_answer):
    asked = is_answer[:, 1:] | is_answer[:, :-1]
    return ids[:, 1:].masked_fill(~asked, NOTHING)


# The mark


@right("exact_match")
def counts_in_a_loop(answers, expected):
    if not len(answers) == len(expected) > 0:
        raise ValueError("one answer to each question")
    count = 0
    for number in range(len(expected)):
        if answers[number].strip() == expected[number].strip():
            count += 1
    return count / len(expected)


@right("exact_match")
def takes_a_mean(answers, expected):
    if not expected:
        raise ValueError("no question")
    pairs = zip(map(str.strip, answers), map(str.strip, expected), strict=True)
    hits = torch.tensor([got == wanted for got, wanted in pairs])
    return hits.double().mean().item()


@right("exact_match")
def removes_the_wrong_ones(answers, expected):
    total = len(expected)
    if total == 0 or total != len(answers):
        raise ValueError(f"{len(answers)} answers, {total} questions")
    tidy = [[text.strip() for text in texts] for texts in (answers, expected)]
    wrong_ones = [pair for pair in zip(*tidy) if len(set(pair)) == 2]
    return 1 - len(wrong_ones) / total


def _share(answers, expected, same):
    """What most wrong answers share."""
    if not expected or len(answers) != len(expected):
        raise ValueError("one answer to each question")
    return sum(map(same, answers, expected)) / len(expected)


@wrong("exact_match", says="White space around an answer")
def strips_nothing(answers, expected):
    return _share(answers, expected, lambda a, b: a == b)


@wrong("exact_match", says="White space around an answer")
def strips_one_side(answers, expected):
    return _share(answers, expected, lambda a, b: a.strip() == b)


@wrong("exact_match", says="White space *inside* an answer")
def compares_words(answers, expected):
    return _share(answers, expected, lambda a, b: a.split() == b.split())


@wrong("exact_match", says="Capital letters are treated like small ones")
def lowers(answers, expected):
    return _share(
        answers, expected, lambda a, b: a.strip().lower() == b.strip().lower()
    )


@wrong("exact_match", says="A full stop or a capital letter does not matter here")
def ignores_full_stops(answers, expected):
    def tidy(text):
        return text.strip().strip(".")

    return _share(answers, expected, lambda a, b: tidy(a) == tidy(b))


@wrong("exact_match", says="Compare with `==`")
def looks_inside(answers, expected):
    return _share(answers, expected, lambda a, b: b.strip() in a)


@wrong("exact_match", says="Compare with `==`")
def takes_a_beginning(answers, expected):
    return _share(answers, expected, lambda a, b: a.strip().startswith(b.strip()))


@wrong("exact_match", says="Compare with `==`")
def takes_a_part(answers, expected):
    return _share(answers, expected, lambda a, b: a.strip() in b)


@wrong("exact_match", says="half an answer is half right")
def counts_words(answers, expected):
    if not expected or len(answers) != len(expected):
        raise ValueError("one answer to each question")
    hits = [
        a == b
        for got, wanted in zip(answers, expected)
        for a, b in zip(got.split(), wanted.split())
    ]
    return sum(hits) / len(hits)


@wrong("exact_match", says="looked up among all the right ones")
def looks_in_all(answers, expected):
    tidy = [text.strip() for text in expected]
    return _share(answers, expected, lambda a, _: a.strip() in tidy)


@wrong("exact_match", says="looked up among all the right ones")
def compares_sets(answers, expected):
    if not expected or len(answers) != len(expected):
        raise ValueError("one answer to each question")
    got, wanted = ({text.strip() for text in texts} for texts in (answers, expected))
    return len(got & wanted) / len(expected)


@wrong("exact_match", says="Divide by how many there are")
def counts_only(answers, expected):
    share = _share(answers, expected, lambda a, b: a.strip() == b.strip())
    return float(round(share * len(expected)))


@wrong("exact_match", says="in percent")
def gives_percent(answers, expected):
    return 100 * _share(answers, expected, lambda a, b: a.strip() == b.strip())


@wrong("exact_match", says="the share of *wrong* answers")
def counts_mistakes(answers, expected):
    return _share(answers, expected, lambda a, b: a.strip() != b.strip())


@wrong("exact_match", says="one number for all answers")
def judges_each(answers, expected):
    return [a.strip() == b.strip() for a, b in zip(answers, expected, strict=True)]


@wrong("exact_match", says="A tensor is not needed here")
def returns_a_tensor(answers, expected):
    return torch.tensor(_share(answers, expected, lambda a, b: a.strip() == b.strip()))


@wrong("exact_match", says="`zip` alone stops at the shorter one")
def zips_only(answers, expected):
    if not expected:
        raise ValueError("no question")
    pairs = list(zip(answers, expected))
    return sum(a.strip() == b.strip() for a, b in pairs) / len(pairs)


@wrong("exact_match", says="A share of nothing is no number")
def gives_nothing_a_zero(answers, expected):
    pairs = list(zip(answers, expected, strict=True))
    return sum(a.strip() == b.strip() for a, b in pairs) / max(1, len(pairs))


@wrong("exact_match", says="Something else is raised")
def divides_by_zero(answers, expected):
    pairs = zip(answers, expected, strict=True)
    return sum(a.strip() == b.strip() for a, b in pairs) / len(expected)
