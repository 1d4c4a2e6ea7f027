"""Average precision of vectors and their values, as evaluation measures it."""

import numpy as np

from components.evaluation.metrics import average_precision_of
from components.evaluation.ranking import Items, measure


def average_precision(
    queries, query_values, gallery, gallery_values, *, query_images=None, gallery_images=None
) -> np.ndarray:
    """Returns that of each query; without image numbers, no query is in the gallery."""
    if query_images is None:
        query_images, gallery_images = -1 - np.arange(len(queries)), np.arange(len(gallery))
    return measure(
        {"ap": average_precision_of},
        Items(embeddings_ND=queries, values_N=query_values, images_N=query_images),
        Items(embeddings_ND=gallery, values_N=gallery_values, images_N=gallery_images),
    )["ap"]
