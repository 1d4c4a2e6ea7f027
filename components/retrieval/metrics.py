"""Retrieval metrics: average precision per query, its means, and triplet relation accuracy.

Shape letters: Q queries, G gallery items, D embedding, V values of an attribute.
"""

import math

import numpy as np
from numpy.typing import NDArray

_QUERIES_PER_CHUNK = 256  # bounds the similarity matrix in memory


def average_precision(
    query_embeddings_QD: NDArray[np.floating],
    query_values_Q: NDArray[np.integer] | NDArray[np.bool_],
    gallery_embeddings_GD: NDArray[np.floating],
    gallery_values_G: NDArray[np.integer] | NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Returns the average precision of each query [Q] in [0, 1], as ASEN and AG-MAN define it.

    The gallery is ranked by falling cosine similarity. With R relevant items (those that share a
    value with the query), AP = 1/R * sum over relevant items of (relevant items up to and with
    its rank) / (its rank). Equal similarities keep the gallery's order. A query without a
    relevant item has AP NaN; means leave it out.

    Args:
        query_embeddings_QD: unit length.
        query_values_Q: the value of each query, int [Q]; or bool [Q, V], which of the values it
            has, where an image may have several.
        gallery_embeddings_GD: unit length; queries must not be among them.
        gallery_values_G: of the gallery items, in the same form as the queries'.
    """
    num_queries = len(query_embeddings_QD)
    result = np.empty(num_queries, np.float64)
    ranks_G = np.arange(1, len(gallery_embeddings_GD) + 1)
    for start in range(0, num_queries, _QUERIES_PER_CHUNK):
        chunk = slice(start, start + _QUERIES_PER_CHUNK)
        similarity_QG = query_embeddings_QD[chunk] @ gallery_embeddings_GD.T
        order_QG = np.argsort(-similarity_QG, axis=1, kind="stable")
        relevant_QG = relevance(query_values_Q[chunk], gallery_values_G)
        relevant_QG = np.take_along_axis(relevant_QG, order_QG, axis=1)
        precision_QG = relevant_QG.cumsum(axis=1) / ranks_G
        num_relevant_Q = relevant_QG.sum(axis=1)
        with np.errstate(invalid="ignore"):
            result[chunk] = (precision_QG * relevant_QG).sum(axis=1) / num_relevant_Q
    return result


def relevance(
    query_values_Q: NDArray[np.integer] | NDArray[np.bool_],
    gallery_values_G: NDArray[np.integer] | NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Returns which gallery items share a value with which query [Q, G]."""
    if query_values_Q.ndim == 1:
        return np.asarray(query_values_Q[:, None] == gallery_values_G[None, :])
    return np.asarray(query_values_Q.astype(np.float32) @ gallery_values_G.T > 0)


def expected_random_average_precision(num_relevant: int, num_items: int) -> float:
    """Returns the expected AP of a random ranking of `num_items` items, `num_relevant` relevant.

    The item at rank i is relevant with probability R/G, and given that, each of the i-1 above it
    with probability (R-1)/(G-1), so that
    E[AP] = 1/G * sum_{i=1..G} (1 + (i-1)(R-1)/(G-1)) / i
          = 1/G * (H_G + (G - H_G)(R-1)/(G-1)), H_G the G-th harmonic number.
    NaN where nothing is relevant.
    """
    if num_relevant == 0:
        return math.nan
    if num_items == 1:
        return 1.0
    harmonic = float((1 / np.arange(1, num_items + 1)).sum())
    others = (num_relevant - 1) / (num_items - 1)
    return (harmonic + (num_items - harmonic) * others) / num_items


def triplet_relation_accuracy(
    anchors_TD: NDArray[np.floating],
    positives_TD: NDArray[np.floating],
    negatives_TD: NDArray[np.floating],
) -> float:
    """Returns the share of triplets with s(anchor, positive) > s(anchor, negative), in [0, 1].

    s is the dot product of unit vectors; a tie counts as wrong. Source: AG-MAN section 3.1.
    """
    to_positive_T = (anchors_TD * positives_TD).sum(axis=1)
    to_negative_T = (anchors_TD * negatives_TD).sum(axis=1)
    return float((to_positive_T > to_negative_T).mean())
