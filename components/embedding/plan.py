"""Which parts an embedded catalogue will have, and which of them lie there already.

Part i covers the image numbers [i * images_per_part, (i + 1) * images_per_part). Its key holds i
and a hash of its images and of the recipe, so that a part that is there with its key is done. A
part that must be made again takes over the images that it held already: new ones alone are
embedded.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from components import tables
from components.embedding.part_files import is_whole
from components.embedding.source import Source


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that an embedding comes from, beside its image.

    Attributes:
        model_name: of the registry.
        model_version: of the registry.
        model_sha256: of the model's exported graph.
        image_size_px: side of the pixels that the model takes.
        attributes: that images are embedded for, names by their number in the model's schema.
        precision: fp32 or bf16.
    """

    model_name: str
    model_version: int
    model_sha256: str
    image_size_px: int
    attributes: dict[str, int]
    precision: str

    @property
    def digest(self) -> str:
        """A hash of it all."""
        content = json.dumps(asdict(self))
        return hashlib.sha256(content.encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class PartPlan:
    """A part to be.

    Attributes:
        key: of the part.
        items: its images, `tables.EMBEDDED_ITEMS`.
        addresses: of them.
        is_done: whether it lies there.
    """

    key: str
    items: pa.Table
    addresses: Sequence[str]
    is_done: bool


def plan_parts(
    source: Source, out: Path, *, recipe: Recipe, images_per_part: int
) -> list[PartPlan]:
    """Returns the parts of a catalogue.

    Args:
        source: the images.
        out: folder of the embedded catalogue.
        recipe: how they are embedded.
        images_per_part: image numbers that a part covers.
    """
    plain = source.items.select(tables.EMBEDDED_ITEMS.names)
    index = plain["image"].to_numpy() // images_per_part
    starts = np.flatnonzero(np.diff(index, prepend=-1))
    ends = np.append(starts, len(index))[1:]
    plans = []
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        items = plain.slice(start, end - start)
        key = f"{index[start]:05d}-{_digest(items, recipe)}"
        is_done = is_whole(out, key, attributes=list(recipe.attributes))
        addresses = source.addresses[start:end]
        plans.append(PartPlan(key=key, items=items, addresses=addresses, is_done=is_done))
    return plans


def _digest(items: pa.Table, recipe: Recipe) -> str:
    columns = [json.dumps(items[name].to_pylist()) for name in items.column_names]
    return hashlib.sha256("\n".join([recipe.digest, *columns]).encode()).hexdigest()[:16]
