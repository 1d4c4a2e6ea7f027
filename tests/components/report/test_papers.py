"""The papers' rows stand beside a model only where the data set is theirs."""

import pytest

from components.attributes import Attribute, AttributeSchema
from components.datasets.darn import NUM_VALUES
from components.datasets.deepfashion import TYPES
from components.datasets.fashionai import FASHIONAI_VALUES
from components.report.papers import paper_scores


def schema(dataset: str, names) -> AttributeSchema:
    attributes = tuple(Attribute(name=name, values=("a",)) for name in names)
    return AttributeSchema(dataset=dataset, attributes=attributes)


@pytest.mark.parametrize(
    ("dataset", "names", "num_test_images", "overall"),
    [
        ("FashionAI", FASHIONAI_VALUES, 18034, 62.88),
        ("DARN", NUM_VALUES, 21460, None),
        ("DeepFashion", TYPES, 28922, 8.98),
        ("DeepFashion", [f"{kind}-related" for kind in TYPES], 27625, 8.98),
    ],
)
def test_every_attribute_of_a_papers_data_set_has_its_score(
    dataset, names, num_test_images, overall
):
    found = paper_scores(schema(dataset, names), num_test_images=num_test_images)
    assert found.reason == ""
    assert found.measure == "map"
    for row in found.rows:
        assert row.scores.keys() == {*names, "all"}
        assert min(row.scores.values()) < row.scores["all"] < max(row.scores.values())
    by_network = {row.network: row.scores["all"] for row in found.rows}
    assert by_network.get("ag_man") == overall


def test_zappos_is_compared_by_its_triplets():
    found = paper_scores(schema("Zappos50k", ["heel"]), num_test_images=10005)
    assert found.measure == "triplet_accuracy"
    assert {row.network: row.scores for row in found.rows}["ag_mlan"] == {"all": 93.32}


def test_a_left_out_attribute_leaves_no_overall_score():
    found = paper_scores(schema("FashionAI", ["neck_design"]), num_test_images=18000)
    assert found.rows[-1].scores == {"neck_design": 62.08}


@pytest.mark.parametrize(
    ("dataset", "num_test_images", "reason"),
    [
        ("FashionAI", 500, "papers test on 18,000 images of FashionAI, this is measured on 500"),
        ("my_data", 18000, "none of the papers reports on the data set my_data"),
    ],
)
def test_why_there_is_nothing_to_compare(dataset, num_test_images, reason):
    found = paper_scores(schema(dataset, FASHIONAI_VALUES), num_test_images=num_test_images)
    assert not found.rows
    assert reason in found.reason
