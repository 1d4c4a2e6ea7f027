"""Batches of images on their way through the job: to be read, read, and embedded.

All images of a batch are of one part, and are asked for the same attributes.

Shape letters: n images of a batch, S side in pixels, K attributes, D embedding.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pyarrow as pa

from components.embedding.embeddings import Numbers
from components.embedding.part_files import Recipe
from components.embedding.source import Reader

_ASKED = pa.schema({"part": pa.string(), "attributes": pa.list_(pa.string()), "image": pa.int64()})

TO_READ = _ASKED.append(pa.field("address", pa.string()))
"""A batch on its way to a reader.

part is the part's key, attributes are those to embed for: the first row has them for all. address
is what the reader takes.
"""

_READ = _ASKED.append(pa.field("reason", pa.string())).append(pa.field("detail", pa.string()))

Embed = Callable[[list[pa.Table], Reader, Recipe], Iterator[pa.Table]]
"""Takes batches of `TO_READ`, yields them as `embedded_schema` in any order."""


def to_read(images: pa.Table, *, part: str, attributes: Sequence[str]) -> pa.Table:
    """Returns images with numbers and addresses as a batch of a part, of `TO_READ`."""
    for_all = [
        pa.concat_arrays([pa.array([value], kind), pa.nulls(len(images) - 1, kind)])
        for value, kind in zip((part, [*attributes]), TO_READ.types[:2], strict=True)
    ]
    return pa.table([*for_all, images["image"], images["address"]], schema=TO_READ)


def read_schema(image_size_px: int) -> pa.Schema:
    """Returns the schema of a batch that was read, on its way to an actor.

    Images that could not be read have a reason and a detail, as in `tables.QUARANTINE`, and pixels
    of zeros; others have nulls.
    """
    pixels_type = pa.fixed_shape_tensor(pa.uint8(), (image_size_px, image_size_px, 3))
    return _READ.append(pa.field("pixels", pixels_type))


def embedded_schema(storage: str) -> pa.Schema:
    """Returns the schema of a batch that was embedded: embeddings [K, D] in place of pixels.

    They are lists of K * D numbers, of the type `storage`: batches differ in K, and one schema fits
    them all.
    """
    return _READ.append(pa.field("embedding", pa.list_(pa.from_numpy_dtype(storage))))


def attributes_of(batch: pa.Table) -> list[str]:
    """Returns the attributes that the images of a batch are asked for."""
    attributes: list[str] = batch["attributes"][0].as_py()
    return attributes


def embedded_batch(batch: pa.Table, embeddings_nKD: Numbers) -> pa.Table:
    """Returns a batch of `read_schema` as `embedded_schema`."""
    num_images, num_attributes, embedding_dim = embeddings_nKD.shape
    ends = np.arange(num_images + 1, dtype=np.int32) * (num_attributes * embedding_dim)
    lists = pa.ListArray.from_arrays(ends, pa.array(embeddings_nKD.ravel()))
    columns = [*batch.drop_columns("pixels").columns, lists]
    return pa.table(columns, schema=embedded_schema(embeddings_nKD.dtype.name))


def embeddings_of(batch: pa.Table) -> Numbers:
    """Returns the embeddings [n, K, D] of a batch of `embedded_schema`.

    They are a view of it: who keeps them keeps the batch in Ray's object store.
    """
    flat: Numbers = batch["embedding"].combine_chunks().flatten().to_numpy()
    return flat.reshape(len(batch), len(attributes_of(batch)), -1)
