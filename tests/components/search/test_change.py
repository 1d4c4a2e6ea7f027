"""Queries with other values: what is asked for, what is refused, and what agrees."""

import numpy as np
import pytest

from components.errors import HemlineError
from components.prototypes.prototypes import Prototypes, ValueVectors
from components.prototypes.tags import UNCALIBRATED
from components.search.change import changed, parse_changes, target_verdict
from components.search.request import Query

PROTOTYPES = Prototypes(
    attributes={
        "collar": ValueVectors(
            values=("none", "rib", "unseen"),
            vectors_VD=np.array([[1, 0], [0, 1], [np.nan, np.nan]], np.float32),
            num_images_V=np.array([1, 1, 0]),
            spread_V=np.array([0, 0, np.nan], np.float32),
        )
    },
    weights={"collar": 1.0},
    calibrations={"collar": UNCALIBRATED},
    model="m",
)
QUERY = Query(
    vectors={"collar": np.array([0.6, 0.8], np.float32), "hem": np.array([1, 0], np.float32)},
    itself=[7],
    values={"collar": ("none",), "hem": ("long",)},
)


@pytest.mark.parametrize(
    ("texts", "changes"),
    [
        ([], {}),
        (["collar=rib"], {"collar": "rib"}),
        (["collar=a=b", "hem=short"], {"collar": "a=b", "hem": "short"}),
        (["fit=slim=yes"], {"fit=slim": "yes"}),
        (["fit=loose"], {"fit": "loose"}),
    ],
)
def test_names_and_values_are_told_apart(texts: list[str], changes: dict[str, str]) -> None:
    assert parse_changes(texts, ["collar", "hem", "fit", "fit=slim"]) == changes


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["colar=rib"], "no attribute 'colar'; images are embedded for collar, hem"),
        (["collar"], "--change collar names no value: give it as NAME=VALUE"),
        (["collar=rib", "collar=none"], "--change collar is given twice"),
    ],
)
def test_changes_that_say_nothing_are_refused(texts: list[str], said: str) -> None:
    with pytest.raises(HemlineError, match=said):
        parse_changes(texts, ["collar", "hem"])


def test_the_prototype_stands_in_the_place_of_the_embedding() -> None:
    asked = changed(QUERY, {"collar": "rib"}, PROTOTYPES)
    assert asked.vectors["collar"].tolist() == [0, 1]
    assert asked.vectors["hem"] is QUERY.vectors["hem"]
    assert asked.values == {"collar": ("rib",), "hem": ("long",)}
    assert asked.itself == [7]
    assert QUERY.values["collar"] == ("none",)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("none", "the query has collar=none already"),
        ("round", "no value 'round' of collar; its values are none, rib, unseen"),
        ("unseen", "collar=unseen has no prototype"),
    ],
)
def test_values_that_cannot_be_asked_for_are_refused(value: str, said: str) -> None:
    with pytest.raises(HemlineError, match=said):
        changed(QUERY, {"collar": value}, PROTOTYPES)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"collar": ("rib",), "hem": ("long",)}, "agrees"),
        ({"collar": ("rib", "none"), "hem": ("long",)}, "agrees"),
        ({"collar": ("rib",)}, "agrees"),  # whether its hem is long is not known
        ({"collar": ("none",), "hem": ("long",)}, "differs"),
        ({"collar": ("rib",), "hem": ("short",)}, "differs"),
        ({"hem": ("long",)}, "unknown"),
        ({"hem": ("short",)}, "differs"),
        ({}, "unknown"),
    ],
)
def test_an_item_agrees_with_what_is_asked_for(values: dict, expected: str) -> None:
    target = {"collar": ("rib",), "hem": ("long",)}
    assert target_verdict(values, target, ["collar"], ["collar", "hem"]) == expected
