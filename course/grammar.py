"""A probabilistic grammar that knows the probability of everything it writes.

A grammar is written as text. `[a|b|c]` is a choice, `[3:a|1:b]` a weighted one,
`{cast.hero}` is one form of a fact, `<weather>` another rule. A *fact* is drawn once,
before the text begins, and holds to its end: it ties a late sentence to an early one.

Four walks over the same tree: `Sampler` writes, `entropy` and `mean_length` are exact,
`derivations` reads a text back, and `clashes` proves that no text can be read in two
ways. So the entropy of the choices is the entropy of the text.
"""

from __future__ import annotations

import math
import random
import re
from bisect import bisect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate, product, takewhile

Forms = Mapping[str, str]


class GrammarError(ValueError):
    """A grammar that cannot be: says where."""


@dataclass(frozen=True)
class Fact:
    """Something that is drawn once per text, each value with all its forms.

    Args:
        values: one mapping from form to text per value, such as
            `{"name": "Mina", "they": "she"}`; the same forms in each.
        weights: how likely each value is, up to a factor; equal if not given.
    """

    name: str
    values: tuple[Forms, ...]
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not self.weights:
            object.__setattr__(self, "weights", (1.0,) * len(self.values))
        if len(self.weights) != len(self.values):
            raise GrammarError(f"fact {self.name}: one weight for each value")
        if len({tuple(sorted(value)) for value in self.values}) != 1:
            raise GrammarError(f"fact {self.name}: every value needs the same forms")

    @cached_property
    def probabilities(self) -> list[float]:
        total = math.fsum(self.weights)
        return [weight / total for weight in self.weights]

    @cached_property
    def by_word(self) -> dict[str, dict[str, list[int]]]:
        """form -> word -> the values that have this word for the form."""
        found: dict[str, dict[str, list[int]]] = {form: {} for form in self.values[0]}
        for index, value in enumerate(self.values):
            for form, word in value.items():
                found[form].setdefault(word, []).append(index)
        return found


@dataclass(frozen=True)
class Literal:
    """Text that stands as it is."""

    text: str


@dataclass(frozen=True)
class Slot:
    """One form of a fact."""

    fact: str
    form: str


@dataclass(frozen=True)
class Choice:
    """One of several continuations."""

    weights: tuple[float, ...]
    options: tuple[Row, ...]

    @cached_property
    def probabilities(self) -> list[float]:
        total = math.fsum(self.weights)
        return [weight / total for weight in self.weights]


@dataclass(frozen=True)
class Row:
    """Nodes one after another; `facts` are drawn before the first."""

    nodes: tuple[Literal | Slot | Choice, ...]
    facts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plot:
    """A whole text: how likely it is, the facts it draws, and how it reads.

    `questions` are pairs of a question and its answer, written with the same facts.
    """

    weight: float
    facts: tuple[str, ...]
    text: str
    questions: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Grammar:
    """Plots, the rules they use, and the facts they draw.

    A fact in `loose` may have another value at each mention: a text is then followed,
    too, that contradicts itself there. Only `allows` and `reach` make use of it.

    Raises:
        GrammarError: if a rule, a fact or a form is not there, or a bracket is open.
    """

    plots: tuple[Plot, ...]
    facts: Mapping[str, Fact]
    rules: Mapping[str, str] = field(default_factory=dict)
    loose: frozenset[str] = frozenset()
    root: Choice = field(init=False)

    def __post_init__(self) -> None:
        rows = []
        for plot in self.plots:
            row = _Reader(self, plot).read()
            rows.append(Row(row.nodes, plot.facts))
        weights = tuple(plot.weight for plot in self.plots)
        object.__setattr__(self, "root", Choice(weights, tuple(rows)))


