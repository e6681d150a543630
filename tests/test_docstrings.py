"""Docstrings of the course become reStructuredText: docutils reads what was meant."""

from __future__ import annotations

import inspect
import pkgutil
from importlib import import_module

import pytest
from docutils import nodes
from docutils.core import publish_doctree
from sphinx.ext.napoleon import Config, GoogleDocstring

import solutions
from course.docstrings import process, to_rst

STRICT = {"report_level": 1, "halt_level": 2}  # any doubt of docutils is an error

LOSS = """\
Mean surprise, in nats: (..., V) -> ().

    loss = mean of -log p[target]
         = -(1 / T) * sum of *all*

The largest of `logits` is taken away first.

>>> loss(torch.zeros(3, 5) ** 2)  # `log`
tensor(1.6094)

Raises:
    ValueError: if `targets` has another shape: (T,) is
        expected.

    OSError: if there is no `disk`.

Source: Shannon 1948, "A Mathematical Theory".
"""


def document(text: str, language: str = "text") -> nodes.document:
    rst = "\n".join(to_rst(text.splitlines(), language))
    return publish_doctree(rst, settings_overrides=STRICT)


def texts(of: nodes.document, kind: type[nodes.Node]) -> list[str]:
    return [node.astext() for node in of.findall(kind)]


def test_each_part_of_a_docstring_is_what_it_was_meant_to_be():
    read = document(LOSS)
    assert texts(read, nodes.literal_block) == [
        "loss = mean of -log p[target]\n     = -(1 / T) * sum of *all*"
    ]
    assert texts(read, nodes.doctest_block) == [
        ">>> loss(torch.zeros(3, 5) ** 2)  # `log`\ntensor(1.6094)"
    ]
    assert texts(read, nodes.literal) == ["logits", "targets", "disk"]
    assert texts(read, nodes.strong) == ["Source:"]
    assert texts(read, nodes.paragraph)[0].endswith("(..., V)\u00a0→ ().")


def test_indented_lines_are_in_the_language_that_is_given():
    block = "Do:\n\n    for x in y:\n\n        f(x)\n\nThen `z`."
    (code,) = document(block, "python").findall(nodes.literal_block)
    assert code.astext() == "for x in y:\n\n    f(x)"
    assert "python" in code["classes"]


def test_words_before_a_colon_are_no_type_of_a_constant():
    lines = ["The special token: it stands between texts."]
    process(None, "data", "END", None, {}, lines)
    read = str(GoogleDocstring(lines, Config(), what="data", name="END"))
    assert read.strip() == "The special token – it stands between texts."


@pytest.mark.parametrize(
    "name", [found.name for found in pkgutil.iter_modules(solutions.__path__)]
)
def test_docutils_has_no_doubt_about_any_docstring_of_the_solutions(name):
    module = import_module(f"solutions.{name}")
    own = [
        thing
        for thing in vars(module).values()
        if getattr(thing, "__module__", None) == module.__name__ and thing.__doc__
    ]
    assert own
    for thing in [module, *own]:
        document(inspect.getdoc(thing))
