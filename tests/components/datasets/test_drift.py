"""What is said of new labels: worked by hand."""

from dataclasses import replace

import pytest
from products import Products

from components.datasets.description import (
    AttributeDescription,
    Description,
    QuarantinedRow,
    describe_labels,
)
from components.datasets.drift import Finding, compare_labels, compare_quarantine, total_variation

NECK = {"v": 50, "round": 50, "square": 0}


def described(*, quarantined=(), **counts: dict[str, int]) -> Description:
    """Returns the description of a data set with labels of attributes by name."""
    rows = tuple(
        QuarantinedRow(path=path, stage="ingest", reason="missing", detail="")
        for path in quarantined
    )
    return Description(
        dataset="toy",
        num_images=0,
        num_labels=0,
        num_groups=0,
        num_grouped_images=0,
        attributes=tuple(
            AttributeDescription(
                name=name,
                num_images=sum(values.values()),
                num_labels=sum(values.values()),
                labels_per_value=values,
            )
            for name, values in counts.items()
        ),
        splits=(),
        triplets=(),
        lookalikes=(),
        left_out={},
        quarantine_counts={},
        quarantine=rows,
    )


def compared(before: Description, after: Description, *, limit: float = 0.1) -> list[Finding]:
    return list(compare_labels(before, after, max_label_shift=limit))


def test_total_variation_is_the_share_that_would_have_to_change():
    assert total_variation({"a": 5, "b": 5}, {"a": 50, "b": 50}) == 0
    assert total_variation({"a": 1, "b": 0}, {"b": 3}) == 1
    # 0.5, 0.3, 0.2 → 0.4, 0.3, 0.3: a tenth moves from the first to the last
    assert total_variation({"a": 5, "b": 3, "c": 2}, {"a": 4, "b": 3, "c": 3}) == pytest.approx(0.1)


def test_more_images_of_the_same_values_pass():
    before, after = described(neck=NECK), described(neck={"v": 90, "round": 110, "square": 0})
    assert compared(before, after) == []
    assert compared(before, before, limit=0) == []


def test_new_and_vanished_values_are_named_with_their_shares():
    after = described(neck={"v": 96, "round": 0, "square": 4})
    lost, new = compared(described(neck=NECK), after, limit=1)
    assert (lost.kind, lost.value, lost.before, lost.after) == ("vanished_value", "round", 0.5, 0)
    assert (new.kind, new.value, new.before, new.after) == ("new_value", "square", 0, 0.04)
    assert new.message == (
        "attribute 'neck' has a new value 'square': 4 labels, 0.0% → 4.0% of the attribute's"
    )
    assert "lost its value 'round': 50 labels" in lost.message


def test_a_shift_is_held_against_the_limit_and_names_what_moved_most():
    after = described(neck={"v": 30, "round": 70, "square": 0})
    (shift,) = compared(described(neck=NECK), after, limit=0.19)
    assert (shift.kind, shift.attribute, shift.value) == ("shift", "neck", None)
    assert shift.after == pytest.approx(0.2)
    assert "shifted by 20.0% of its labels, allowed are 19.0%" in shift.message
    assert "'v' 50.0% → 30.0%, 'round' 50.0% → 70.0%" in shift.message
    assert compared(described(neck=NECK), after, limit=0.21) == []


def test_attributes_come_and_go():
    before, after = described(neck=NECK), described(hem={"long": 3, "short": 4})
    assert [(x.kind, x.attribute) for x in compared(before, after)] == [
        ("new_attribute", "hem"),
        ("vanished_attribute", "neck"),
    ]
    # an attribute without a label, as an exclusion leaves it in the schema, is none
    assert compared(described(neck=NECK, hem={"long": 0}), described(neck=NECK)) == []


def test_the_quarantine_of_what_came_is_not_diluted_by_what_was_there():
    before = described(quarantined=["old.jpg"])
    after = described(quarantined=["old.jpg", "a.jpg", "a.jpg", "b.jpg"])
    (finding,) = compare_quarantine(before, after, num_new_images=8, max_quarantined_share=0.19)
    assert finding.after == pytest.approx(0.2)
    assert "2 of 10 images that came (20.0%)" in finding.message
    assert not compare_quarantine(before, after, num_new_images=8, max_quarantined_share=0.2)
    assert not compare_quarantine(before, before, num_new_images=0, max_quarantined_share=0)


def test_new_items_are_no_new_values() -> None:
    """They are what new data is made of; an identity that vanished is told."""
    before, after = (describe_labels(Products(number).labelled()) for number in (7, 25))
    assert compare_labels(before, after, max_label_shift=0.1) == ()
    without = replace(after, attributes=after.attributes[:1])
    found = compare_labels(before, without, max_label_shift=0.1)
    assert [(x.kind, x.attribute, x.before) for x in found] == [
        ("vanished_attribute", "item", 25),
        ("vanished_attribute", "hem", 25),
    ]


def test_a_domain_that_vanished_is_told() -> None:
    """As where the shop's pictures were not delivered; a new domain is no matter."""
    before, after = (
        replace(described(neck=NECK), domains=domains)
        for domains in ({"shop": 30, "street": 60}, {"runway": 9, "street": 60})
    )
    (found,) = compare_labels(before, after, max_label_shift=0)
    assert (found.kind, found.value, found.before) == ("vanished_domain", "shop", 30)
    assert found.message == "no image is of the domain 'shop' any more; 30 were"
    assert compare_labels(described(neck=NECK), after, max_label_shift=0) == ()
