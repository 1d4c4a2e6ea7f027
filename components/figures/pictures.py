"""Pictures for a page: as data URIs, and under the attention of a network."""

import base64
import io

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

_WEBP_QUALITY = 82
_MAP_SHARE = 0.6  # of the colour; the rest is the picture in grey


def attention_overlay(
    pixels_SS3: NDArray[np.uint8], weights_HW: NDArray[np.floating]
) -> NDArray[np.uint8]:
    """Returns the picture in grey under the weights in cividis [S, S, 3].

    Dark blue is weight 0, yellow the map's highest, so that even attention is yellow all over;
    weights between the map's positions are interpolated linearly. A map of zeros is all dark blue.
    Source: AG-MAN Fig. 5 to 7.

    Args:
        pixels_SS3: the picture.
        weights_HW: of the positions of the network's map; their sign does not count.
    """
    size = pixels_SS3.shape[1], pixels_SS3.shape[0]
    sizes_HW = np.abs(weights_HW)
    scaled = Image.fromarray((sizes_HW / (sizes_HW.max() or 1)).astype(np.float32))
    shares_SS = np.asarray(scaled.resize(size, Image.Resampling.BILINEAR)).clip(0, 1)
    colours_SS3 = matplotlib.colormaps["cividis"](shares_SS)[..., :3]
    grey_SS1 = np.asarray(Image.fromarray(pixels_SS3).convert("L"))[..., None] / 255
    blended_SS3 = _MAP_SHARE * colours_SS3 + (1 - _MAP_SHARE) * grey_SS1
    return np.asarray((255 * blended_SS3).round().astype(np.uint8))


def to_data_uri(pixels_HW3: NDArray[np.uint8], *, side_px: int) -> str:
    """Returns a picture as a data URI, made smaller where its sides are longer than `side_px`."""
    picture = Image.fromarray(pixels_HW3)
    picture.thumbnail((side_px, side_px))
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=_WEBP_QUALITY)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
