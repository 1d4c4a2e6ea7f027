"""Embeddings in two dimensions, for the eye."""

import numpy as np
from numpy.typing import NDArray
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

MIN_POINTS = 4  # fewer have no shape to see
_PERPLEXITY = 30


def subsample(num_items: int, *, limit: int, seed: int = 0) -> NDArray[np.int64]:
    """Returns the places of up to `limit` items, ascending, drawn without replacement."""
    if num_items <= limit:
        return np.arange(num_items)
    drawn = np.random.default_rng(seed).choice(num_items, limit, replace=False)
    return np.sort(drawn)


def project(embeddings_ND: NDArray[np.floating], *, seed: int = 0) -> NDArray[np.float32]:
    """Returns points [N, 2] whose neighbours are the embeddings' neighbours (t-SNE).

    Perplexity 30, or a third of the other points where that is less; Euclidean distances of unit
    vectors order as their cosines do. The same seed gives the same points on the same machine.
    Source: van der Maaten and Hinton, Visualizing data using t-SNE, JMLR 2008.

    Args:
        embeddings_ND: at least `MIN_POINTS`, of unit length.
        seed: of what the method draws.
    """
    others = len(embeddings_ND) - 1
    method = TSNE(perplexity=min(_PERPLEXITY, others / 3), init="pca", random_state=seed)
    # its threads wait for one another by spinning: 10 times as slow where a processor is shared
    with threadpool_limits(1):
        return np.asarray(method.fit_transform(embeddings_ND.astype(np.float32)))
