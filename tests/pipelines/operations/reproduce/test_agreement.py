"""Weights, numbers and embeddings side by side."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from builders import random_prototypes
from safetensors.torch import save_file

from components import files
from components.attributes import Attribute, AttributeSchema
from components.errors import HemlineError
from components.prototypes.prototypes import write_prototypes
from pipelines.operations.reproduce.agreement import (
    Agreement,
    Difference,
    compare_embeddings,
    compare_metrics,
    compare_prototypes,
    compare_weights,
)

IDENTICAL, WITHIN, DIFFERENT = Agreement.IDENTICAL, Agreement.WITHIN_TOLERANCE, Agreement.DIFFERENT


@pytest.fixture
def weights(tmp_path: Path):
    """Writes a file of tensors, and gives its path."""

    def write(name: str, **tensors: torch.Tensor) -> Path:
        save_file(tensors, tmp_path / name)
        return tmp_path / name

    return write


def test_weights_are_identical_in_every_bit_or_named(weights) -> None:
    values = torch.arange(6.0).reshape(2, 3)
    ours = weights("ours", first=values, second=values + 1, steps=torch.tensor(3))
    same = weights("same", first=values, second=values + 1, steps=torch.tensor(3))
    assert compare_weights(ours, same, tolerance=0).verdict is IDENTICAL
    moved = values + 1
    moved[1, 2] += 0.25
    other = weights("other", first=values, second=moved, steps=torch.tensor(3))
    assert compare_weights(ours, other, tolerance=0.25).verdict is WITHIN
    found = compare_weights(ours, other, tolerance=0.2)
    assert found.verdict is DIFFERENT
    assert "0.25 in second" in found.detail


def test_equal_numbers_of_other_bits_are_within_any_tolerance(weights) -> None:
    ours, theirs = weights("a", x=torch.tensor([0.0])), weights("b", x=torch.tensor([-0.0]))
    assert compare_weights(ours, theirs, tolerance=0).verdict is WITHIN


def test_weights_that_are_no_number_are_different_unless_alike(weights) -> None:
    nan, one = torch.tensor([float("nan")]), torch.tensor([1.0])
    ours = weights("a", x=nan)
    assert compare_weights(ours, weights("b", x=one), tolerance=9).verdict is DIFFERENT
    assert compare_weights(ours, weights("c", x=nan), tolerance=0).verdict is IDENTICAL


@pytest.mark.parametrize(
    "others", [{"y": torch.zeros(2)}, {"x": torch.zeros(3)}, {"x": torch.zeros(2).double()}]
)
def test_other_tensors_are_different(weights, others) -> None:
    ours = weights("a", x=torch.zeros(2))
    assert compare_weights(ours, weights("b", **others), tolerance=9).verdict is DIFFERENT


METRICS = {"map": 40.0, "attributes": {"neck": {"map": 30.0}}, "method": "random", "none": None}


@pytest.mark.parametrize(
    ("change", "verdict", "place"),
    [
        ({}, IDENTICAL, ""),
        ({"attributes": {"neck": {"map": 30.4}}}, WITHIN, "attributes.neck.map"),
        ({"attributes": {"neck": {"map": 31.0}}}, DIFFERENT, "attributes.neck.map"),
        ({"method": "published"}, DIFFERENT, "method"),
        ({"none": 1}, DIFFERENT, "none"),
        ({"more": 1}, DIFFERENT, "more"),
    ],
)
def test_metrics_are_compared_by_their_place(tmp_path: Path, *, change, verdict, place) -> None:
    ours, theirs = tmp_path / "a.json", tmp_path / "b.json"
    ours.write_text(json.dumps(METRICS))
    theirs.write_text(json.dumps({**METRICS, **change}))
    found = compare_metrics(ours, theirs, tolerance=0.5)
    assert found.verdict is verdict
    assert place in found.detail


def test_a_curve_is_compared_row_by_row(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "a.csv", tmp_path / "b.csv"
    ours.write_text("epoch,loss\n0,1.5\n1,1.25\n")
    theirs.write_text("epoch,loss\n0,1.5\n1,1.75\n")
    assert compare_metrics(ours, theirs, tolerance=0.5).verdict is WITHIN
    assert "1.loss" in compare_metrics(ours, theirs, tolerance=0.1).detail
    with pytest.raises(HemlineError, match="neither JSON nor CSV"):
        compare_metrics(tmp_path / "a.png", theirs, tolerance=0)


NEW, OLDER = "vectors/part-{}-neck.parquet", "attribute=neck/part-{}.parquet"


def write_embedded_folder(
    folder: Path, images: list[int], vectors: np.ndarray, *, per_part: int, of_part: str = NEW
) -> Path:
    kind = pa.list_(pa.float16(), vectors.shape[1])
    for start in range(0, len(images), per_part):
        part = vectors[start : start + per_part].astype(np.float16)
        columns = {
            "image": images[start : start + per_part],
            "embedding": pa.FixedSizeListArray.from_arrays(part.ravel(), type=kind),
            "attribute": ["neck"] * len(part),
        }
        path = folder / of_part.format(f"{start}-{folder.name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), path)
    return folder


def test_embeddings_are_compared_image_by_image_in_whatever_parts(tmp_path: Path) -> None:
    vectors = np.random.default_rng(2).random((5, 3))
    ours = write_embedded_folder(tmp_path / "a", [0, 1, 2, 3, 4], vectors, per_part=2)
    order = [3, 0, 4, 1, 2]
    theirs = write_embedded_folder(tmp_path / "b", order, vectors[order], per_part=5)
    assert compare_embeddings(ours, theirs, tolerance=0).verdict is IDENTICAL
    older = write_embedded_folder(tmp_path / "o", order, vectors[order], per_part=2, of_part=OLDER)
    assert compare_embeddings(older, ours, tolerance=0).verdict is IDENTICAL
    moved = vectors.copy()
    moved[2] += 0.25
    other = write_embedded_folder(tmp_path / "c", [0, 1, 2, 3, 4], moved, per_part=3)
    assert compare_embeddings(ours, other, tolerance=0.3).verdict is WITHIN
    assert "in neck " in compare_embeddings(ours, other, tolerance=0.1).detail
    fewer = write_embedded_folder(tmp_path / "d", [0, 1, 2, 3, 5], vectors, per_part=5)
    assert "other images" in compare_embeddings(ours, fewer, tolerance=9).detail
    assert compare_embeddings(ours, tmp_path / "none", tolerance=9).verdict is DIFFERENT


def test_a_value_that_is_left_out_does_not_count(tmp_path: Path) -> None:
    """The checksum in a model's description: its weights may differ within their tolerance."""
    ours, theirs = tmp_path / "ours.json", tmp_path / "theirs.json"
    files.write_json({"crc32": "0d559d9d", "model": {"embedding_dim": 8}}, ours)
    files.write_json({"crc32": "4ee9ebf2", "model": {"embedding_dim": 8}}, theirs)
    compare = partial(compare_metrics, ours, theirs, tolerance=0)
    assert compare().verdict is DIFFERENT
    assert compare(left_out=["crc32"]).verdict is IDENTICAL
    files.write_json({"crc32": "4ee9ebf2", "model": {"embedding_dim": 9}}, theirs)
    assert compare(left_out=["crc32"]).verdict is DIFFERENT


