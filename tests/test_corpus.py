"""The stories, their exact probability, and the floor that follows from it."""

from __future__ import annotations

import itertools
import math
import random
import re
import statistics
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course import corpus
from course.corpus import CorpusError, bits, floor, read, stories, write
from course.grammar import (
    Fact,
    Grammar,
    GrammarError,
    Plot,
    Sampler,
    clashes,
    derivations,
    entropy,
    mean_length,
)
from course.stories import NAMES, PLACES, STORIES

WHO = Fact(
    "who", ({"name": "Al", "they": "he"}, {"name": "Bea", "they": "she"}), (3, 1)
)
SMALL = Grammar(
    plots=(
        Plot(2, ("who",), "{who.name} [3:ran|sat[| down]]<end>, and {who.they} won."),
        Plot(1, ("who",), "Later {who.they}, {who.name}, [slept|2:woke]<end>."),
    ),
    facts={"who": WHO},
    rules={"end": "[2: here| there]"},
)

# Every text of SMALL with its probability, multiplied out by hand.
BY_HAND = {
    f"{name} {does}{where}, and {they} won.": 2 / 3 * p_who * p_does * p_where
    for name, they, p_who in (("Al", "he", 3 / 4), ("Bea", "she", 1 / 4))
    for does, p_does in (("ran", 3 / 4), ("sat", 1 / 8), ("sat down", 1 / 8))
    for where, p_where in ((" here", 2 / 3), (" there", 1 / 3))
} | {
    f"Later {they}, {name}, {does}{where}.": 1 / 3 * p_who * p_does * p_where
    for name, they, p_who in (("Al", "he", 3 / 4), ("Bea", "she", 1 / 4))
    for does, p_does in (("slept", 1 / 3), ("woke", 2 / 3))
    for where, p_where in ((" here", 2 / 3), (" there", 1 / 3))
}


class TestSmallGrammar:
    """A grammar so small that all its texts can be listed."""

    def test_the_list_by_hand_is_complete(self):
        assert math.fsum(BY_HAND.values()) == pytest.approx(1, abs=1e-12)

    @pytest.mark.parametrize("text", BY_HAND)
    def test_a_text_has_the_probability_worked_out_by_hand(self, text):
        ((found, _, _),) = derivations(SMALL, text)
        assert 2**-found == pytest.approx(BY_HAND[text], rel=1e-12)

    def test_the_entropy_is_that_of_the_list(self):
        by_hand = math.fsum(-p * math.log2(p) for p in BY_HAND.values())
        assert entropy(SMALL) == pytest.approx(by_hand, rel=1e-12)

    def test_the_mean_length_is_that_of_the_list(self):
        by_hand = math.fsum(p * len(text) for text, p in BY_HAND.items())
        assert mean_length(SMALL) == pytest.approx(by_hand, rel=1e-12)

    def test_the_sampler_writes_these_texts_this_often(self):
        rng, sampler, runs = random.Random(0), Sampler(SMALL), 40_000
        counts = dict.fromkeys(BY_HAND, 0)
        for _ in range(runs):
            text, found = sampler.sample(rng)
            counts[text] += 1
            assert 2**-found == pytest.approx(BY_HAND[text], rel=1e-9)
        chi_square = sum(
            (counts[text] - runs * p) ** 2 / (runs * p) for text, p in BY_HAND.items()
        )
        # 19 degrees of freedom: 43.8 is exceeded once in a thousand seeds.
        assert chi_square < 43.8

    def test_no_text_has_two_derivations(self):
        assert clashes(SMALL) == []
        assert all(len(list(derivations(SMALL, t))) == 1 for t in BY_HAND)

    @pytest.mark.parametrize("text", ["Al ran here, and she won.", "Al ran here", ""])
    def test_a_text_that_it_cannot_write_has_no_derivation(self, text):
        assert list(derivations(SMALL, text)) == []


LETTERS = st.text("ab", min_size=1, max_size=2)
# Two values with a form of their own, and one that does not tell them apart.
AB = Fact("ab", ({"own": "a", "same": "b"}, {"own": "ab", "same": "b"}), (1, 4))
GRAMMARS = st.recursive(
    st.one_of(LETTERS, st.sampled_from([("ab", "own"), ("ab", "same")])),
    lambda inner: st.one_of(
        st.tuples(st.just("all"), st.lists(inner, max_size=3)),
        st.tuples(
            st.just("one"),
            st.lists(st.tuples(st.integers(1, 5), inner), min_size=1, max_size=3),
        ),
    ),
    max_leaves=7,
)


