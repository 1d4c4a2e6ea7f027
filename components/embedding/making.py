"""Parts of an embedded catalogue in the making, and the catalogue when all of them are made.

Shape letters: K attributes.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from components import files, tables
from components.embedding.embeddings import (
    ITEMS,
    QUARANTINE,
    Embeddings,
    Part,
    part_path,
    read_vectors,
    write_embeddings,
)
from components.embedding.part_files import (
    held_before,
    is_whole,
    read_held,
    read_record,
    remove_unnamed,
    write_part,
)
from components.embedding.source import Source
from components.errors import HemlineError


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
        key = f"{index[start]:05d}-{_part_digest(items, recipe)}"
        is_done = is_whole(out, key, attributes=list(recipe.attributes))
        addresses = source.addresses[start:end]
        plans.append(PartPlan(key=key, items=items, addresses=addresses, is_done=is_done))
    return plans


def _part_digest(items: pa.Table, recipe: Recipe) -> str:
    columns = [json.dumps(items[name].to_pylist()) for name in items.column_names]
    return hashlib.sha256("\n".join([recipe.digest, *columns]).encode()).hexdigest()[:16]


class PartInMaking:
    """A part on its way: takes batches in any order until it is complete."""

    def __init__(self, plan: PartPlan, out: Path, recipe: Recipe) -> None:
        self._plan, self._out, self._recipe = plan, out, recipe
        self._held = held_before(
            plan.items, out, plan.key, attributes=list(recipe.attributes), recipe=recipe.digest
        )
        self._missing = {*np.flatnonzero(self._held.keys_n == "").tolist()}
        self._embeddings: dict[int, NDArray[np.float16]] = {}
        self._reasons: dict[int, tuple[str, str]] = {}

    @property
    def is_complete(self) -> bool:
        """Whether it can be written."""
        return not self._missing

    def batches(self, batch_size: int) -> Iterator[dict[str, Any]]:
        """Yields what is to be embedded: places in the part, numbers and addresses."""
        images_n = self._plan.items["image"].to_numpy()
        missing = sorted(self._missing)
        for start in range(0, len(missing), batch_size):
            places = missing[start : start + batch_size]
            yield {
                "key": self._plan.key,
                "places": places,
                "images": images_n[places],
                "addresses": [self._plan.addresses[place] for place in places],
            }

    def add(self, batch: dict[str, Any]) -> None:
        """Takes a batch that was embedded; a second time, it changes nothing."""
        columns = [batch[name] for name in ("places", "reasons", "details", "embeddings")]
        for place, reason, detail, embedding_KD in zip(*columns, strict=True):
            self._missing.discard(int(place))
            if reason:
                self._reasons[int(place)] = (reason, detail)
            else:
                self._embeddings[int(place)] = embedding_KD

    def write(self) -> None:
        """Writes the part."""
        recipe = self._recipe
        names = list(recipe.attributes)
        (places_h,) = self._held.keys_n.nonzero()
        if len(places_h):
            held_hKD = read_held(self._held, self._out, attributes=names)
            self._embeddings.update(zip(places_h.tolist(), held_hKD, strict=True))
        num_images = len(self._plan.items)
        why = [self._reasons.get(place, (None, None)) for place in range(num_images)]
        record = self._plan.items
        for index, name in enumerate(("reason", "detail")):
            record = record.append_column(name, pa.array([row[index] for row in why], pa.string()))
        write_part(
            self._out,
            self._plan.key,
            record,
            np.stack([self._embeddings[place] for place in sorted(self._embeddings)])
            if self._embeddings
            else None,
            attributes=names,
            model_name=recipe.model_name,
            model_version=recipe.model_version,
            recipe=recipe.digest,
        )


def conclude(source: Source, plans: Sequence[PartPlan], out: Path, *, recipe: Recipe) -> Embeddings:
    """Writes items, quarantine and manifest, and removes what they do not name."""
    keys = [plan.key for plan in plans]
    records = {key: read_record(out, key) for key in keys}
    everything = pa.concat_tables(records.values())
    unread = everything.filter(pc.is_valid(everything["reason"]))
    counts = {key: record["reason"].null_count for key, record in records.items()}
    parts = tuple(Part(key=key, num_images=count) for key, count in counts.items())
    if len(unread) == len(everything):
        raise HemlineError(f"no image can be read; first: {unread.slice(0, 1).to_pylist()[0]}")
    embedded = pc.is_null(everything["reason"])
    files.write_table(source.items.filter(embedded), out / ITEMS, schema=source.items.schema)
    quarantined = unread.select(tables.QUARANTINE.names).to_pylist()
    quarantine = tables.quarantine_table(tuple(row.values()) for row in quarantined)
    files.write_table(quarantine, out / QUARANTINE, schema=tables.QUARANTINE)
    attributes = tuple(recipe.attributes)
    key = next(part.key for part in parts if part.num_images)
    first = read_vectors(part_path(out, attributes[0], key))
    catalogue = Embeddings(
        folder=out,
        model_name=recipe.model_name,
        model_version=recipe.model_version,
        model_sha256=recipe.model_sha256,
        precision=recipe.precision,
        attributes=attributes,
        embedding_dim=first.embeddings_nD.shape[1],
        root=source.root,
        digest=_digest(source.items),
        num_quarantined=len(quarantined),
        parts=parts,
    )
    write_embeddings(catalogue)
    remove_unnamed(out, set(keys), attributes=attributes)
    return catalogue


def _digest(items: pa.Table) -> str:
    """Returns a hash of the items' paths and contents."""
    columns = [json.dumps(items[name].to_pylist()) for name in ("path", "content")]
    return hashlib.sha256("\n".join(columns).encode()).hexdigest()
