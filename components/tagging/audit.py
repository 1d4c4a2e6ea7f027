"""Tags beside the labels that there are: how often right, how honest, and which labels look wrong.

Shape letters: n labelled items, V values of an attribute, D embedding.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from components.attributes import AttributeSchema
from components.embedding.embeddings import Numbers, Vectors
from components.prototypes.prototypes import Calibration, Prototypes, ValueVectors
from components.prototypes.tags import Tags, calibration_error, logits, tag

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True, kw_only=True)
class LabelledTags:
    """An attribute's tags of the items that have labels of it.

    Attributes:
        attribute: name of the attribute.
        values: names of its values.
        images_n: image numbers.
        splits_n: their splits.
        has_nV: which values each has.
        tags: most likely values.
        log_odds_n: logarithm of how many times as likely the most likely value is as the most
            likely one of the labels; 0 where it is one of them. NaN where no label of the item has
            a prototype: then nothing says how likely it is.
    """

    attribute: str
    values: tuple[str, ...]
    images_n: NDArray[np.int64]
    splits_n: NDArray[np.str_]
    has_nV: NDArray[np.bool_]
    tags: Tags
    log_odds_n: NDArray[np.float64]

    @property
    def is_right_n(self) -> NDArray[np.bool_]:
        """Whether the most likely value is one of the labels."""
        return np.asarray(np.take_along_axis(self.has_nV, self.tags.value_n[:, None], axis=1)[:, 0])


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """How often an attribute's tags are right in one split; shares in [0, 1].

    Attributes:
        split: train, valid or test.
        num_items: items with a label.
        accuracy: share whose most likely value is one of their labels.
        most_frequent: the same, if every item had the value that most training items have.
        calibration_error: `prototypes.tags.calibration_error`.
    """

    split: str
    num_items: int
    accuracy: float
    most_frequent: float
    calibration_error: float


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """A label that its item's vector contradicts; labels are several where an item has several."""

    image: int
    split: str
    attribute: str
    labels: tuple[str, ...]
    value: str
    confidence: float
    log_odds: float


def labelled_tags(
    vectors: Iterable[Vectors],
    prototypes: Prototypes,
    splits: pa.Table,
    schema: AttributeSchema,
    attribute: str,
) -> LabelledTags:
    """Returns the tags of an attribute's labelled items that are embedded, a part at a time.

    Values that came into the catalog after the model was trained are none that it can name.

    Args:
        vectors: embeddings for the attribute by the model of the prototypes, in parts.
        prototypes: the prototypes.
        splits: `tables.SPLITS`.
        schema: the catalog's, which the splits' numbers are of.
        attribute: name of the attribute.
    """
    found, calibration = prototypes.attributes[attribute], prototypes.calibrations[attribute]
    labels = splits.filter(pc.field("attribute") == schema.index(attribute)).to_pandas()
    names = schema.attributes[schema.index(attribute)].values
    labels["place"] = labels["value"].map(
        {place: found.values.index(x) for place, x in enumerate(names) if x in found.values}
    )
    parts = []
    for images_n, vectors_nD in vectors:
        rows = np.flatnonzero(np.isin(images_n, labels["image"]))
        has_nV = _has(labels, images_n[rows], len(found.values))
        tags = tag(vectors_nD[rows], found, calibration)
        odds_n = _log_odds(vectors_nD[rows], has_nV, found, calibration)
        parts.append((images_n[rows], has_nV, odds_n, *vars(tags).values()))
    images_n, has_nV, odds_n, *tags_n = map(np.concatenate, zip(*parts, strict=True))
    split_of = labels.drop_duplicates("image").set_index("image")["split"]
    return LabelledTags(
        attribute=attribute,
        values=found.values,
        images_n=images_n,
        splits_n=split_of.loc[images_n].to_numpy(str),
        has_nV=has_nV,
        tags=Tags(**dict(zip(Tags.__dataclass_fields__, tags_n, strict=True))),
        log_odds_n=odds_n,
    )


def accuracies(found: LabelledTags) -> list[Accuracy]:
    """Returns how often tags are right in each split that has labels."""
    in_train = found.splits_n == "train"
    most_frequent = int(found.has_nV[in_train].sum(axis=0).argmax())
    rows = []
    for split in SPLITS:
        here = found.splits_n == split
        if here.any():
            right = found.is_right_n[here]
            rows.append(
                Accuracy(
                    split=split,
                    num_items=int(here.sum()),
                    accuracy=float(right.mean()),
                    most_frequent=float(found.has_nV[here, most_frequent].mean()),
                    calibration_error=calibration_error(found.tags.confidence_n[here], right),
                )
            )
    return rows


def doubts(found: LabelledTags, *, splits: Collection[str] = SPLITS) -> Iterator[Doubt]:
    """Yields the labels of some splits that are not the most likely value, in no order."""
    contradicted = (found.log_odds_n > 0) & np.isin(found.splits_n, list(splits))
    for row in np.flatnonzero(contradicted & ~found.is_right_n).tolist():
        yield Doubt(
            image=int(found.images_n[row]),
            split=str(found.splits_n[row]),
            attribute=found.attribute,
            labels=tuple(found.values[place] for place in np.flatnonzero(found.has_nV[row])),
            value=found.values[int(found.tags.value_n[row])],
            confidence=float(found.tags.confidence_n[row]),
            log_odds=float(found.log_odds_n[row]),
        )


def most_doubtful(found: list[Doubt], number: int) -> list[Doubt]:
    """Returns the most doubtful of all, first those where the labels are least likely beside it."""
    return sorted(found, key=lambda doubt: (-doubt.log_odds, doubt.image, doubt.attribute))[:number]


def _has(labels: pd.DataFrame, images_n: NDArray[np.int64], num_values: int) -> NDArray[np.bool_]:
    """Returns which of the values that the model can name each image has [n, V]."""
    has_nV = np.zeros((len(images_n), num_values), bool)
    theirs = labels[labels["image"].isin(images_n) & labels["place"].notna()]
    order = images_n.argsort()
    rows = order[np.searchsorted(images_n, theirs["image"], sorter=order)]
    has_nV[rows, theirs["place"].to_numpy(np.int64)] = True
    return has_nV


def _log_odds(
    vectors_nD: Numbers,
    has_nV: NDArray[np.bool_],
    found: ValueVectors,
    calibration: Calibration,
) -> NDArray[np.float64]:
    logits_nV = logits(vectors_nD, found, calibration)
    best_n = logits_nV.max(axis=1, initial=-np.inf)
    of_labels_n = np.where(has_nV, logits_nV, -np.inf).max(axis=1, initial=-np.inf)
    with np.errstate(invalid="ignore"):  # of no known value at all
        odds_n = best_n - of_labels_n
    return np.where(np.isfinite(odds_n), odds_n, np.nan)