class _Reader:
    """Reads the text of a plot into a tree."""

    TOKEN = re.compile(
        r"\{(?P<fact>\w+)\.(?P<form>\w+)\}|<(?P<rule>\w+)>|(?P<mark>[\[\]|])"
        r"|(?P<text>[^{<\[\]|]+)"
    )

    def __init__(self, grammar: Grammar, plot: Plot) -> None:
        self.grammar, self.plot = grammar, plot

    def read(self) -> Row:
        return self._row(self.plot.text, ())

    def _row(self, text: str, inside: tuple[str, ...]) -> Row:
        tokens = list(self.TOKEN.finditer(text))
        if sum(len(token[0]) for token in tokens) != len(text):
            raise GrammarError(f"cannot read {text[:60]!r}")
        nodes, end = self._nodes(tokens, 0, inside)
        if end != len(tokens):
            raise GrammarError(f"a bracket too many in {text[:60]!r}")
        return Row(tuple(nodes))

    def _nodes(
        self, tokens: list[re.Match], at: int, inside: tuple[str, ...]
    ) -> tuple[list, int]:
        nodes: list = []
        while at < len(tokens) and tokens[at]["mark"] not in ("|", "]"):
            token = tokens[at]
            at += 1
            if token["text"]:
                nodes.append(Literal(token["text"]))
            elif token["fact"]:
                nodes.append(self._slot(token["fact"], token["form"]))
            elif token["rule"]:
                nodes += self._rule(token["rule"], inside)
            else:
                choice, at = self._choice(tokens, at, inside)
                nodes.append(choice)
        return nodes, at

    def _choice(
        self, tokens: list[re.Match], at: int, inside: tuple[str, ...]
    ) -> tuple[Choice, int]:
        weights, options = [], []
        while True:
            nodes, at = self._nodes(tokens, at, inside)
            weight = 1.0
            if nodes and isinstance(nodes[0], Literal):
                number = re.match(r"(\d+):", nodes[0].text)
                if number:
                    weight = float(number[1])
                    rest = nodes[0].text[number.end() :]
                    nodes[:1] = [Literal(rest)] if rest else []
            weights.append(weight)
            options.append(Row(tuple(nodes)))
            if at == len(tokens):
                raise GrammarError(f"a bracket is open in {self.plot.text[:60]!r}")
            at += 1
            if tokens[at - 1]["mark"] == "]":
                return Choice(tuple(weights), tuple(options)), at

    def _slot(self, fact: str, form: str) -> Slot:
        if fact not in self.plot.facts or fact not in self.grammar.facts:
            raise GrammarError(f"{{{fact}.{form}}}: the plot draws no fact {fact!r}")
        if form not in self.grammar.facts[fact].values[0]:
            raise GrammarError(f"{{{fact}.{form}}}: {fact!r} has no form {form!r}")
        return Slot(fact, form)

    def _rule(self, name: str, inside: tuple[str, ...]) -> list:
        if name in inside:
            raise GrammarError(f"<{name}> uses itself: no text would ever end")
        if name not in self.grammar.rules:
            raise GrammarError(f"<{name}>: there is no such rule")
        return list(self._row(self.grammar.rules[name], (*inside, name)).nodes)


def _entropy_of(probabilities: Sequence[float]) -> float:
    return math.fsum(-p * math.log2(p) for p in probabilities if p > 0)


def entropy(grammar: Grammar) -> float:
    """The entropy of one text, in bits, exact.

    The entropy of a choice is that of its weights, plus what each option adds, weighted
    by how likely the option is: the chain rule (Shannon 1948, section 6).
    """

    def of(node: Literal | Slot | Choice | Row) -> float:
        if isinstance(node, Row):
            facts = [grammar.facts[name].probabilities for name in node.facts]
            return math.fsum([*map(_entropy_of, facts), *map(of, node.nodes)])
        if isinstance(node, Choice):
            p = node.probabilities
            inside = (x * of(option) for x, option in zip(p, node.options, strict=True))
            return math.fsum([_entropy_of(p), *inside])
        return 0.0

    return of(grammar.root)


def mean_length(grammar: Grammar) -> float:
    """The expected number of characters of one text, exact.

    Facts are drawn independently of all choices, so a slot's expected length is that of
    its form under the weights of the fact alone.
    """

    def of(node: Literal | Slot | Choice | Row) -> float:
        if isinstance(node, Literal):
            return float(len(node.text))
        if isinstance(node, Slot):
            fact = grammar.facts[node.fact]
            pairs = zip(fact.probabilities, fact.values, strict=True)
            return math.fsum(p * len(value[node.form]) for p, value in pairs)
        if isinstance(node, Row):
            return math.fsum(map(of, node.nodes))
        pairs = zip(node.probabilities, node.options, strict=True)
        return math.fsum(p * of(option) for p, option in pairs)

    return of(grammar.root)