def written(node) -> str:
    """A node of GRAMMARS in the notation of `Plot`."""
    if isinstance(node, str):
        return node
    kind, parts = node
    if kind == "ab":
        return f"{{ab.{parts}}}"
    if kind == "all":
        return "".join(map(written, parts))
    return "[" + "|".join(f"{weight}:{written(part)}" for weight, part in parts) + "]"


def listed(node, value: dict) -> list[tuple[Fraction, str]]:
    """All ways to write a node of GRAMMARS once the fact is drawn, one by one."""
    if isinstance(node, str):
        return [(Fraction(1), node)]
    kind, parts = node
    if kind == "ab":
        return [(Fraction(1), value[parts])]
    if kind == "all":
        ways = [(Fraction(1), "")]
        for part in parts:
            more = listed(part, value)
            ways = [(p * q, a + b) for p, a in ways for q, b in more]
        return ways
    total = sum(weight for weight, _ in parts)
    return [
        (Fraction(weight, total) * p, text)
        for weight, part in parts
        for p, text in listed(part, value)
    ]


@given(GRAMMARS)
@settings(max_examples=200, deadline=None)
def test_any_grammar_is_measured_as_a_list_of_its_texts_is(node):
    grammar = Grammar((Plot(1, ("ab",), written(node)),), {"ab": AB})
    ways = [
        (p * drawn, text)
        for drawn, value in zip(
            (Fraction(1, 5), Fraction(4, 5)), AB.values, strict=True
        )
        for p, text in listed(node, value)
    ]
    assert sum(p for p, _ in ways) == 1
    by_list = math.fsum(-p * math.log2(p) for p, _ in ways)
    assert entropy(grammar) == pytest.approx(by_list, rel=1e-12, abs=1e-12)
    assert mean_length(grammar) == pytest.approx(
        float(sum(p * len(text) for p, text in ways)), rel=1e-12
    )
    # No clash is a proof: then all texts differ, and each is read in one way.
    if not clashes(grammar):
        assert len({text for _, text in ways}) == len(ways)
        for p, text in ways:
            ((found, _, _),) = derivations(grammar, text)
            assert found == pytest.approx(-math.log2(p), rel=1e-12, abs=1e-12)


AMBIGUOUS = {
    "two options alike": Plot(1, (), "a[b|b]c"),
    "a split in two ways": Plot(1, (), "[a|ab][bc|c]"),
    "an empty option": Plot(1, (), "[|a][|a]"),
    "a fact that is never told": Plot(1, ("who",), "once"),
    "a fact that is told sometimes": Plot(1, ("who",), "once[ {who.name}| nobody]"),
    "a fact told by a form that two values share": Plot(1, ("two",), "{two.same}"),
}
TWO = Fact("two", ({"same": "x", "own": "1"}, {"same": "x", "own": "2"}))


@pytest.mark.parametrize(
    ("case", "text", "ways"),
    [
        ("two options alike", "abc", 2),
        ("a split in two ways", "abc", 2),
        ("an empty option", "a", 2),
        ("a fact that is never told", "once", 2),
        ("a fact that is told sometimes", "once nobody", 2),
        ("a fact told by a form that two values share", "x", 2),
    ],
)
def test_a_text_that_can_be_read_in_two_ways_is_read_in_two_ways(case, text, ways):
    grammar = Grammar((AMBIGUOUS[case],), {"who": WHO, "two": TWO})
    assert len(list(derivations(grammar, text))) == ways


@pytest.mark.parametrize("case", AMBIGUOUS)
def test_a_grammar_that_can_be_read_in_two_ways_is_found_out(case):
    grammar = Grammar((AMBIGUOUS[case],), {"who": WHO, "two": TWO})
    assert clashes(grammar) != []


@pytest.mark.parametrize(
    ("plot", "says"),
    [
        (Plot(1, (), "a [b|c"), "bracket is open"),
        (Plot(1, (), "a b] c"), "bracket too many"),
        (Plot(1, (), "a {who.name}"), "draws no fact 'who'"),
        (Plot(1, ("who",), "a {who.age}"), "no form 'age'"),
        (Plot(1, (), "a <b>"), "no such rule"),
        (Plot(1, (), "a <loop>"), "uses itself"),
        (Plot(1, (), "a { b"), "cannot read"),
    ],
)
def test_a_grammar_that_cannot_be_says_where(plot, says):
    with pytest.raises(GrammarError, match=says):
        Grammar((plot,), {"who": WHO}, {"loop": "x <loop>"})


