"""A chart of points in groups that are told apart by colour and by shape."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from components.figures.inline import INK, OKABE_ITO, page_figure, to_svg

_COLOURS = (*OKABE_ITO, INK)
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_MAX_GROUPS = 2 * len(_COLOURS)


def scatter_svg(
    points_N2: NDArray[np.floating], groups_N: Sequence[str], *, name: str, description: str
) -> str:
    """Returns an `<svg>` of the points, the larger groups in colours and shapes of their own.

    Of more than 14 groups, those with fewest points are grey dots together. Axes have no scale:
    only which points are near one another means something.

    Args:
        points_N2: where they lie.
        groups_N: what each is.
        name: of the element on its page.
        description: what a reader who does not see it is told.
    """
    counts = Counter(groups_N)
    shown = [group for group, _ in counts.most_common()]
    if len(shown) > _MAX_GROUPS:
        shown = shown[: _MAX_GROUPS - 1]
    labels = np.array(groups_N)
    legend = {}
    with page_figure(7, 4.2) as figure:
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
        # given by hand: labels that begin with an underscore are left out otherwise
        figure.legend([*legend.values()], [*legend], loc="outside right upper", fontsize=9)
        return to_svg(figure, name=name, description=description)
