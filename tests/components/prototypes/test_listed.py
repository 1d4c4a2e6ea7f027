"""What has prototypes of a data set with items."""

from builders import labels_table

from components import tables
from components.attributes import Attribute, AttributeSchema
from components.prototypes.listed import listed_part
from components.prototypes.prototypes import no_prototypes, read_prototypes, write_prototypes

NECK = Attribute(name="neck", values=("round", "v"))
ITEM = Attribute(name="item", num_items=34_000)
HEM = Attribute(name="hem", values=("short", "long"))


def schema(*attributes: Attribute) -> AttributeSchema:
    return AttributeSchema(dataset="d", attributes=attributes)


def test_labels_of_items_go_and_attributes_behind_them_move_up() -> None:
    labels = labels_table([(0, 0, 1), (0, 1, 33_999), (0, 2, 0), (1, 1, 5), (2, 2, 1)])
    found = listed_part(labels, schema(NECK, ITEM, HEM))
    assert found.schema == schema(NECK, HEM)
    assert found.places == [0, 2]
    assert found.labels.schema == tables.LABELS
    assert found.labels.select(["image", "attribute", "value"]).to_pydict() == {
        "image": [0, 0, 2],
        "attribute": [0, 1, 1],
        "value": [1, 0, 1],
    }


def test_without_items_everything_stays_as_it_is() -> None:
    labels = labels_table([(0, 0, 1), (1, 1, 0)])
    found = listed_part(labels, schema(NECK, HEM))
    assert found.labels is labels
    assert found.schema == schema(NECK, HEM)
    assert found.places == [0, 1]


def test_of_items_alone_there_are_no_prototypes(tmp_path) -> None:
    found = listed_part(labels_table([(0, 0, 7)]), schema(ITEM))
    assert found.schema == schema()
    assert not found.labels.num_rows
    write_prototypes(no_prototypes("m"), tmp_path / "prototypes.parquet")
    read = read_prototypes(tmp_path / "prototypes.parquet")
    assert (read.attributes, read.weights, read.calibrations, read.model) == ({}, {}, {}, "m")
