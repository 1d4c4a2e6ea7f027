"""Attribute manipulation: a query with other values of some attributes, all else as it is.

The prototype of the wanted value stands in the place of the query's own embedding. Source:
FashionSearchNet-v2, whose memory block does the same for one network; every network has prototypes.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from components.attributes import nfc
from components.errors import HemlineError
from components.prototypes.prototypes import Prototypes
from components.search.request import Query, Verdict, verdict


def parse_changes(texts: Sequence[str], known: Collection[str]) -> dict[str, str]:
    """Returns the value that each attribute is to have, given as NAME=VALUE.

    Raises:
        HemlineError: a text is not of that form, names no known attribute, or one twice.
    """
    changes: dict[str, str] = {}
    for text in map(nfc, texts):
        # names may have equals signs in them: the longest that fits
        fitting = [name for name in known if text.startswith(f"{name}=")]
        if not fitting:
            name, equals, _ = text.partition("=")
            raise HemlineError(
                f"no attribute {name!r}; images are embedded for {', '.join(known)}"
                if equals
                else f"--change {text} names no value: give it as NAME=VALUE"
            )
        name = max(fitting, key=len)
        if name in changes:
            raise HemlineError(f"--change {name} is given twice: an attribute has one new value")
        changes[name] = text.removeprefix(f"{name}=")
    return changes


def changed(query: Query, changes: Mapping[str, str], prototypes: Prototypes) -> Query:
    """Returns a query that asks for other values of some attributes.

    Raises:
        HemlineError: a value is not known, has no prototype, or is the query's already.
    """
    for attribute in changes.keys() - prototypes.attributes.keys():
        raise HemlineError(
            f"{attribute} cannot be changed: its values are single products, which have no "
            "prototypes. A photograph of the product finds it: search with --image or --id and "
            f"--attribute {attribute}"
        )
    for attribute, value in changes.items():
        if query.values.get(attribute) == (value,):
            raise HemlineError(
                f"the query has {attribute}={value} already: leave that change out to find items "
                "like it"
            )
    wanted = {attribute: prototypes.of(attribute, value) for attribute, value in changes.items()}
    return replace(
        query,
        vectors={**query.vectors, **wanted},
        values={**query.values, **{name: (value,) for name, value in changes.items()}},
    )


def target_verdict(
    values: Mapping[str, Sequence[str]],
    target: Mapping[str, Sequence[str]],
    changes: Collection[str],
    attributes: Collection[str],
) -> Verdict:
    """Returns whether an item has the values that a changed query asks for.

    It differs where one attribute does, and agrees where it has all values that were asked for and
    no attribute differs; attributes without a label on either side do not count against it.

    Args:
        values: the item's values by attribute.
        target: the values of the changed query.
        changes: attributes that were changed.
        attributes: attributes that were compared by.
    """
    found = {
        name: verdict(set(values.get(name, ())), set(target.get(name, ()))) for name in attributes
    }
    if "differs" in found.values():
        return "differs"
    return "agrees" if all(found[name] == "agrees" for name in changes) else "unknown"
