"""Values that a version does not know, of attributes that it does."""

import pytest
from builders import splits_table

from components.attributes import Attribute, AttributeSchema
from components.training.growth import values_beyond

KNOWN = AttributeSchema(
    dataset="d",
    attributes=(
        Attribute(name="color", values=("red", "blue")),
        Attribute(name="fit", values=("slim", "loose")),
        Attribute(name="item", num_items=2),
    ),
)
CATALOG = AttributeSchema(  # in another order, with an attribute that is new, and two values
    dataset="d",
    attributes=(
        Attribute(name="item", num_items=4),
        Attribute(name="hem", values=("short", "long")),
        Attribute(name="color", values=("red", "blue", "teal", "grey")),
        Attribute(name="fit", values=("slim", "loose")),
    ),
)
ITEM, HEM, COLOR, FIT = range(4)
OLD_ROWS = [(0, ITEM, 3), (0, HEM, 1), (0, COLOR, 0), (0, FIT, 1), (1, COLOR, 1)]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], {}),
        ([(2, COLOR, 2), (3, COLOR, 2), (3, COLOR, 3)], {"color": {"teal": 2, "grey": 1}}),
        ([(2, COLOR, 3)], {"color": {"grey": 1}}),
    ],
)
def test_they_are_counted_by_their_training_images(rows, expected):
    """Neither an attribute that is new nor an item is one of them."""
    splits = splits_table((*row, "train", "train") for row in [*OLD_ROWS, *rows])
    assert values_beyond(KNOWN, CATALOG, splits) == expected


def test_those_of_held_out_images_alone_do_not_count():
    """No prototype could be made of them."""
    rows = [(*row, "train", "train") for row in OLD_ROWS]
    splits = splits_table([*rows, (5, COLOR, 2, "test", "query"), (6, COLOR, 3, "valid", "query")])
    assert values_beyond(KNOWN, CATALOG, splits) == {}
