"""Prototypes from training embeddings: the mean of what has a value, at unit length.

Shape letters: n embedded images, N attributes, V values of an attribute, D embedding.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.attributes import AttributeSchema
from components.prototypes.prototypes import ValueVectors


def sampled_labels(training: pd.DataFrame, *, images_per_value: int) -> pd.DataFrame:
    """Returns some labels: of each value those of at most so many images, evenly spaced.

    Args:
        training: the labels, columns image, attribute, value.
        images_per_value: the most for a value.

    Returns:
        Columns image, attribute, value; ascending by attribute, value and image.
    """
    labels = training.sort_values(["attribute", "value", "image"], ignore_index=True)
    values = labels.groupby(["attribute", "value"])["image"]
    place, count = values.cumcount(), values.transform("size")
    # of 0, 1, ... count - 1, those at which a new multiple of 1 / images_per_value begins
    share = np.minimum(images_per_value, count)
    begins = (place * share) // count != ((place - 1) * share) // count
    return labels[begins][["image", "attribute", "value"]].reset_index(drop=True)


def make_prototypes(
    labels: pd.DataFrame,
    schema: AttributeSchema,
    images: NDArray[np.int64],
    embeddings: NDArray[np.float32],
    *,
    learned: Sequence[NDArray[np.float32]] | None = None,
) -> list[ValueVectors]:
    """Returns the prototypes of every attribute of a schema.

    A prototype is the mean of the unit embeddings of the images that have its value, divided by its
    length: of all unit vectors the one with the highest mean cosine to them. Source:
    FashionSearchNet-v2 fills its memory with the features of the same value; that it is their mean
    is not in the paper. Where the network has learned vectors of its own, as that one does in its
    last stage, those are taken.

    Args:
        labels: of training, columns image, attribute, value; those of images that are not embedded
            count for `num_images` alone.
        schema: the attributes and their values, which are listed: `listed_part`.
        images: ascending numbers of the embedded images [n].
        embeddings: their unit embeddings [n, N, D].
        learned: vectors of any length for the values of each attribute [V of it, D]; None: no such.
    """
    dim = embeddings.shape[-1]
    made = []
    for attribute, described in enumerate(schema.attributes):
        num_values = len(described.values)
        vectors = np.full((num_values, dim), np.nan, np.float32)
        num_images, spread = np.zeros(num_values, np.int64), np.full(num_values, np.nan, np.float32)
        its_labels = labels[labels["attribute"] == attribute]
        for value in range(num_values):
            having = its_labels.loc[its_labels["value"] == value, "image"].to_numpy()
            embedded = having[np.isin(having, images)]
            if not len(embedded):
                continue
            its = embeddings[np.searchsorted(images, embedded), attribute].astype(np.float64)
            wanted_D = its.mean(axis=0) if learned is None else learned[attribute][value]
            vector_D = wanted_D / max(np.linalg.norm(wanted_D), np.finfo(np.float32).tiny)
            num_images[value] = len(having)
            vectors[value] = vector_D
            spread[value] = 1 - (its @ vector_D).mean()
        made.append(
            ValueVectors(
                values=described.values,
                vectors_VD=vectors,
                num_images_V=num_images,
                spread_V=spread,
            )
        )
    return made
