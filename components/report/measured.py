"""What an evaluation knows when its report is written."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.attributes import AttributeSchema
from components.evaluation.attention import Attend
from components.evaluation.evaluation import AttributeResult
from components.images.store import ImageStore
from components.provenance.origin import Champion, Origin


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A network, what it was measured on, and what came of it.

    Attributes:
        schema: attributes that the network knows.
        network: what the network is, by the names of the section `model`.
        origin: where the training run comes from.
        champion: the version in use; None where there is none.
        num_catalog_images: images of the data set.
        splits: `tables.SPLITS`.
        triplets: `tables.TRIPLETS` of the test split.
        curve: `tables.TRAINING`.
        store: pixels of the images.
        attend: where the network looks.
        images: ascending numbers of the test images [n].
        embeddings: theirs, of unit length [n, N, D].
        results: per attribute (position in the schema).
        figures: as `evaluation.report` and `attention.add_attention` make them.
    """

    schema: AttributeSchema
    network: Mapping[str, Any]
    origin: Origin
    champion: Champion | None
    num_catalog_images: int
    splits: pa.Table
    triplets: pa.Table
    curve: pa.Table
    store: ImageStore
    attend: Attend
    images: NDArray[np.int64]
    embeddings: NDArray[np.float32]
    results: Mapping[int, AttributeResult]
    figures: Mapping[str, Any]
