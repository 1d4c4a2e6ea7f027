"""Figures and pictures as text of a page: SVG that takes the page's colours, WebP as data URIs."""

import base64
import html
import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7")
"""Told apart by colour-blind people, and seen on white as on black: without yellow and black.

Source: Okabe and Ito, Color Universal Design, 2008.
"""

INK = "#010203"
"""Stands for the colour of the page's text: `to_svg` replaces it by `currentColor`."""

_WEBP_QUALITY = 82
_STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 10,
    "svg.fonttype": "none",  # text stays text: small, searchable, in the page's font
    "svg.hashsalt": "hemline",  # the same figure gives the same text
    "text.parse_math": False,  # a value may be named "$x$"
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": INK,
    "grid.alpha": 0.15,
    "legend.frameon": False,
}


@contextmanager
def page_figure(width_in: float, height_in: float) -> Iterator[Figure]:
    """Gives a figure in the page's style, to be drawn and handed to `to_svg` inside the block."""
    with matplotlib.rc_context(_STYLE):
        yield Figure(figsize=(width_in, height_in), layout="constrained", facecolor="none")


def to_svg(figure: Figure, *, name: str, description: str) -> str:
    """Returns a figure as an `<svg>` element.

    Args:
        figure: drawn in the style of `page_figure`.
        name: goes before every id of the element, so that two on a page do not mix.
        description: what a reader who does not see it is told.
    """
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the page's own fonts draw it
        figure.savefig(buffer, format="svg", metadata=nothing)
    text = buffer.getvalue()
    element = text[text.index("<svg") :].replace(INK, "currentColor")
    # colours (`fill: #0072b2`) begin with the same sign as references do
    element = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", element)
    described = f'<svg role="img" aria-label="{html.escape(description)}"'
    return element.replace("<svg", described, 1)


def to_data_uri(pixels_HW3: NDArray[np.uint8], *, side_px: int) -> str:
    """Returns a picture as a data URI, made smaller where its sides are longer than `side_px`."""
    picture = Image.fromarray(pixels_HW3)
    picture.thumbnail((side_px, side_px))
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=_WEBP_QUALITY)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
