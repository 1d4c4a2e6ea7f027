"""Outputs made again compared with the recorded ones: weights, numbers and embeddings."""

import csv
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from components import files
from components.embedding.embeddings import VECTORS
from components.errors import HemlineError
from components.prototypes.prototypes import read_prototypes


class Agreement(StrEnum):
    """How two outputs compare."""

    IDENTICAL = "identical"
    WITHIN_TOLERANCE = "within tolerance"
    DIFFERENT = "different"
    NOT_COMPARED = "not compared"


@dataclass(frozen=True, kw_only=True)
class Tolerances:
    """The largest differences that pass: of a weight, of a component of an embedding, of a metric.

    Embeddings have unit length; metrics have their own units, such as percent points for MAP.
    """

    weights: float
    embeddings: float
    metrics: float


@dataclass(frozen=True)
class Difference:
    """A verdict, the largest difference, and where it is."""

    verdict: Agreement
    detail: str = ""


def compare_weights(recorded: Path, again: Path, *, tolerance: float) -> Difference:
    """Compares two safetensors files, tensor by tensor; equal ones are equal in every bit."""
    ours, theirs = load_file(recorded), load_file(again)
    if _shapes(ours) != _shapes(theirs):
        return Difference(Agreement.DIFFERENT, "the networks have different tensors")
    apart = {
        name: float((ours[name].double() - theirs[name].double()).abs().numpy().max(initial=0))
        for name in ours
    }
    same = all(torch.equal(_bits(ours[name]), _bits(theirs[name])) for name in ours)
    return _judge(apart, same=same, tolerance=tolerance)


def compare_metrics(
    recorded: Path, again: Path, *, tolerance: float, left_out: Collection[str] = ()
) -> Difference:
    """Compares the numbers of two JSON or CSV files, by their place in them."""
    ours, theirs = (
        {place: number for place, number in _numbers(path).items() if place not in left_out}
        for path in (recorded, again)
    )
    if odd := sorted(ours.keys() ^ theirs.keys()):
        return Difference(Agreement.DIFFERENT, f"only one of them has {odd[0]}")
    apart = {name: _distance(ours[name], theirs[name]) for name in ours}
    return _judge(apart, same=not any(apart.values()), tolerance=tolerance)


def compare_embeddings(recorded: Path, again: Path, *, tolerance: float) -> Difference:
    """Compares the vectors of two embeddings, image by image, whatever parts they are stored in."""
    ours, theirs = _tables(recorded), _tables(again)
    if odd := sorted(ours.keys() ^ theirs.keys()):
        return Difference(Agreement.DIFFERENT, f"only one of them has {odd[0]}")
    for name in ours:
        if not ours[name]["image"].equals(theirs[name]["image"]):
            return Difference(Agreement.DIFFERENT, f"{name}: other images")
    apart = {
        name: float(np.abs(_numbers_in(ours[name]) - _numbers_in(theirs[name])).max(initial=0))
        for name in ours
    }
    return _judge(apart, same=not any(apart.values()), tolerance=tolerance)


def compare_prototypes(recorded: Path, again: Path, *, tolerance: float) -> Difference:
    """Compares the vectors of two files of prototypes, value by value."""
    ours, theirs = (
        {
            f"{name}={value}": vector_D
            for name, found in read_prototypes(path).attributes.items()
            for value, vector_D in zip(found.values, found.vectors_VD, strict=True)
        }
        for path in (recorded, again)
    )
    if odd := sorted(ours.keys() ^ theirs.keys()):
        return Difference(Agreement.DIFFERENT, f"only one of them has {odd[0]}")
    for place in ours:
        if np.isnan(ours[place]).any() != np.isnan(theirs[place]).any():
            return Difference(Agreement.DIFFERENT, f"only one of them has a vector of {place}")
    apart = {
        place: float(np.nan_to_num(np.abs(ours[place] - theirs[place])).max(initial=0))
        for place in ours
    }
    return _judge(apart, same=not any(apart.values()), tolerance=tolerance)


def _judge(apart: Mapping[str, float], *, same: bool, tolerance: float) -> Difference:
    """Returns the verdict on differences by place, in their order."""
    if same:
        return Difference(Agreement.IDENTICAL)
    first = next((place for place, value in apart.items() if not value <= tolerance), None)
    worst = max(apart, key=lambda place: math.inf if math.isnan(apart[place]) else apart[place])
    largest = f"largest difference {apart[worst]:.3g} in {worst}"
    bound = f"(tolerance {tolerance:g})"
    if first is None:
        return Difference(Agreement.WITHIN_TOLERANCE, f"{largest} {bound}")
    begins = "" if first == worst else f"; first in {first}: {apart[first]:.3g}"
    return Difference(Agreement.DIFFERENT, f"{largest}{begins} {bound}")


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[Any, ...]]:
    """Returns shape and type of tensors by name."""
    return {name: (*tensor.shape, tensor.dtype) for name, tensor in tensors.items()}


def _bits(tensor: Tensor) -> Tensor:
    return tensor.flatten().view(torch.uint8)


def _distance(ours: Any, theirs: Any) -> float:
    if ours == theirs:
        return 0.0
    if not (isinstance(ours, float) and isinstance(theirs, float)):
        return math.inf
    return 0.0 if math.isnan(ours) and math.isnan(theirs) else abs(ours - theirs)


def _numbers(path: Path) -> dict[str, Any]:
    """Returns every value of a file by its place; those that are numbers as floats."""
    if path.suffix == ".json":
        return dict(_flatten(files.read_json(path)))
    if path.suffix == ".csv":
        with path.open(newline="") as file:
            return dict(_flatten(list(csv.DictReader(file))))
    raise HemlineError(f"{path} is neither JSON nor CSV: its numbers cannot be compared")


def _flatten(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(value, dict | list):
        yield place, _number(value)
        return
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        yield from _flatten(item, f"{place}.{key}" if place else str(key))


def _number(value: Any) -> Any:
    if isinstance(value, bool) or value is None:
        return value
    try:
        return float(value)
    except ValueError:
        return value


def _tables(folder: Path) -> dict[str, pa.Table]:
    """Returns image and embedding by attribute, ordered by image."""
    paths = [*folder.glob(f"{VECTORS}/*.parquet")] or [*folder.glob("attribute=*/part-*.parquet")]
    parts: dict[str, list[pa.Table]] = {}
    for path in sorted(paths):
        part = pq.ParquetFile(path).read(["image", "attribute", "embedding"])
        parts.setdefault(part["attribute"][0].as_py(), []).append(part)
    return {
        attribute: pa.concat_tables(found).select(["image", "embedding"]).sort_by("image")
        for attribute, found in parts.items()
    }


def _numbers_in(table: pa.Table) -> NDArray[np.float32]:
    """Returns the numbers of a table's embeddings, one behind the other."""
    flat = table["embedding"].combine_chunks().flatten()
    return flat.to_numpy(zero_copy_only=False).astype(np.float32)
