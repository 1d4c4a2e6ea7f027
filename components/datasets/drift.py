"""What differs between the labels of two catalogs, beyond what new data is expected to change."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from components.datasets.description import AttributeDescription, Description

Kind = Literal[
    "new_attribute",
    "vanished_attribute",
    "vanished_domain",
    "new_value",
    "vanished_value",
    "shift",
    "quarantine",
]

_NUM_MOVED = 3  # values that the message of a shift names


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something about new data that a person should look at before a model learns from it.

    Attributes:
        attribute: None for a domain and for the quarantine.
        value: of new_value and vanished_value; the domain that vanished.
        before: share of the attribute's labels that the value had; of a whole attribute the number
            of its labels, of a domain that of its images; of a shift and of the quarantine 0.
        after: the same of the new data; of a shift the total variation distance, of the quarantine
            the share of new images.
        message: the above for people, with what was allowed.
    """

    kind: Kind
    attribute: str | None
    value: str | None = None
    before: float
    after: float
    message: str


def total_variation(before: Mapping[str, int], after: Mapping[str, int]) -> float:
    """Returns half the sum of the absolute differences of two distributions' shares, 0 to 1.

    It is the share of labels that would have to change their value to make one of the other. Both
    count labels by value, at least one above 0; values that only one of them has count.
    """
    moved = _moves(before, after).values()
    return sum(abs(there - here) for here, there in moved) / 2


def compare_labels(
    before: Description, after: Description, *, max_label_shift: float
) -> tuple[Finding, ...]:
    """Returns attributes and values that came or went, and attributes whose values shifted.

    Also domains that vanished: without images of the shop, nothing answers those of the street.
    Items come and go: they are no values that are compared.

    An attribute has shifted by more than a total variation distance of `max_label_shift`.
    """
    old, new = _labelled(before), _labelled(after)
    findings = [
        Finding(
            kind="new_attribute",
            attribute=row.name,
            before=0,
            after=row.num_labels,
            message=f"attribute {row.name!r} is new, with {row.num_labels} labels",
        )
        for row in new.values()
        if row.name not in old
    ]
    findings += [
        Finding(
            kind="vanished_attribute",
            attribute=row.name,
            before=row.num_labels,
            after=0,
            message=f"attribute {row.name!r} has vanished; it had {row.num_labels} labels",
        )
        for row in old.values()
        if row.name not in new
    ]
    findings += [
        Finding(
            kind="vanished_domain",
            attribute=None,
            value=name,
            before=number,
            after=0,
            message=f"no image is of the domain {name!r} any more; {number} were",
        )
        for name, number in before.domains.items()
        if name not in after.domains
    ]
    for name in (name for name in new if name in old):
        findings += _compare_values(old[name], new[name], max_label_shift=max_label_shift)
    return tuple(findings)


def compare_quarantine(
    before: Description,
    after: Description,
    *,
    num_new_images: int,
    max_quarantined_share: float,
) -> tuple[Finding, ...]:
    """Returns a finding when too much of the data added since the last run cannot be used.

    The share is that of newly quarantined paths among these and the new images, so that earlier
    data does not dilute it.
    """
    new = {row.path for row in after.quarantine} - {row.path for row in before.quarantine}
    share = len(new) / max(len(new) + num_new_images, 1)
    if share <= max_quarantined_share:
        return ()
    message = (
        f"{len(new)} of {len(new) + num_new_images} images that came ({share:.1%}) cannot be used, "
        f"or a label of theirs cannot; allowed are {max_quarantined_share:.1%} "
        "(retrain.max_quarantined_share)"
    )
    return (Finding(kind="quarantine", attribute=None, before=0, after=share, message=message),)


def _labelled(described: Description) -> dict[str, AttributeDescription]:
    return {row.name: row for row in described.attributes if row.num_labels}


def _compare_values(
    old: AttributeDescription, new: AttributeDescription, *, max_label_shift: float
) -> Iterator[Finding]:
    moves = _moves(old.labels_per_value, new.labels_per_value)
    for value, (before, after) in moves.items():
        if bool(before) == bool(after):
            continue
        kind: Kind = "new_value" if after else "vanished_value"
        verb = "has a new value" if after else "has lost its value"
        number = (new if after else old).labels_per_value[value]
        message = (
            f"attribute {new.name!r} {verb} {value!r}: {number} labels, "
            f"{before:.1%} → {after:.1%} of the attribute's"
        )
        yield Finding(
            kind=kind, attribute=new.name, value=value, before=before, after=after, message=message
        )
    distance = total_variation(old.labels_per_value, new.labels_per_value)
    if distance > max_label_shift:
        most_first = sorted(moves.items(), key=lambda item: -abs(item[1][1] - item[1][0]))
        moved = [f"{x!r} {before:.1%} → {after:.1%}" for x, (before, after) in most_first]
        message = (
            f"attribute {new.name!r} has shifted by {distance:.1%} of its labels, allowed are "
            f"{max_label_shift:.1%} (retrain.max_label_shift): {', '.join(moved[:_NUM_MOVED])}"
        )
        yield Finding(kind="shift", attribute=new.name, before=0, after=distance, message=message)


def _moves(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, tuple[float, float]]:
    """Returns each value's share of the labels before and after."""
    num_before, num_after = sum(before.values()), sum(after.values())
    return {
        value: (before.get(value, 0) / num_before, after.get(value, 0) / num_after)
        for value in dict.fromkeys([*before, *after])
    }