class TestStories:
    """The grammar that the course uses."""

    sample = tuple(itertools.islice(stories(seed=11), 30_000))

    def test_no_story_has_two_derivations(self):
        assert clashes(STORIES, look_ahead=28) == []

    def test_the_bits_of_writing_are_the_bits_of_reading(self):
        """Two thousand stories, each with exactly one derivation."""
        for story in self.sample[:2000]:
            ((found, _, _),) = derivations(STORIES, story.text)
            assert found == pytest.approx(story.bits, rel=1e-12)
        assert bits(story.text) == found

    def test_the_estimate_from_samples_agrees_with_the_closed_form(self):
        for values, exact in (
            ([story.bits for story in self.sample], entropy(STORIES)),
            ([len(story.text) for story in self.sample], mean_length(STORIES)),
        ):
            error = statistics.stdev(values) / math.sqrt(len(values))
            assert abs(statistics.fmean(values) - exact) < 4 * error

    def test_the_floor_is_bits_per_character_of_the_written_text(self):
        # If the floor is right, what a story has too much or too little averages out.
        excess = [
            story.bits - floor() * (len(story.text) + len(corpus.SEPARATOR))
            for story in self.sample
        ]
        error = statistics.stdev(excess) / math.sqrt(len(excess))
        assert abs(statistics.fmean(excess)) < 4 * error

    def test_sentences_are_well_formed(self):
        for story in self.sample[:2000]:
            text = story.text
            assert text.isascii()
            assert "  " not in text
            assert " ." not in text
            assert " ," not in text
            assert text.count('"') % 2 == 0
            assert text.lstrip('"')[0].isupper()
            assert text[-1] in '.!"'
            assert not re.search(r"\ba [aeiou]|\ban [^aeiou]", text), text
            assert not re.search(r"[.!?] [a-z]", text), text

    def test_a_hundred_stories_do_not_bore(self):
        texts = [story.text for story in self.sample[:100]]
        openings = {" ".join(re.findall(r"\w+", text)[:4]) for text in texts}
        assert len(set(texts)) == 100
        assert len(openings) > 60

    @pytest.mark.parametrize(
        ("words", "mentions", "tried"),
        [
            (PLACES, 2, 200),
            (tuple(NAMES), 2, 40),
            (("She", "He"), 1, 400),
            (("she", "he"), 1, 400),
            (("her", "his"), 1, 400),
        ],
    )
    def test_a_fact_that_comes_back_as_another_one_has_no_probability(
        self, words, mentions, tried
    ):
        """Changes the last of several mentions: a place, a name, a pronoun."""
        swapped = 0
        for story in self.sample[:tried]:
            for word, other in zip(words, words[1:] + words[:1], strict=True):
                found = list(re.finditer(rf"\b{word}\b", story.text))
                if len(found) < mentions or re.search(rf"\b{other}\b", story.text):
                    continue
                start, end = found[-1].span()
                text = story.text[:start] + other + story.text[end:]
                assert not any(derivations(STORIES, text)), (text, story.text)
                swapped += 1
        assert swapped > 50

    def test_a_sum_that_does_not_come_out_has_no_probability(self):
        swapped = 0
        for story in self.sample[:400]:
            for q in story.questions:
                if q.question.startswith("How many"):
                    head, left, tail = story.text.rpartition(q.answer)
                    wrong = NUMBERS[(NUMBERS.index(left) + 1) % 13]
                    assert not any(derivations(STORIES, head + wrong + tail))
                    swapped += 1
        assert swapped > 100

    @pytest.mark.parametrize(
        ("spoil", "where"),
        [
            (lambda text: "", 0),
            (lambda text: text[:-1], -1),
            (lambda text: text + "\n\n", None),
            (lambda text: "\u00e9" + text, 0),
        ],
    )
    def test_it_says_where_a_text_stops_being_a_story(self, spoil, where):
        text = self.sample[0].text
        at = len(text[:where])
        with pytest.raises(CorpusError, match=f"after character {at},") as caught:
            bits(spoil(text))
        assert "\n" not in str(caught.value)

    def test_one_is_followed_by_a_singular(self):
        for story in self.sample[:5000]:
            assert not re.search(r"\bone [a-z]+s\b", story.text), story.text

    def test_the_weather_does_not_change_within_a_story(self):
        ends = {"rainy": "rain", "windy": "wind", "sunny": "sun", "foggy": "fog"}
        ends |= {"snowy": "snow", "stormy": "storm", "frosty": "frost"}
        seen = 0
        for story in self.sample[:2000]:
            if end := re.search(r"By then the (\w+) ", story.text):
                (sky,) = re.findall("|".join([*ends, "cloudy"]), story.text)
                assert end[1] == ends.get(sky, "clouds")
                seen += 1
        assert seen > 200


