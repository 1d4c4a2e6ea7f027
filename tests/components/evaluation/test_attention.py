"""The share of attention in a region, against maps and boxes worked by hand."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from builders import splits_table
from marked_pictures import IMAGES, REGIONS, SCHEMA, Store, figures_of

from components import tables
from components.evaluation.attention import (
    add_attention,
    attention_in_regions,
    coverage,
    labelled_regions,
    visible_regions,
)


def attend(pixels, attributes):
    """A map of 2 x 2: uniform for attribute 0, all in the upper left corner for attribute 1."""
    maps = torch.ones(len(pixels), attributes.shape[1], 2, 2)
    maps[attributes == 1] = torch.tensor([[-3.0, 0.0], [0.0, 0.0]])
    return maps


@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_shares_are_those_worked_by_hand(batch_size):
    """Image 4's region lies outside its picture; a weight counts by its size."""
    found = attention_in_regions(attend, Store(), REGIONS, IMAGES, batch_size=batch_size)
    assert found["attribute"].tolist() == [0, 1, 0]
    assert found["area"].tolist() == [0.25, 0.25, 0.25]
    # a quarter of a uniform map; the upper half of the only cell that counts; a quarter of each
    assert found["share"].tolist() == [0.25, 0.5, 0.25]


def test_uniform_attention_has_the_regions_area():
    rng = np.random.default_rng(0)
    corners = np.sort(rng.random((50, 2, 2)), axis=1)
    boxes = corners.reshape(50, 4)
    covered = coverage(boxes, 5, 7)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    np.testing.assert_allclose(covered.mean(axis=(1, 2)), areas)
    assert covered.min() >= 0
    assert covered.max() <= 1


def test_coverage_is_that_of_a_fine_raster():
    box = np.array([[0.13, 0.37, 0.81, 0.66]])
    fine = np.zeros((400, 600))
    fine[round(0.37 * 400) : round(0.66 * 400), round(0.13 * 600) : round(0.81 * 600)] = 1
    expected = fine.reshape(4, 100, 6, 100).mean(axis=(1, 3))
    np.testing.assert_allclose(coverage(box, 4, 6)[0], expected, atol=1e-12)


def test_a_report_gets_means_in_percent():
    figures = figures_of()
    add_attention(figures, attention_in_regions(attend, Store(), REGIONS, IMAGES), SCHEMA)
    assert figures["attention_in_region"] == pytest.approx(100 / 3)
    assert figures["region_share"] == 25
    assert figures["attributes"]["neck"] == {
        "map": 1.0,
        "attention_in_region": 25,
        "region_share": 25,
    }
    assert figures["attributes"]["cuff"] == {"map": 2.0}, "no region of it is known"


@pytest.mark.parametrize(
    ("function", "regions"),
    [(lambda pixels, attributes: None, REGIONS), (attend, tables.REGIONS.empty_table())],
    ids=["no attention", "no region"],
)
def test_a_report_stays_as_it_is_where_nothing_is_known(function, regions):
    figures = figures_of()
    add_attention(figures, attention_in_regions(function, Store(), regions, IMAGES), SCHEMA)
    assert figures == figures_of()


def test_regions_of_a_split_are_those_of_its_labels():
    rows = [
        (3, 0, 1, "test", "query"),
        (7, 1, 1, "test", "gallery"),
        (3, 1, 1, "train", "train"),
        (4, 1, 0, "test", "gallery"),
    ]
    splits = splits_table(rows)
    kept = labelled_regions(REGIONS, splits, "test")
    assert list(zip(*kept.select(["image", "attribute"]).to_pydict().values(), strict=True)) == [
        (3, 0),
        (4, 1),
    ]


def test_regions_lie_in_the_box_that_a_picture_is_cropped_to():
    """Image 3 is its left half: what was the upper left quarter is the upper half of its square."""
    boxes = pa.table({"image": [3], "left": [0.0], "top": [0.0], "right": [4.0], "bottom": [8.0]})
    images, attributes, shares = visible_regions(REGIONS, IMAGES, boxes, crop="box")
    assert (images.tolist(), attributes.tolist()) == ([3, 3, 7], [0, 1, 0])
    assert shares.tolist() == [[0, 0, 1, 0.5], [0, 0, 1, 0.25], [0.25, 0.25, 0.75, 0.75]]
