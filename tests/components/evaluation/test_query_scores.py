"""What an evaluation keeps: against loops, and of networks that know other attributes."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from builders import splits_table

from components import files, tables
from components.attributes import Attribute, AttributeSchema
from components.errors import HemlineError
from components.evaluation.evaluation import evaluate_retrieval
from components.evaluation.query_scores import (
    mean_similarity,
    measure_queries,
    query_scores,
    read_query_scores,
    write_query_scores,
)

NAMES = ("sleeve", "skirt", "collar")
IMAGES = np.arange(10, 34)


def schema_of(*names: str) -> AttributeSchema:
    attributes = tuple(Attribute(name=name, values=("short", "long")) for name in names)
    return AttributeSchema(dataset="noise", attributes=attributes)


def unit(seed: int, *shape: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=shape)
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def splits() -> pa.Table:
    """Every image has a value of every attribute; a quarter of them ask."""
    rows = [
        (image, attribute, (image // (attribute + 1)) % 2, "test", role)
        for image in IMAGES.tolist()
        for attribute in range(len(NAMES))
        for role in ["query" if image % 4 == 0 else "gallery"]
    ]
    return splits_table(rows)


class Pictures:
    """Images whose pixels are their numbers."""

    def gather(self, images: np.ndarray) -> np.ndarray:
        return images[:, None, None, None].astype(np.uint8).repeat(3, axis=3)


class Network:
    """Embeds for the attributes of a schema, each always alike whatever its place in it."""

    def __init__(self, schema: AttributeSchema) -> None:
        self.vectors = {
            name: unit(seed, 256, 5) for seed, name in enumerate((*NAMES, "hem", "lapel"))
        }
        self.names = schema.names

    def __call__(self, pixels: torch.Tensor, attributes_BK: torch.Tensor) -> torch.Tensor:
        numbers = pixels[:, 0, 0, 0].numpy()
        each = [self.vectors[self.names[place]][numbers] for place in attributes_BK[0].tolist()]
        return torch.from_numpy(np.stack(each, axis=1))


def measured(known: AttributeSchema, splits: pa.Table) -> dict:
    """Returns average precision by attribute and image."""
    scores = measure_queries(
        Network(known), Pictures(), splits, schema=schema_of(*NAMES), known=known, digest="d"
    )
    rows = scores.queries.to_pylist()
    return {(row["attribute"], row["image"]): row["average_precision"] for row in rows}


def test_mean_similarity_is_that_of_all_pairs() -> None:
    vectors = unit(2, 9, 4).astype(np.float64)
    expected = np.mean([a @ b for a, b in combinations(vectors, 2)])
    assert mean_similarity(vectors) == pytest.approx(expected)
    assert mean_similarity(vectors[:1].repeat(7, axis=0)) == pytest.approx(1)
    assert np.isnan(mean_similarity(vectors[:1]))


def test_what_is_kept_is_what_was_evaluated(splits, tmp_path: Path) -> None:
    schema = schema_of(*NAMES)
    embeddings = unit(8, len(IMAGES), len(NAMES), 6)
    embeddings[3, 1] *= 1.5
    results = evaluate_retrieval(splits, "test", IMAGES, embeddings)
    scores = query_scores(results, embeddings, schema=schema, known=schema, splits="abc")
    write_query_scores(scores, tmp_path / "queries.parquet")
    back = read_query_scores(tmp_path / "queries.parquet")
    assert back.queries.equals(scores.queries)
    assert (back.splits, back.attributes) == ("abc", NAMES)
    assert back.norm_ranges == scores.norm_ranges
    for name, longest in zip(NAMES, (1, 1.5, 1), strict=True):
        assert back.norm_ranges[name] == pytest.approx((1, longest))
    assert back.mean_similarity == scores.mean_similarity
    frame = back.queries.to_pandas()
    for attribute, name in enumerate(NAMES):
        rows = frame[frame["attribute"] == name]
        result = results[attribute]
        np.testing.assert_array_equal(rows["image"], result.query_images_Q)
        np.testing.assert_array_equal(rows["average_precision"], result.ap_Q)
        np.testing.assert_array_equal(rows["random_average_precision"], result.scores["random_map"])
        assert back.mean_similarity[name] == pytest.approx(
            np.mean([a @ b for a, b in combinations(embeddings[:, attribute], 2)]), abs=1e-6
        )


def test_an_older_record_has_one_range_of_lengths_for_all(tmp_path: Path) -> None:
    about = {"splits": "abc", "attributes": ["sleeve", "hem"], "norm_range": [0.9, 1.0]}
    about["mean_similarity"] = {"sleeve": 0.5}  # the other has no query
    path, queries = tmp_path / "queries.parquet", tables.QUERY_SCORES.empty_table()
    files.write_table(queries, path, schema=tables.QUERY_SCORES, about=about)
    assert read_query_scores(path).norm_ranges == {"sleeve": (0.9, 1.0)}


def test_attributes_are_found_by_name_in_whatever_order_a_network_knows_them(splits) -> None:
    expected = measured(schema_of(*NAMES), splits)
    assert {name for name, _ in expected} == set(NAMES)
    assert measured(schema_of("collar", "hem", "sleeve", "skirt"), splits) == expected


def test_attributes_that_a_network_does_not_know_are_left_out(splits) -> None:
    expected = measured(schema_of(*NAMES), splits)
    found = measured(schema_of("skirt"), splits)
    assert found == {key: score for key, score in expected.items() if key[0] == "skirt"}


def test_a_network_that_knows_none_of_them_is_told(splits) -> None:
    with pytest.raises(HemlineError, match="knows hem, lapel, and the test split none of these"):
        measured(schema_of("hem", "lapel"), splits)
