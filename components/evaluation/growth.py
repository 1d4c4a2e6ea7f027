"""How well attributes that were grown are found, beside what was there without them.

The attributes that the network knew before are spaces too: an image may be compared by any of them,
or by all together. What growing adds is what lies above the best of these.

Shape letters: n images, N attributes of the schema, D embedding.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from components.attributes import AttributeSchema
from components.evaluation.evaluation import (
    AttributeResult,
    means_of,
    queries_and_gallery,
    result_of,
)

_SCORES = ("map", "map_low", "map_high", "random_map")


def evaluate_growth(
    splits: pa.Table,
    split: str,
    images: NDArray[np.int64],
    embeddings_nND: NDArray[np.float32],
    *,
    schema: AttributeSchema,
    known: Sequence[str | None],
) -> dict[str, Any]:
    """Returns MAP of each grown attribute in its own space, in the best known one, and in all.

    In percent, with 95 % intervals over queries and a random ranking's. The best known attribute is
    that of the highest MAP on this split, so that it is flattered; all known together are compared
    by the mean of their similarities. Attributes without a query that has an item to find are left
    out.

    Args:
        splits: `tables.SPLITS`.
        split: valid or test.
        images: ascending numbers of the embedded images [n].
        embeddings_nND: embeddings of unit length.
        schema: all attributes.
        known: those that were not grown; None for one that the network does not give any more.
    """
    splits = splits.filter(pc.field("split") == split)
    places = {name: schema.index(name) for name in known if name in schema.names}
    together_nX = embeddings_nND[:, [*places.values()]].reshape(len(images), -1)
    found: dict[str, Any] = {}
    for number, name in enumerate(schema.names):
        if name in known or not pc.any(pc.equal(splits["attribute"], number)).as_py():
            continue

        def scores(vectors_nX: NDArray[np.float32], number: int = number) -> AttributeResult:
            shape = (len(images), number + 1, vectors_nX.shape[1])
            shown = np.broadcast_to(vectors_nX[:, None], shape)
            return result_of(*queries_and_gallery(splits, split, number, images, shown))

        own = scores(embeddings_nND[:, number])
        if not len(own.ap_Q):
            continue
        spaces = {other: scores(embeddings_nND[:, place]) for other, place in places.items()}
        best = max(spaces, key=lambda other: spaces[other].ap_Q.mean(), default=None)
        found[name] = {"own": _shown(own)}
        if best is not None:
            found[name] |= {
                "best_known": {"attribute": best, **_shown(spaces[best])},
                "all_known": _shown(scores(together_nX)),
            }
    return found


def _shown(result: AttributeResult) -> dict[str, float]:
    means = means_of(result)
    return {name: means[name] for name in _SCORES}


def growth_text(name: str, row: Mapping[str, Any]) -> str:
    """Returns the figures of a grown attribute in a sentence."""
    own = row["own"]
    text = (
        f"{name} was grown: MAP {own['map']:.2f} ({own['map_low']:.1f} to {own['map_high']:.1f}), "
        f"random {own['random_map']:.2f}"
    )
    if "best_known" not in row:
        return text
    best, together = row["best_known"], row["all_known"]
    return (
        f"{text}; by the best attribute that was known before, {best['attribute']}, "
        f"{best['map']:.2f} ({best['map_low']:.1f} to {best['map_high']:.1f}), by all of them "
        f"together {together['map']:.2f} ({together['map_low']:.1f} to {together['map_high']:.1f})"
    )
