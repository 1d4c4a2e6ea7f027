"""How boxes meet regions, against boxes worked by hand."""

import numpy as np
import pytest
import torch
from marked_pictures import IMAGES, REGIONS, SCHEMA, Store, figures_of

from components import tables
from components.evaluation.boxes import add_boxes, boxes_in_regions


def locate(pixels, attributes):
    """The upper half of the image for attribute 0, its left quarter for attribute 1."""
    boxes = torch.tensor([[0.0, 0.0, 1.0, 0.5], [0.0, 0.0, 0.25, 1.0]])
    return boxes[attributes]


@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_figures_are_those_worked_by_hand(batch_size):
    """Regions: the upper left quarter, the upper quarter as a band, a quarter in the middle."""
    found = boxes_in_regions(locate, Store(), REGIONS, IMAGES, batch_size=batch_size)
    assert found["attribute"].tolist() == [0, 1, 0]
    assert found["covered"].tolist() == [1, 0.25, 0.5]
    assert found["box"].tolist() == [0.5, 0.25, 0.5]
    shared, either = np.array([0.25, 0.0625, 0.125]), np.array([0.5, 0.4375, 0.625])
    assert found["iou"].tolist() == pytest.approx(shared / either)


def test_a_box_of_the_whole_image_has_the_regions_area_and_one_beside_it_nothing():
    whole = boxes_in_regions(
        lambda pixels, asked: torch.tensor([0.0, 0, 1, 1]).expand(*asked.shape, 4),
        Store(),
        REGIONS,
        IMAGES,
    )
    assert whole["iou"].tolist() == [0.25] * 3
    assert whole["covered"].tolist() == [1] * 3
    beside = boxes_in_regions(
        lambda pixels, asked: torch.tensor([0.8, 0.8, 1, 1]).expand(*asked.shape, 4),
        Store(),
        REGIONS,
        IMAGES,
    )
    assert beside["iou"].tolist() == beside["covered"].tolist() == [0] * 3


def test_a_report_gets_means_in_percent():
    figures = figures_of()
    add_boxes(figures, boxes_in_regions(locate, Store(), REGIONS, IMAGES), SCHEMA)
    assert figures["region_in_box"] == pytest.approx(100 * 1.75 / 3)
    assert figures["attributes"]["neck"] == {
        "map": 1.0,
        "box_iou": pytest.approx(35),
        "region_in_box": 75,
        "box_share": 50,
    }
    assert figures["attributes"]["cuff"] == {"map": 2.0}, "no region of it is known"


@pytest.mark.parametrize(
    ("function", "regions"),
    [(lambda pixels, attributes: None, REGIONS), (locate, tables.REGIONS.empty_table())],
    ids=["no boxes", "no region"],
)
def test_a_report_stays_as_it_is_where_nothing_is_known(function, regions):
    figures = figures_of()
    add_boxes(figures, boxes_in_regions(function, Store(), regions, IMAGES), SCHEMA)
    assert figures == figures_of()