NUMBERS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    *("ten", "eleven", "twelve"),
)


PLACE = (
    r"((?:under|behind|in|inside|on|beneath|between|below|down|above) [a-z ]+?)"
    r"(?=[,.!?;]| and | but )"
)
PUT = r"(?:hid|put|placed|left)"
LOOK = r"(?:looked|searched|felt about|had a look)"
# A question and the sentence that answers it. `{0}` and `{1}` are the words that the
# question names; what the last pattern catches is the answer.
RULES = (
    (r"Where was the (\w+) hidden\?", rf"{PUT} it {PLACE}|{PUT} an? \w+ {{0}} {PLACE}"),
    (r"Where was the (\w+)\?", rf"{PUT} the {{0}} {PLACE}|It is ([a-z ]+), not "),
    (r"Where did (\w+) look in vain\?", rf"{LOOK} {PLACE}"),
    (r"Where did (\w+) keep the (\w+)\?",
     rf"{{0}} (?:{PUT} it|kept \w+ \w+ {{1}}) {PLACE}"),
    (r"Where did (\w+) move the (\w+)\?", rf"moved the {{1}}\. Now it was {PLACE}"),
    (r"Where did (\w+) look first\?", rf"{LOOK} {PLACE}"),
    (r"Where is the (\w+)\?", rf"{PUT} the {{0}} {PLACE}"),
    (r"What did they race to\?", r"(?:race|raced) to (the \w+)"),
    (r"Who hid the (\w+)\?",
     rf"^[^.]* ([A-Z]\w+) (?:bought|found|made|painted)|(\w+'s \w+) {PUT}"),
    (r"Who found the (\w+)\?", r"feast, (\w+)'s"),
    (r"Who took the (\w+)\?", r'"(The \w+) took it'),
    (r"Whose (?!birthday)(\w+) was it\?", r"^(\w+) had an? \w+ {0}"),
    (r"Who came back\?", r"(\w+) came back with \w+ \w+ in a"),
    (r"Who asked what was sold\?", r"asked ((?:his|her) \w+)\. \"I sold"),
    (r"Who wanted the (\w+)\?", r"day (\w+) (?:was ill|had a cold|had hurt).*?{0}"),
    (r"Who set out to fetch the (\w+)\?", r"(\w+) set out with"),
    (r"Who stood on the bridge\?", r"bridge stood (a)n? \w+( \w+),"),
    (r"Who moved the (\w+)\?", r"Meanwhile (\w+) .*? moved the {0}"),
    (r"Who sent the message\?", r"said (\w+'s \w+) one"),
    (r"Who carried the message\?", r"(\w+) (?:ran|hurried|skipped) off and practised"),
    (r"Whose birthday was it\?", r"^It was (\w+)'s birthday"),
    (r"Who gave the boxes\?", r"(\w+) (?:brought|had wrapped|carried in) three boxes"),
    (r"Who won the race\?", r"So (\w+) came to|(\w+) (?:came by|walked past), q"),
    (r"Who lost the race\?", r'" (\w+) told'),
    (r"Who was the judge\?", r"\. (A \w+) was the judge"),
    (r"Who saw the race\?", r"(A \w+) saw it all"),
    (r"Who got the (\w+)\?", r"(?:handed|gave) the \w+ {0} to (\w+)\."),
    (r"Who has the (\w+) now\?", rf'your {{0}}\?" "(\w+) has|(\w+) {PUT} the {{0}}'),
    (r"Who asked about the (\w+)\?", r'((?:his|her) \w+) asked, "Where is your {0}'),
    (r"What did the (\w+) look like\?", r"there it was, the (\w+) {0}"),
    (r"What did (\w+) leave with (\w+)\?", r"\w+ gave {1} (an? \w+ \w+)"),
    (r"What did (\w+) pay with\?", r"{0} took \w+ of them and paid with ([a-z ]+),"),
    (r"What was the message for (\w+)\?", r"{0} that ([a-z ]+),"),
    (r"What did (\w+) do\?", r'done\. "(?:He|She) ([a-z ]+),"'),
    (r"What was in the (\w+) box\?", r"[Ii]n the {0} box was (an? \w+)"),
    (r"What was the prize\?", r"the prize was (an? \w+ \w+)\."),
    (r"How many (\w+) were left at the end\?", r"the other (\w+) {0}"),
    (r"How many (\w+) were left\?", r"The (\w+) {0} that were left"),
    (r"How many (\w+) did the (\w+) get\?", r"the {1} got the other (\w+)\."),
    (r"How many (\w+) did (\w+) keep\?", r"kept (\w+)\."),
    (r"How many (\w+) did (\w+) sell\?", r'"I sold (\w+) of the {0}'),
    (r"How many (\w+) did (\w+) bring home\?", r"went home with (\w+) {0}"),
)  # fmt: skip


