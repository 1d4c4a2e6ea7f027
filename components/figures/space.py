"""Embeddings in two dimensions, for the eye: t-SNE, in groups told apart by colour and shape."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from components.figures.charts import INK, OKABE_ITO, Form, in_both_forms, page_figure, to_svg

MIN_POINTS = 4  # fewer have no shape to see
_PERPLEXITY = 30
_PLOT_IN: Mapping[Form, float] = {"wide": 4.6, "narrow": 3.4}
_LEGEND_ROW_IN = 0.22
_LEGEND_COLUMNS = 2
_COLOURS = (*OKABE_ITO, INK)
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_MAX_GROUPS = 2 * len(_COLOURS)


def space_svg(
    embeddings_ND: NDArray[np.floating], groups_N: Sequence[str], *, name: str, description: str
) -> str | None:
    """Returns an `<svg>` of embeddings of unit length, in both forms; None where too few."""
    if len(embeddings_ND) < MIN_POINTS:
        return None
    points_N2 = project(embeddings_ND)
    return scatter_svg(points_N2, groups_N, name=name, description=description)


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
    """
    others = len(embeddings_ND) - 1
    method = TSNE(perplexity=min(_PERPLEXITY, others / 3), init="pca", random_state=seed)
    # its threads wait for one another by spinning: 10 times as slow where a processor is shared
    with threadpool_limits(1):
        return np.asarray(method.fit_transform(embeddings_ND.astype(np.float32)))


def scatter_svg(
    points_N2: NDArray[np.floating], groups_N: Sequence[str], *, name: str, description: str
) -> str:
    """Returns an `<svg>` of the points in both forms, larger groups in colours and shapes.

    Of more than 14 groups, those with fewest points are grey dots together. Axes have no scale:
    only which points are near one another means something.
    """
    counts = Counter(groups_N)
    shown = [group for group, _ in counts.most_common()]
    if len(shown) > _MAX_GROUPS:
        shown = shown[: _MAX_GROUPS - 1]
    labels = np.array(groups_N)

    def draw(form: Form) -> str:
        legend = {}
        columns = 1 if form == "wide" else _LEGEND_COLUMNS
        below_in = 0 if form == "wide" else _LEGEND_ROW_IN * (len(shown) + 1) / columns
        with page_figure(form, _PLOT_IN[form] + below_in) as figure:
            axes = figure.subplots()
            rest = points_N2[~np.isin(labels, shown)]
            for number, group in enumerate(shown):
                turn, place = divmod(number, len(_COLOURS))
                own = points_N2[labels == group]
                legend[f"{group} ({len(own)})"] = axes.scatter(
                    own[:, 0],
                    own[:, 1],
                    s=22,
                    color=_COLOURS[place],
                    marker=_MARKERS[(place + 3 * turn) % len(_MARKERS)],
                    alpha=0.8,
                    linewidths=0,
                )
            if len(rest):
                others = axes.scatter(rest[:, 0], rest[:, 1], s=8, color="#888888", zorder=0)
                legend[f"others ({len(rest)})"] = others
            axes.set_xticks([])
            axes.set_yticks([])
            axes.set_aspect("equal", adjustable="datalim")
            axes.spines[:].set(visible=True, alpha=0.25)
            # explicit, as labels with a leading underscore are left out otherwise
            figure.legend(
                [*legend.values()],
                [*legend],
                loc="outside right upper" if form == "wide" else "outside lower left",
                ncols=columns,
                fontsize=9,
            )
            return to_svg(figure, name=f"{name}-{form}", description=description)

    return in_both_forms(draw)
