"""Finds the text of a reader's answer, and what else it needs to stand alone."""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
import linecache
import symtable
import textwrap
from collections.abc import Callable, Collection
from types import ModuleType
from typing import Any


class CannotStandAlone(Exception):  # noqa: N818  (words for the reader)
    """The answer uses something that exists only in its notebook."""


def source_of(answer: Callable) -> str:
    """The text of a function or class as the reader wrote it, without `@exercise`.

    `inspect.getsource` cannot do this for a class of a notebook before Python 3.13; a
    method's code object knows the cell in every version.

    Raises:
        OSError: if the text cannot be found.
    """
    code = _code_of(answer)
    lines = linecache.getlines(code.co_filename)
    tree = ast.parse("".join(lines))
    found = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and node.name == answer.__name__
        and _first_line(node) <= code.co_firstlineno <= (node.end_lineno or 0)
    ]
    if not found:
        raise OSError(f"the text of {answer.__name__} cannot be found")
    node = found[-1]
    decorators = [d for d in node.decorator_list if not _is_exercise(d)]
    first = min([d.lineno for d in decorators] + [node.lineno])
    return textwrap.dedent("".join(lines[first - 1 : node.end_lineno])).rstrip() + "\n"


def is_empty(source: str) -> bool:
    """Whether nothing is written yet: only `...`, `pass` or NotImplementedError.

    A class is empty when every method is.
    """
    (node,) = ast.parse(source).body
    return _stub(node)


def left_open(source: str) -> int | None:
    """The line of the first `...` that still waits for the reader, if there is one."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef) and _stub(node):
            return node.lineno
        value = getattr(node, "value", None)
        waits = isinstance(node, ast.Assign | ast.AnnAssign | ast.Return | ast.Expr)
        if waits and isinstance(value, ast.Constant) and value.value is ...:
            return node.lineno
    return None


def standalone(answer: Callable, source: str, others: Collection[str] = ()) -> str:
    """The text of a module that defines the answer and everything it uses.

    Imports, helper functions and plain constants of the notebook come along. Names in
    `others` are left out: the other exercises, which the course provides itself.

    Raises:
        CannotStandAlone: if it uses a value that exists only in the notebook.
    """
    lines: list[str] = []
    texts: list[str] = []
    _gather(answer, source, {answer.__name__, *others}, lines, texts)
    imports = sorted({line for line in lines if line.startswith(("import", "from"))})
    constants = [line for line in lines if line not in imports]
    head = "\n".join(["from __future__ import annotations\n", *imports, *constants])
    return "\n\n".join([head, *texts])


def namespace_of(answer: Callable) -> dict[str, Any]:
    """The global names that an answer sees: those of the module that defined it."""
    return inspect.unwrap(_a_function_of(answer)).__globals__


def _gather(
    answer: Callable, source: str, known: set[str], lines: list[str], texts: list[str]
) -> None:
    """Append what `answer` uses to `lines` and `texts`, what is used first first."""
    namespace = namespace_of(answer)
    needed = _global_names(_without_annotations(source))
    for name in sorted(_global_names(source) - known):
        if name not in namespace:
            continue  # a builtin, or a branch that never ran
        known.add(name)
        value = namespace[name]
        line = _import_line(name, value, namespace.get("__name__"))
        if line is not None:
            lines.append(line)
        elif name not in needed:
            continue  # only an annotation, which is never evaluated
        elif callable(value) and hasattr(value, "__name__"):
            try:
                _gather(value, source_of(value), known, lines, texts)
            except OSError:
                raise _alone(name) from None
        elif _is_plain(value):
            lines.append(f"{name} = {value!r}")
        else:
            raise _alone(name)
    texts.append(source)


def _alone(name: str) -> CannotStandAlone:
    return CannotStandAlone(
        f"it uses `{name}`, which exists only in this notebook; "
        f"create `{name}` inside your answer"
    )


def _import_line(name: str, value: Any, here: str | None) -> str | None:
    """The import that gives `value` the name `name`, or None if there is none.

    `here` is the module of the answer: what it defines itself is not imported.
    """
    if isinstance(value, ModuleType):
        module = value.__name__
        return f"import {module}" if module == name else f"import {module} as {name}"
    module, qualname = (
        getattr(value, "__module__", None),
        getattr(value, "__name__", None),
    )
    if not module or not qualname or module == here:
        return None
    try:
        if getattr(importlib.import_module(module), qualname, None) is not value:
            return None
    except ImportError:
        return None
    alias = "" if qualname == name else f" as {name}"
    return f"from {module} import {qualname}{alias}"


def _is_plain(value: Any) -> bool:
    try:
        return bool(ast.literal_eval(repr(value)) == value)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return False


def _global_names(source: str) -> set[str]:
    """Names that the text reads but does not bind: imports, helpers, constants."""
    names: set[str] = set()

    def visit(table: symtable.SymbolTable) -> None:
        top = table.get_type() == "module"
        for symbol in table.get_symbols():
            free = not symbol.is_assigned() if top else symbol.is_global()
            if symbol.is_referenced() and free:
                names.add(symbol.get_name())
        for child in table.get_children():
            visit(child)

    visit(symtable.symtable(source, "<answer>", "exec"))
    return names - set(dir(builtins))


def _without_annotations(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.FunctionDef):
            node.returns = None
    return ast.unparse(tree)


def _code_of(answer: Callable) -> Any:
    return inspect.unwrap(_a_function_of(answer)).__code__


def _a_function_of(answer: Callable) -> Callable:
    """The function itself, or a method that is written in the body of the class."""
    if not isinstance(answer, type):
        if hasattr(inspect.unwrap(answer), "__code__"):
            return answer
        raise OSError(f"{answer!r} is not written in Python")
    for member in vars(answer).values():
        member = getattr(member, "__func__", member)
        if hasattr(inspect.unwrap(member), "__code__") if callable(member) else False:
            return member
    raise OSError(f"the class {answer.__name__} has no method of its own")


def _first_line(node: ast.FunctionDef | ast.ClassDef) -> int:
    return min([d.lineno for d in node.decorator_list] + [node.lineno])


def _is_exercise(decorator: ast.expr) -> bool:
    return ast.unparse(decorator).split("(")[0].split(".")[-1] == "exercise"


def _stub(node: ast.stmt) -> bool:
    if isinstance(node, ast.ClassDef):
        methods = [n for n in node.body if isinstance(n, ast.FunctionDef)]
        return all(map(_stub, methods))
    if not isinstance(node, ast.FunctionDef):
        return False
    body = node.body
    if ast.get_docstring(node) is not None:
        body = body[1:]
    return all(map(_does_nothing, body))


def _does_nothing(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Raise) and statement.exc is not None:
        return ast.unparse(statement.exc).startswith("NotImplementedError")
    if isinstance(statement, ast.Expr):
        return ast.unparse(statement) in ("...", "super().__init__()")
    return isinstance(statement, ast.Pass)