Derivation = tuple[float, Plot, dict[str, int]]
"""Bits, the plot, and for each fact the index of its value."""


State = tuple[int, float, dict[str, list[int]]]
"""A reading so far: the place it has come to, bits, and for each fact that was told the
values that it may still have."""


def derivations(grammar: Grammar, text: str) -> Iterator[Derivation]:
    """Every way in which the grammar can write `text`."""
    root = grammar.root
    for plot, p, row in zip(
        grammar.plots, root.probabilities, root.options, strict=True
    ):
        for at, bits, possible in _read(grammar, row, text, [(0, 0.0, {})]):
            if at < len(text):
                continue
            # A fact of which the text leaves two values open has been read in two ways.
            open_values = [
                possible.get(name, range(len(grammar.facts[name].values)))
                for name in plot.facts
            ]
            for indices in product(*open_values):
                values = dict(zip(plot.facts, indices, strict=True))
                facts = _bits_of_facts(grammar, values)
                yield bits + facts - math.log2(p), plot, values


def allows(grammar: Grammar, text: str) -> bool:
    """Whether this is a whole text of the grammar."""
    readings = _read(grammar, grammar.root, text, [(0, 0.0, {})])
    return any(at == len(text) for at, *_ in readings)


def reach(grammar: Grammar, text: str) -> int:
    """How many characters of `text` some text of the grammar begins with."""
    watched = _Watched(text)
    _read(grammar, grammar.root, watched, [(0, 0.0, {})])
    return watched.furthest


class _Watched(str):
    """A text that remembers how far it agreed with what was expected of it."""

    furthest = 0

    def startswith(self, expected: str, at: int) -> bool:
        pairs = zip(expected, self[at : at + len(expected)], strict=False)
        alike = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        self.furthest = max(self.furthest, at + alike)
        return alike == len(expected)


def _bits_of_facts(grammar: Grammar, values: Mapping[str, int]) -> float:
    return math.fsum(
        -math.log2(grammar.facts[name].probabilities[index])
        for name, index in values.items()
    )


def _read(
    grammar: Grammar,
    node: Literal | Slot | Choice | Row,
    text: str,
    states: list[State],
) -> list[State]:
    """All readings after `node`, of the readings before it; most soon come to none."""
    if isinstance(node, Literal):
        return [
            (at + len(node.text), bits, values)
            for at, bits, values in states
            if text.startswith(node.text, at)
        ]
    if isinstance(node, Slot):
        return [
            after for state in states for after in _told_at(grammar, node, text, state)
        ]
    if isinstance(node, Choice):
        found = []
        for p, option in zip(node.probabilities, node.options, strict=True):
            paid = [(at, bits - math.log2(p), values) for at, bits, values in states]
            found += _read(grammar, option, text, paid)
        return found
    for inner in node.nodes:
        if not states:
            break
        states = _read(grammar, inner, text, states)
    return states


def _told_at(grammar: Grammar, slot: Slot, text: str, state: State) -> Iterator[State]:
    """The readings in which the fact has a value whose form stands here."""
    at, bits, possible = state
    fact = grammar.facts[slot.fact]
    by_word = fact.by_word[slot.form]
    if slot.fact in grammar.loose:
        for word in by_word:
            if text.startswith(word, at):
                yield at + len(word), bits, possible
        return
    known = possible.get(slot.fact)
    for word in (
        by_word
        if known is None
        else {fact.values[index][slot.form]: None for index in known}
    ):
        if text.startswith(word, at):
            left = by_word[word]
            if known is not None:
                left = [i for i in known if fact.values[i][slot.form] == word]
            yield at + len(word), bits, {**possible, slot.fact: left}


