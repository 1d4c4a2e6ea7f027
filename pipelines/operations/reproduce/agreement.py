"""What was made again beside what was recorded: weights, numbers and embeddings, side by side."""

import csv
import math
from collections.abc import Iterator, Mapping
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
from components.errors import HemlineError


class Agreement(StrEnum):
    """How two outputs compare."""

    IDENTICAL = "identical"
    WITHIN_TOLERANCE = "within tolerance"
    DIFFERENT = "different"
    NOT_COMPARED = "not compared"


@dataclass(frozen=True, kw_only=True)
class Tolerances:
    """The largest differences that pass.

    Attributes:
        weights: largest difference of a weight.
        embeddings: largest difference of a component of an embedding, which has unit length.
        metrics: largest difference of a metric, in its own unit: percent points for MAP.
    """

    weights: float
    embeddings: float
    metrics: float


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A verdict, the largest difference, and where it is."""

    verdict: Agreement
    detail: str


def compare_weights(recorded: Path, again: Path, *, tolerance: float) -> Difference:
    """Compares two safetensors files, tensor by tensor; equal ones are equal in every bit."""
    ours, theirs = load_file(recorded), load_file(again)
    if _shapes(ours) != _shapes(theirs):
        return Difference(verdict=Agreement.DIFFERENT, detail="the networks have other tensors")
    apart = {name: _apart(ours[name], theirs[name]) for name in ours}
    same = all(_same_bits(ours[name], theirs[name]) for name in ours)
    return _judge(apart, same=same, tolerance=tolerance)


def compare_metrics(recorded: Path, again: Path, *, tolerance: float) -> Difference:
    """Compares the numbers of two JSON or CSV files, by their place in them."""
    ours, theirs = _numbers(recorded), _numbers(again)
    if ours.keys() != theirs.keys():
        odd = sorted(ours.keys() ^ theirs.keys())[0]
        return Difference(verdict=Agreement.DIFFERENT, detail=f"only one of them has {odd}")
    apart = {name: _distance(ours[name], theirs[name]) for name in ours}
    return _judge(apart, same=not any(apart.values()), tolerance=tolerance)


def compare_embeddings(recorded: Path, again: Path, *, tolerance: float) -> Difference:
    """Compares the vectors of two embeddings, image by image; who made them may differ."""
    ours, theirs = _vectors(recorded), _vectors(again)
    for name in sorted({*ours, *theirs}):
        if name not in ours or name not in theirs:
            return Difference(verdict=Agreement.DIFFERENT, detail=f"only one of them has {name}")
        if not np.array_equal(ours[name].images, theirs[name].images):
            return Difference(verdict=Agreement.DIFFERENT, detail=f"{name}: other images")
    apart = {
        name: float(np.abs(ours[name].embeddings - theirs[name].embeddings).max(initial=0))
        for name in ours
    }
    return _judge(apart, same=not any(apart.values()), tolerance=tolerance)


def _judge(apart: Mapping[str, float], *, same: bool, tolerance: float) -> Difference:
    """Returns the verdict on differences by place, in their order."""
    if same:
        return Difference(verdict=Agreement.IDENTICAL, detail="")
    first = next((place for place, value in apart.items() if not value <= tolerance), None)
    worst = max(apart, key=lambda place: math.inf if math.isnan(apart[place]) else apart[place])
    largest = f"largest difference {apart[worst]:.3g} in {worst}"
    if first is None:
        return Difference(
            verdict=Agreement.WITHIN_TOLERANCE, detail=f"{largest} (tolerance {tolerance:g})"
        )
    begins = "" if first == worst else f"; first in {first}: {apart[first]:.3g}"
    return Difference(
        verdict=Agreement.DIFFERENT, detail=f"{largest}{begins} (tolerance {tolerance:g})"
    )


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[Any, ...]]:
    """Returns shape and type of tensors by name."""
    return {name: (*tensor.shape, tensor.dtype) for name, tensor in tensors.items()}


def _apart(ours: Tensor, theirs: Tensor) -> float:
    if ours.numel() == 0:
        return 0.0
    return float((ours.double() - theirs.double()).abs().max())


def _same_bits(ours: Tensor, theirs: Tensor) -> bool:
    return torch.equal(
        ours.contiguous().view(-1).view(torch.uint8), theirs.contiguous().view(-1).view(torch.uint8)
    )


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


@dataclass(frozen=True, kw_only=True)
class _Vectors:
    """Embeddings of one attribute [N, D] in the order of the images' numbers [N]."""

    images: NDArray[np.int64]
    embeddings: NDArray[np.float32]


def _vectors(folder: Path) -> dict[str, _Vectors]:
    """Returns the embeddings of an embedded folder by the name of the attribute's folder."""
    found = {}
    for part_of in sorted(folder.glob("attribute=*")):
        parts = [pq.ParquetFile(path) for path in sorted(part_of.glob("part-*.parquet"))]
        table = pa.concat_tables([part.read(["image", "embedding"]) for part in parts])
        table = table.sort_by("image")
        flat = table["embedding"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        found[part_of.name] = _Vectors(
            images=table["image"].to_numpy(),
            embeddings=flat.astype(np.float32).reshape(table.num_rows, -1),
        )
    return found
