"""The params file, changed by commands as a person would: comments and order stay."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.tokens import CommentToken

from components import files
from components.params import with_defaults


def write_values(values: Mapping[str, Any], params: Path) -> None:
    """Writes values, given by `section.key`, into a params file, and keeps its comments.

    Keys that it lacks come where they stand in the shipped file.
    """
    yaml = YAML()
    yaml.width = 4096  # a long value stays on its line
    yaml.preserve_quotes = True
    yaml.representer.add_representer(
        type(None), lambda it, _: it.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    document = yaml.load(params.read_text())
    for name, value in values.items():
        section, key = name.split(".")
        keys = document.setdefault(section, CommentedMap())
        if key in keys:
            keys[key] = value
        else:
            _insert(keys, key, value, order=list(with_defaults({})[section]))
    with files.replacing(params) as temporary, temporary.open("w") as file:
        yaml.dump(document, file)


def _insert(section: CommentedMap, key: str, value: Any, *, order: list[str]) -> None:
    """Inserts a key after those that precede it in the shipped file."""
    earlier = order[: order.index(key)]
    position = max((at for at, name in enumerate(section, 1) if name in earlier), default=0)
    last = list(section)[-1] if section else None
    section.insert(position, key, value)
    comment = section.ca.items.get(last, [None, None, None])[2]
    if position == len(section) - 1 and comment is not None:
        # the blank lines that follow a section stand in the comment of its last key
        text = comment.value.rstrip("\n")
        blank = comment.value[len(text) :]
        comment.value = f"{text}\n"
        section.ca.items[key] = [None, None, CommentToken(blank, comment.start_mark), None]