def clashes(grammar: Grammar, look_ahead: int = 24) -> list[str]:
    """Places where two options could begin alike; an empty list is a proof.

    If, at every choice and at every first mention of a fact, the next `look_ahead`
    characters tell which option was taken, then a text can be read in one way only (the
    grammar is LL(k)). A fact that some text never mentions is a clash as well: two
    draws would then write the same text.
    """
    found: list[str] = []

    def of_options(options: list[set[str]], where: str) -> set[str]:
        seen: set[str] = set()
        for option in options:
            both = seen & option
            if both:
                found.append(f"{where}: two options begin with {min(both)!r}")
            seen |= option
        return seen

    def begins(node: Literal | Slot | Choice | Row, after: set[str]) -> set[str]:
        """First characters of `node` followed by what may stand `after` it."""
        if isinstance(node, Literal):
            return {(node.text + rest)[:look_ahead] for rest in after}
        if isinstance(node, Slot):
            forms = sorted({v[node.form] for v in grammar.facts[node.fact].values})
            options = [{(form + rest)[:look_ahead] for rest in after} for form in forms]
            return of_options(options, f"{{{node.fact}.{node.form}}}")
        if isinstance(node, Choice):
            options = [begins(option, after) for option in node.options]
            return of_options(options, f"[{_as_text(node)[:40]}...]")
        for name in node.facts:
            told = sorted(form for fact, form in _told(node) if fact == name)
            values = grammar.facts[name].values
            if len({tuple(v[form] for form in told) for v in values}) < len(values):
                found.append(f"not every text tells which {name!r} was drawn")
        for inner in reversed(node.nodes):
            after = begins(inner, after)
        return after

    begins(grammar.root, {"\0"})
    return found


def _told(node: Literal | Slot | Choice | Row) -> set[tuple[str, str]]:
    """The forms that every reading of `node` mentions, each with its fact."""
    if isinstance(node, Slot):
        return {(node.fact, node.form)}
    if isinstance(node, Choice):
        return set.intersection(*map(_told, node.options))
    if isinstance(node, Row):
        return set().union(*map(_told, node.nodes))
    return set()


def _as_text(node: Literal | Slot | Choice | Row) -> str:
    if isinstance(node, Literal):
        return node.text
    if isinstance(node, Slot):
        return f"{{{node.fact}.{node.form}}}"
    if isinstance(node, Choice):
        return "|".join(map(_as_text, node.options))
    return "".join(map(_as_text, node.nodes))


class Sampler:
    """Writes texts from a grammar, each with its bits: a few microseconds a choice.

    The tree is flattened once: what stands between two choices becomes one template,
    and every choice carries its running sums and its bits.
    """

    def __init__(self, grammar: Grammar) -> None:
        self._facts = {
            name: (
                list(accumulate(fact.probabilities))[:-1],
                [-math.log2(p) for p in fact.probabilities],
                [
                    {f"{name}.{form}": text for form, text in value.items()}
                    for value in fact.values
                ],
            )
            for name, fact in grammar.facts.items()
        }
        self._root = self._flat_choice(grammar.root)

    def _flat_choice(self, choice: Choice) -> tuple:
        p = choice.probabilities
        sums = list(accumulate(p))[:-1]
        rows = [self._flat_row(option) for option in choice.options]
        return sums, [-math.log2(x) for x in p], rows

    def _flat_row(self, row: Row) -> tuple:
        parts: list = [""]
        for node in row.nodes:
            if isinstance(node, Choice):
                parts += [self._flat_choice(node), ""]
            else:
                parts[-1] += (
                    node.text.replace("%", "%%")
                    if isinstance(node, Literal)
                    else f"%({node.fact}.{node.form})s"
                )
        return row.facts, [part for part in parts if part != ""]

    def sample(self, rng: random.Random) -> tuple[str, float]:
        """One text and its bits."""
        draw = rng.random
        pieces: list[str] = []
        forms: dict[str, str] = {}
        bits = 0.0
        # A stack instead of recursion: what is still to be written, last first.
        waiting: list = [self._root]
        while waiting:
            node = waiting.pop()
            if node.__class__ is str:
                pieces.append(node)
                continue
            sums, costs, rows = node
            index = bisect(sums, draw())
            bits += costs[index]
            facts, parts = rows[index]
            for name in facts:
                fact_sums, fact_costs, values = self._facts[name]
                which = bisect(fact_sums, draw())
                bits += fact_costs[which]
                forms.update(values[which])
            if len(parts) == 1:
                waiting.append(parts[0])
            else:
                waiting.extend(reversed(parts))
        return "".join(pieces) % forms, bits
