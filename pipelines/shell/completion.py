"""Completion in shells: command names, and options that are read from a command's source.

Importing a command may take seconds, for PyTorch, Ray and MLflow; nobody waits for that at a tab.
"""

import ast
import os
from collections.abc import Callable, Sequence
from inspect import Parameter, Signature
from pathlib import Path
from typing import Annotated

from typer import Option

_OPTIONS = Path(__file__).with_name("options.py")  # those that commands share


def is_asked_for() -> bool:
    """Returns whether a shell asks for completions (of typer's scripts), not for a command."""
    return "_HEMLINE_COMPLETE" in os.environ


def outline(source: Path, command: str, *, further: Sequence[str]) -> Callable[..., None]:
    """Returns a function that does nothing, with the options of the command in a file, and more."""

    def nothing(**given: str) -> None:
        pass

    names = [*option_names(source, command), *further]
    parameters = [
        Parameter(
            f"option_{number}",
            Parameter.KEYWORD_ONLY,
            default="",
            annotation=Annotated[str, Option(name)],
        )
        for number, name in enumerate(names)
    ]
    nothing.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    return nothing


def option_names(source: Path, command: str) -> list[str]:
    """Returns the options of a command, such as `--top-k`, as its source declares them."""
    shared = _assigned(ast.parse(_OPTIONS.read_text()))
    tree = ast.parse(source.read_text())
    own = _assigned(tree)
    (function,) = (
        node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == command
    )
    names = []
    for argument in function.args.kwonlyargs:
        annotation = argument.annotation
        if isinstance(annotation, ast.Attribute):
            annotation = shared[annotation.attr]
        elif isinstance(annotation, ast.Name):
            annotation = own[annotation.id]
        assert annotation is not None
        names += _declared(argument.arg, annotation)
    return names


def _declared(argument: str, annotation: ast.expr) -> list[str]:
    """Returns the names that an `Option` gives, or the one that follows from the argument's.

    None for an `Argument`, which is completed by its place.
    """
    calls = [node for node in ast.walk(annotation) if isinstance(node, ast.Call)]
    if any(ast.unparse(call.func) == "Argument" for call in calls):
        return []
    texts = [each.value for call in calls for each in call.args if isinstance(each, ast.Constant)]
    names = [part for text in texts for part in str(text).split("/")]
    return names or [f"--{argument.replace('_', '-')}"]


def _assigned(tree: ast.Module) -> dict[str, ast.expr]:
    return {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
