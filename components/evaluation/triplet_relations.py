"""Triplets of a split: how many are in order, and some to show.

Shape letters: T triplets.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from components.errors import HemlineError
from components.evaluation.examples import evenly_spaced

_SLOTS = ("anchor", "positive", "negative")
_TRIPLETS_AT_ONCE = 2**13  # 100 MB of embeddings of 1,024 dimensions


class Triplet(NamedTuple):
    """Image numbers of a triplet, and the cosines of its anchor to the other two."""

    anchor: int
    positive: int
    negative: int
    to_positive: float
    to_negative: float


@dataclass(frozen=True, kw_only=True)
class TripletExamples:
    """Triplets of an attribute.

    Attributes:
        num_triplets: number of all triplets.
        num_in_order: number of those with s(anchor, positive) > s(anchor, negative).
        in_order: some of these, evenly spaced from the widest to the narrowest margin, which is
            s(anchor, positive) - s(anchor, negative).
        out_of_order: the others with the most negative margins, one per anchor.
    """

    num_triplets: int
    num_in_order: int
    in_order: list[Triplet]
    out_of_order: list[Triplet]


def evaluate_triplets(
    triplets: pa.Table, images: NDArray[np.int64], embeddings: NDArray[np.float32]
) -> float:
    """Returns the triplet relation accuracy on the given triplets of all attributes, in percent.

    The share of triplets with s(anchor, positive) > s(anchor, negative), s the cosine; a tie counts
    as wrong. Source: AG-MAN section 3.1.

    Args:
        triplets: `tables.TRIPLETS`, drawn or published.
        images: ascending numbers of the embedded images [n].
        embeddings: embeddings of unit length [n, N, D].

    Raises:
        HemlineError: there is no triplet, or an image of one is not embedded.
    """
    to_positive_T, to_negative_T = _similarities(triplets, images, embeddings)
    return 100 * float((to_positive_T > to_negative_T).mean())


def triplet_examples(
    triplets: pa.Table,
    attribute: int,
    images: NDArray[np.int64],
    embeddings: NDArray[np.float32],
    *,
    limit: int,
) -> TripletExamples | None:
    """Returns up to `limit` triplets of either kind; None where the attribute has no triplet.

    Other arguments and errors are those of `evaluate_triplets`.
    """
    own = triplets.filter(pc.field("attribute") == attribute)
    if not own.num_rows:
        return None
    shown = own.select(_SLOTS).to_pandas()
    shown["to_positive"], shown["to_negative"] = _similarities(own, images, embeddings)
    margins = shown["to_positive"] - shown["to_negative"]
    is_in_order = shown["to_positive"] > shown["to_negative"]
    in_order = evenly_spaced(margins[is_in_order].to_numpy(), limit)
    worst = margins[~is_in_order].sort_values(kind="stable").index
    return TripletExamples(
        num_triplets=len(shown),
        num_in_order=int(is_in_order.sum()),
        in_order=_rows(shown[is_in_order].iloc[in_order]),
        out_of_order=_rows(shown.loc[worst].drop_duplicates("anchor").head(limit)),
    )


def _rows(shown: pd.DataFrame) -> list[Triplet]:
    return [Triplet._make(row) for row in shown.itertuples(index=False)]


def _similarities(
    triplets: pa.Table, images: NDArray[np.int64], embeddings: NDArray[np.float32]
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Returns the similarity of each anchor to its positive [T] and to its negative [T].

    Arguments and errors are those of `evaluate_triplets`.
    """
    attribute_T = triplets["attribute"].to_numpy()
    numbers_T3 = np.stack([triplets[slot].to_numpy() for slot in _SLOTS], axis=1)
    if not len(numbers_T3):
        raise HemlineError("there is no triplet to evaluate: `dvc repro triplets`")
    if not np.isin(numbers_T3, images).all():
        raise HemlineError("triplets name images outside their split: `dvc repro triplets`")
    places_T3 = np.searchsorted(images, numbers_T3)
    parts = []
    for start in range(0, len(places_T3), _TRIPLETS_AT_ONCE):
        part = slice(start, start + _TRIPLETS_AT_ONCE)
        anchors_TD, *others_2TD = embeddings[places_T3[part].T, attribute_T[part]]
        parts.append([(anchors_TD * others_TD).sum(axis=1) for others_TD in others_2TD])
    to_positive_T, to_negative_T = np.concatenate(parts, axis=1)
    return to_positive_T, to_negative_T