def test_prototypes_are_compared_value_by_value(tmp_path: Path) -> None:
    attributes = (Attribute(name="collar", values=("none", "rib", "unseen")),)
    recorded = random_prototypes(AttributeSchema(dataset="d", attributes=attributes), dim=4)
    found = recorded.attributes["collar"]
    found.vectors_VD[2] = np.nan
    write_prototypes(recorded, tmp_path / "a.parquet")

    def compared(vectors_VD: np.ndarray, values: tuple[str, ...] = found.values) -> Difference:
        again = replace(found, vectors_VD=vectors_VD.astype(np.float32), values=values)
        made = replace(recorded, attributes={"collar": again}, model="of other weights")
        write_prototypes(made, tmp_path / "b.parquet")
        return compare_prototypes(tmp_path / "a.parquet", tmp_path / "b.parquet", tolerance=1e-3)

    assert compared(found.vectors_VD).verdict == "identical"
    moved = found.vectors_VD.copy()
    moved[1, 3] += 0.0005
    assert compared(moved).verdict == "within tolerance"
    moved[1, 3] += 0.1
    assert compared(moved).verdict == "different"
    assert "collar=rib" in compared(moved).detail
    assert compared(np.full_like(moved, 0.5)).detail == (
        "only one of them has a vector of collar=unseen"
    )
    others = compared(found.vectors_VD, ("none", "rib", "new"))
    assert others.detail == "only one of them has collar=new"
