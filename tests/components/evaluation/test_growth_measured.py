"""Grown attributes measured beside the known ones: against loops over queries and galleries."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from builders import splits_table
from numpy.typing import NDArray

from components.attributes import Attribute, AttributeSchema
from components.evaluation.growth import evaluate_growth, growth_text
from components.evaluation.metrics import bootstrap_interval

NAMES = ["hem", "collar", "pattern", "sleeve", "age", "only trained", "unlabelled"]
KNOWN = ["sleeve", "gone", None, "collar"]  # in the network's order, and two that are left out
SCHEMA = AttributeSchema(
    dataset="made up",
    attributes=tuple(Attribute(name=name, values=("a", "b", "c")) for name in NAMES),
)
IMAGES = np.arange(100, 140, 2)
Row = tuple[int, int, int, str, str]


def rows() -> list[Row]:
    """Returns labels: hem and pattern have queries, those of age have nothing to find."""
    rng = np.random.default_rng(3)
    found: list[Row] = []
    for place, image in enumerate(IMAGES.tolist()):
        role = "query" if place % 3 == 0 else "gallery"
        for number, name in enumerate(NAMES):
            if name in ("only trained", "unlabelled"):
                continue
            value = place % 3 == 0 if name == "age" else rng.integers(3)
            found.append((image, number, int(value), "test", role))
        if place % 4 == 0:
            found.append((image, NAMES.index("hem"), 2, "test", role))  # perhaps twice the same
        found += [
            (image + 1, NAMES.index(name), place % 3, "train", "train")
            for name in ("hem", "only trained")
        ]
    return list(dict.fromkeys(found))


def embeddings() -> NDArray[np.float32]:
    vectors = np.random.default_rng(8).normal(size=(len(IMAGES), len(NAMES), 5))
    return (vectors / np.linalg.norm(vectors, axis=2, keepdims=True)).astype(np.float32)


def by_role(name: str, role: str) -> dict[int, set[int]]:
    """Returns which values the images of a role have, by their places."""
    values: dict[int, set[int]] = {}
    for image, number, value, split, each in rows():
        if (number, split, each) == (NAMES.index(name), "test", role):
            values.setdefault(int(np.searchsorted(IMAGES, image)), set()).add(value)
    return values


def average_precisions(vectors_nX: NDArray[np.float32], name: str) -> tuple[list[float], ...]:
    """Returns AP of each query that has an item to find, and the mean of all rankings' AP."""
    queries, gallery = by_role(name, "query"), by_role(name, "gallery")
    found, expected = [], []
    for query in sorted(queries):
        similarity = {item: float(vectors_nX[query] @ vectors_nX[item]) for item in gallery}
        ranked = sorted(gallery, key=lambda item: -similarity[item])
        places = [
            place
            for place, item in enumerate(ranked, 1)
            if any(value in gallery[item] for value in queries[query])
        ]
        if places:
            found.append(precision(places))
            anywhere = combinations(range(1, len(ranked) + 1), len(places))
            expected.append(np.mean([precision(each) for each in anywhere]))
    return found, expected


def precision(places: Sequence[int]) -> float:
    return sum(number / place for number, place in enumerate(places, 1)) / len(places)


def figures(vectors_nX: NDArray[np.float32], name: str) -> dict[str, float]:
    found, expected = average_precisions(vectors_nX, name)
    low, high = bootstrap_interval(np.array(found))
    return {
        "map": 100 * np.mean(found),
        "map_low": 100 * low,
        "map_high": 100 * high,
        "random_map": 100 * np.mean(expected),
    }


def measured(known: Sequence[str | None] = KNOWN, **changes):
    arguments = {"schema": SCHEMA, "known": known} | changes
    return evaluate_growth(splits_table(rows()), "test", IMAGES, embeddings(), **arguments)


def without_attribute(row: dict[str, Any]) -> dict[str, float]:
    return {key: value for key, value in row.items() if key != "attribute"}


def test_figures_are_those_of_loops():
    """In its own space, in each known one, and by the sum of the known ones' similarities."""
    found, vectors = measured(), embeddings()
    assert [*found] == ["hem", "pattern"], "age has no query with an answer"
    for name, row in found.items():
        assert row["own"] == pytest.approx(figures(vectors[:, NAMES.index(name)], name))
        spaces = {
            other: figures(vectors[:, NAMES.index(other)], name) for other in ("sleeve", "collar")
        }
        best = max(spaces, key=lambda other: spaces[other]["map"])
        assert without_attribute(row["best_known"]) == pytest.approx(spaces[best])
        assert row["best_known"]["attribute"] == best
        together = np.concatenate([vectors[:, NAMES.index(each)] for each in spaces], axis=1)
        assert row["all_known"] == pytest.approx(figures(together, name))
        for each in (row["own"], row["best_known"], row["all_known"]):
            assert 0 < each["map_low"] < each["map"] < each["map_high"] < 100
    assert {row["best_known"]["attribute"] for row in found.values()} == {"sleeve", "collar"}


def test_the_best_one_is_that_of_the_highest_map():
    """Where each known attribute is the only one, the better of both is what both have."""
    alone = {name: measured([name]) for name in ("sleeve", "collar")}
    for name, row in measured().items():
        assert row["own"] == alone["sleeve"][name]["own"]
        assert row["best_known"] == max(
            (found[name]["best_known"] for found in alone.values()), key=lambda best: best["map"]
        )
        for found in alone.values():
            best = without_attribute(found[name]["best_known"])
            assert found[name]["all_known"] == pytest.approx(best), "of one, all are it"


def test_without_a_known_attribute_there_is_only_its_own_space():
    for known in ([], ["gone"], [None]):
        found = measured(known)
        assert found.keys() == {"hem", "pattern", "collar", "sleeve"}
        assert all(row.keys() == {"own"} for row in found.values())
    assert measured(NAMES) == {}


def test_another_split_is_measured_by_its_own_labels():
    splits = splits_table(
        (*row[:3], "valid" if row[3] == "test" else row[3], row[4]) for row in rows()
    )
    arguments = {"schema": SCHEMA, "known": KNOWN}
    assert evaluate_growth(splits, "valid", IMAGES, embeddings(), **arguments) == measured()
    assert evaluate_growth(splits, "test", IMAGES, embeddings(), **arguments) == {}


def test_the_sentence_has_what_there_is():
    own = {"map": 81.234, "map_low": 78.06, "map_high": 84.44, "random_map": 40.5}
    other = {"map": 60.1, "map_low": 55.55, "map_high": 64.96, "random_map": 40.5}
    assert growth_text("hem", {"own": own}) == (
        "hem was grown: MAP 81.23 (78.1 to 84.4), random 40.50"
    )
    row = {"own": own, "best_known": {"attribute": "sleeve", **other}, "all_known": own}
    assert growth_text("hem", row) == (
        "hem was grown: MAP 81.23 (78.1 to 84.4), random 40.50; by the best attribute that was "
        "known before, sleeve, 60.10 (55.5 to 65.0), by all of them together 81.23 (78.1 to 84.4)"
    )
