"""A chart of one training: validation MAP and losses after each epoch."""

from collections.abc import Mapping, Sequence

from matplotlib.ticker import MaxNLocator

from components.figures.inline import OKABE_ITO, page_figure, to_svg

_LOOKS = (("-", "o"), ("--", "s"), (":", "^"))


def learning_svg(
    epochs: Sequence[int],
    scores: Sequence[float],
    losses: Mapping[str, Sequence[float]],
    *,
    name: str,
    description: str,
) -> str:
    """Returns an `<svg>` with the scores (percent) on the left, the losses on the right.

    Args:
        epochs: their numbers.
        scores: validation MAP after each.
        losses: mean of each epoch by their names, three at most.
        name: of the element on its page.
        description: what a reader who does not see it is told.
    """
    with page_figure(9, 3.2) as figure:
        left, right = figure.subplots(1, 2)
        left.plot(epochs, scores, color=OKABE_ITO[0], marker="o")
        left.set_ylabel("validation MAP, percent")
        for (loss, values), (line, marker), colour in zip(
            losses.items(), _LOOKS, OKABE_ITO, strict=False
        ):
            right.plot(epochs, values, color=colour, linestyle=line, marker=marker, label=loss)
        right.set_ylabel("loss")
        right.legend()
        for axes in (left, right):
            axes.axhline(0, alpha=0)  # so that the margin above is in proportion to the whole
            axes.set_ylim(bottom=0)
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.grid()
        return to_svg(figure, name=name, description=description)
