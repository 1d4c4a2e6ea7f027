"""A part of embeddings while it is made: of what earlier parts hold, and of batches.

Shape letters: K attributes, D embedding.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components import tables
from components.embedding.batches import TO_READ, attributes_of, embeddings_of
from components.embedding.earlier import Earlier, held_earlier
from components.embedding.embeddings import Numbers
from components.embedding.part_files import Recipe, WholeFile, made_rows, write_part


class PartInMaking:
    """A part that takes batches in any order until it is complete."""

    def __init__(
        self, key: str, items: pa.Table, out: Path, *, recipe: Recipe, earlier: Sequence[Earlier]
    ) -> None:
        """Looks for what earlier parts hold.

        Args:
            key: key of the part.
            items: its images: `tables.EMBEDDED_ITEMS` and their addresses.
            out: folder of the embeddings.
            recipe: what embeddings are made from.
            earlier: where there may be some.
        """
        self._key, self._items, self._out, self._recipe = key, items, out, recipe
        self._held = held_earlier(items, key, earlier)
        self._asked = self._lacking()
        self._missing = {image for images in self._asked.values() for image in images}
        self._made: dict[int, dict[str, Numbers]] = {}
        self._reasons: dict[int, tuple[str, str]] = {}

    @property
    def is_complete(self) -> bool:
        """Whether it can be written."""
        return not self._missing

    def batches(self, batch_size: int) -> Iterator[pa.Table]:
        """Yields what is to be embedded, as `TO_READ`: each image for the attributes it lacks."""
        for attributes, images in self._asked.items():
            rows = self._items.filter(pc.is_in(self._items["image"], pa.array(images, pa.int64())))
            asked = pa.repeat(pa.scalar([*attributes], pa.list_(pa.string())), len(rows))
            columns = [pa.repeat(self._key, len(rows)), asked, rows["image"], rows["address"]]
            table = pa.table(columns, schema=TO_READ)
            for start in range(0, len(table), batch_size):
                yield table.slice(start, batch_size)

    def add(self, batch: pa.Table) -> None:
        """Takes a batch of `embedded_schema`; idempotent."""
        names, embeddings_nKD = attributes_of(batch), embeddings_of(batch)
        columns = [batch[name].to_pylist() for name in ("image", "reason", "detail")]
        for image, reason, detail, embedding_KD in zip(*columns, embeddings_nKD, strict=True):
            self._missing.discard(image)
            if reason:
                self._reasons[image] = (reason, detail)
            else:
                self._made[image] = dict(zip(names, embedding_KD, strict=True))

    def write(self) -> None:
        """Writes the part."""
        images = self._items["image"].to_pylist()
        why = [self._reasons.get(image, (None, None)) for image in images]
        columns = [*self._items.drop_columns("address").columns, *zip(*why, strict=True)]
        record = pa.table(columns, schema=tables.EMBEDDING_RECORD)
        embedded = record.filter(pc.is_null(record["reason"])).select(["image", "path"])
        names = self._recipe.attributes if len(embedded) else ()
        vectors = {name: self._vectors(name, embedded) for name in names}
        write_part(self._out, self._key, record, vectors, recipe=self._recipe)

    def _lacking(self) -> dict[tuple[str, ...], list[int]]:
        """Returns the images that lack embeddings in earlier parts, by the attributes they lack."""
        lacking: dict[tuple[str, ...], list[int]] = {}
        for image in self._items["image"].to_pylist():
            held = {name for part in self._held if image in part.row_of for name in part.file_of}
            attributes = tuple(name for name in self._recipe.attributes if name not in held)
            if attributes:
                lacking.setdefault(attributes, []).append(image)
        return lacking

    def _vectors(self, attribute: str, images: pa.Table) -> pa.Table | WholeFile:
        """Returns an attribute's rows of images and paths, or the earlier file that is just that.

        Rows that are taken over say who made them.
        """
        held = [part for part in self._held if attribute in part.file_of]
        for part in held:
            if part.has_just(images):
                return part.file_of[attribute]
        numbers = images["image"].to_pylist()
        made = [image for image in numbers if attribute in self._made.get(image, ())]
        left, rows = {*numbers}.difference(made), []
        for part in held:
            taken = [image for image in part.row_of if image in left]
            rows += [part.rows(attribute, taken)] if taken else []
            left.difference_update(taken)
        assert not left, "every image was made, or held earlier"
        if made:
            vectors_mD = np.stack([self._made[image][attribute] for image in made])
            of_made = images.filter(pc.is_in(images["image"], pa.array(made, pa.int64())))
            rows.append(made_rows(of_made, attribute, vectors_mD, recipe=self._recipe))
        together = pa.concat_tables(rows).sort_by("image")
        return together.set_column(1, "path", images["path"])
