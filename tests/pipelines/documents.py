"""The fields of JSON documents as docs/commands.md has them, and documents checked against it."""

import re
from collections.abc import Iterator
from typing import Any

from builders import PROJECT


def documented(command: str) -> list[str]:
    """Returns the fields of a command's document: `[]` for items of a list, `*` for names."""
    text = (PROJECT / "docs/commands.md").read_text()
    for section in text.split("\n### ")[1:]:
        heading, _, body = section.partition("\n")
        if command in heading.split(", "):
            rows = [line.split("|")[1] for line in body.splitlines() if line.startswith("|")]
            return [field for row in rows for field in re.findall(r"`([^`]+)`", row)]
    raise AssertionError(f"docs/commands.md has no section {command}")


def check_document(command: str, document: Any) -> None:
    """Checks that a document has the documented fields, and no others."""
    fields = documented(command)
    assert {*document} == {re.split(r"[.\[]", field)[0] for field in fields}
    forms = [
        re.compile(re.escape(field).replace(r"\*", r".+?") + r"([.\[].*)?") for field in fields
    ]
    missing = [place for place in _places(document) if not any(f.fullmatch(place) for f in forms)]
    # what may hold more is empty: its parts are documented, and there are none
    missing = [p for p in missing if not any(f.startswith((f"{p}.", f"{p}[")) for f in fields)]
    assert not missing, f"{command}: docs/commands.md does not know {missing}"


def _places(value: Any, place: str = "") -> Iterator[str]:
    """Yields the places of all single values, and of what is empty."""
    if isinstance(value, dict) and value:
        for name, each in value.items():
            yield from _places(each, f"{place}.{name}" if place else name)
    elif isinstance(value, list) and value:
        for each in value:
            yield from _places(each, f"{place}[]")
    else:
        yield place