class TestQuestions:
    """Answers, found again in the text by rules that know nothing of the grammar."""

    sample = tuple(itertools.islice(stories(seed=5), 1500))

    def test_every_story_has_three_to_six_different_questions(self):
        for story in self.sample:
            asked = {q.question for q in story.questions}
            assert 3 <= len(asked) == len(story.questions) <= 6
            assert all(question.endswith("?") for question in asked)

    def test_an_independent_rule_finds_every_answer(self):
        used = dict.fromkeys((asked for asked, _ in RULES), 0)
        for story in self.sample:
            for q in story.questions:
                ((asked, rule, words),) = (
                    (asked, rule, match.groups())
                    for asked, rule in RULES
                    if (match := re.fullmatch(asked, q.question))
                )
                found = re.search(rule.format(*words), story.text)
                assert found, (q, story.text)
                expected = "".join(filter(None, found.groups()))
                # A sentence may begin with "The pony".
                assert expected.lower() == q.answer.lower(), (q, story.text)
                used[asked] += 1
        assert min(used.values()) > 20, used

    def test_what_is_left_is_what_there_was_less_what_is_gone(self):
        seen = 0
        for story in self.sample:
            asked = re.search(r"How many (\w+)", str(story.questions))
            if not asked:
                continue
            number = "|".join(NUMBERS)
            some = re.findall(
                rf"\b({number})\b(?: of the)? {asked[1]}"
                rf"|\b(?:ate|gave|took|other|kept) ({number})\b",
                story.text,
            )
            counts = [NUMBERS.index("".join(groups)) for groups in some]
            # The first number is all there were; any two others that differ are the
            # two parts, and only three different numbers may be left over.
            parts = set(counts) - {counts[0]}
            assert len(parts) <= 2
            assert counts[0] == (sum(parts) if len(parts) == 2 else 2 * sum(parts))
            seen += 1
        assert seen > 500


class TestWrite:
    @given(st.integers(1, 5000), st.integers(0, 2**31))
    @settings(max_examples=30, deadline=None)
    def test_it_writes_whole_stories_and_just_enough(self, characters, seed):
        text = write(characters, seed)
        pieces = text.split(corpus.SEPARATOR)
        assert pieces.pop() == ""
        assert len(text) >= characters
        assert len(text) - len(pieces[-1]) - len(corpus.SEPARATOR) < characters
        first = list(itertools.islice(stories(seed), len(pieces)))
        assert [story.text for story in first] == pieces

    def test_seeds_differ(self):
        assert write(1000, seed=0) != write(1000, seed=1)

    def test_a_seed_writes_the_same_on_every_machine(self):
        assert next(stories(seed=2026)).text[:60] == PINNED


# Pinned: notebooks are committed with their outputs, on one machine for all.
PINNED = "Late one sunny evening Rosa made a crooked coin for Jun. She"


class TestRead:
    def test_a_text_file_stands_in(self, tmp_path):
        path = tmp_path / "text.txt"
        path.write_bytes("\ufeff안녕 ".encode() * 3 + b"x" * 1000)
        text = read(path)
        assert text.startswith("안녕")
        assert len(text) > 1000

    @pytest.mark.parametrize(
        ("data", "says"),
        [
            (None, "does not exist"),
            (b"", "is empty"),
            (b" \n" * 900, "is empty"),
            (b"short", "has 5 characters; a model needs at least 1000"),
            (b"ab\xff" + b"x" * 2000, "not UTF-8: byte 2 is 0xff"),
        ],
    )
    def test_a_file_that_cannot_be_used_is_one_clear_line(self, tmp_path, data, says):
        path = tmp_path / "text.txt"
        if data is not None:
            path.write_bytes(data)
        with pytest.raises(CorpusError, match=says) as caught:
            read(path)
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)

    def test_a_folder_is_one_clear_line(self, tmp_path):
        with pytest.raises(CorpusError, match="is a folder"):
            read(tmp_path)

    def test_a_file_that_may_not_be_read_is_one_clear_line(self, tmp_path, monkeypatch):
        def refused(self):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("pathlib.Path.read_bytes", refused)
        with pytest.raises(CorpusError, match=r"cannot be read \(Permission denied\)"):
            read(tmp_path / "secret.txt")
