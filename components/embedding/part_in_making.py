"""A part of embeddings while it is made: of what earlier parts hold, and of batches.

Shape letters: m images of a part, e of them embedded, n of a batch; K attributes, D embedding.
"""

from collections.abc import Iterator, Sequence
from itertools import compress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from components import tables
from components.embedding.batches import attributes_of, embeddings_of, to_read
from components.embedding.earlier import Earlier, held_earlier
from components.embedding.embeddings import Numbers
from components.embedding.part_files import Recipe, WholeFile, WrittenPart, made_rows, write_part


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
        self._images_m = items["image"].to_numpy()
        self._held = held_earlier(items, key, earlier)
        self._lacks_Km = np.stack([~self._is_held_m(name) for name in recipe.attributes])
        self._is_missing_m = np.asarray(self._lacks_Km.any(axis=0))
        self._vectors_mD: dict[str, Numbers] = {}
        self._is_made_Km = np.zeros(self._lacks_Km.shape, np.bool_)
        self._reasons: dict[int, tuple[str, str]] = {}

    @property
    def num_missing(self) -> int:
        """How many images have to be embedded before it can be written."""
        return int(self._is_missing_m.sum())

    def batches(self, batch_size: int) -> Iterator[pa.Table]:
        """Yields what is to be embedded, as `TO_READ`: each image for the attributes it lacks."""
        patterns_Kp, first_p, pattern_m = np.unique(
            self._lacks_Km, axis=1, return_index=True, return_inverse=True
        )
        for pattern in np.argsort(first_p):
            attributes = [*compress(self._recipe.attributes, patterns_Kp[:, pattern])]
            rows = np.flatnonzero(pattern_m.ravel() == pattern)
            for start in range(0, len(rows) if attributes else 0, batch_size):
                batch = self._items.take(rows[start : start + batch_size])
                yield to_read(batch, part=self._key, attributes=attributes)

    def add(self, batch: pa.Table) -> None:
        """Takes a batch of `embedded_schema`; idempotent."""
        names, embeddings_nKD = attributes_of(batch), embeddings_of(batch)
        rows_n = np.searchsorted(self._images_m, batch["image"].to_numpy())
        is_read_n = pc.is_null(batch["reason"]).to_numpy()
        made = rows_n[is_read_n]
        places = [place for place, name in enumerate(self._recipe.attributes) if name in names]
        self._is_made_Km[np.ix_(places, made)] = True
        for name, embeddings_nD in zip(names, embeddings_nKD.swapaxes(0, 1), strict=True):
            if name not in self._vectors_mD:
                shape = (len(self._images_m), embeddings_nKD.shape[-1])
                self._vectors_mD[name] = np.empty(shape, embeddings_nKD.dtype)
            self._vectors_mD[name][made] = embeddings_nD[is_read_n]
        for row in batch.select(["image", "reason", "detail"]).filter(~is_read_n).to_pylist():
            self._reasons[row["image"]] = (row["reason"], row["detail"])
        self._is_missing_m[rows_n] = False

    def write(self) -> WrittenPart:
        """Writes the part and returns what the manifest says of it."""
        why = [self._reasons.get(image, (None, None)) for image in self._images_m.tolist()]
        columns = [*self._items.drop_columns("address").columns, *zip(*why, strict=True)]
        record = pa.table(columns, schema=tables.EMBEDDING_RECORD)
        embedded = record.filter(pc.is_null(record["reason"])).select(["image", "path"])
        names = self._recipe.attributes if len(embedded) else ()
        vectors = {name: self._vectors(name, embedded) for name in names}
        return write_part(self._out, self._key, record, vectors, recipe=self._recipe)

    def _is_held_m(self, attribute: str) -> NDArray[np.bool_]:
        """Returns which images have an embedding in an earlier part."""
        held = [part.images_h for part in self._held if attribute in part.file_of]
        return np.isin(self._images_m, np.concatenate(held) if held else ())

    def _vectors(self, attribute: str, images: pa.Table) -> pa.Table | WholeFile:
        """Returns an attribute's rows of images and paths, or the earlier file that is just that.

        Rows that are taken over say who made them.
        """
        held = [part for part in self._held if attribute in part.file_of]
        for part in held:
            if part.has_just(images):
                return part.file_of[attribute]
        numbers_e = images["image"].to_numpy()
        rows_e = np.searchsorted(self._images_m, numbers_e)
        is_made_e = self._is_made_Km[[*self._recipe.attributes].index(attribute), rows_e]
        left, rows = numbers_e[~is_made_e], []
        for part in held:
            taken = left[np.isin(left, part.images_h)]
            rows += [part.rows(attribute, taken)] if len(taken) else []
            left = left[np.isin(left, taken, invert=True)]
        assert not len(left), "every image was made, or held earlier"
        if is_made_e.any():
            vectors_D = self._vectors_mD[attribute][rows_e[is_made_e]]
            of_made = images.filter(is_made_e)
            rows.append(made_rows(of_made, attribute, vectors_D, recipe=self._recipe))
        together = pa.concat_tables(rows).sort_by("image")
        return together.set_column(1, "path", images["path"])
