"""How much of an attribute's attention falls into the region that decides it.

Shape letters: N pairs of image and attribute, H W positions of the map.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import Tensor

from components import tables
from components.attributes import AttributeSchema
from components.images.geometry import EDGES, boxes_in_square, shown_parts
from components.images.store import ImageStore

NO_BOXES = tables.BOXES.empty_table()

Attend = Callable[[Tensor, Tensor], Tensor | None]
"""(pixels uint8 [B, S, S, 3], attributes int64 [B, K]) -> weights of positions [B, K, H, W].

None where the network has no attention to show.
"""


@torch.inference_mode()
def attention_maps(
    attend: Attend,
    store: ImageStore,
    images_B: NDArray[np.int64],
    attributes_BK: NDArray[np.int64],
) -> NDArray[np.float32] | None:
    """Returns the weight of each position for the attributes asked of each image [B, K, H, W].

    Absolute weights; None where the network has no attention to show.
    """
    pixels = torch.from_numpy(store.gather(images_B))
    maps_BKHW = attend(pixels, torch.from_numpy(attributes_BK))
    return None if maps_BKHW is None else np.asarray(maps_BKHW.abs().float().numpy())


def attention_in_regions(
    attend: Attend,
    store: ImageStore,
    regions: pa.Table,
    images: pa.Table,
    boxes: pa.Table = NO_BOXES,
    *,
    batch_size: int = 64,
) -> pd.DataFrame:
    """Returns a row per region: `attribute`, `share` of attention and `area`, both in [0, 1].

    The share of a region is sum(w c) / sum(w) over the positions of the map, w the absolute weight
    of a position and c how much of its cell the region covers; NaN where the network has no
    attention to show. The area is that of the image, and so the share of uniform attention. Regions
    outside the crop do not count.

    Args:
        attend: the network's spatial attention.
        store: pixels of the images.
        regions: `tables.REGIONS`.
        images: `tables.IMAGES`, for the images' sizes.
        boxes: `tables.BOXES`, for a store of crop `box`.
        batch_size: number of images that the network sees at once.
    """
    images_N, attributes_N, boxes_N4 = visible_regions(regions, images, boxes, crop=store.crop)
    shares_N = np.full(len(images_N), np.nan)
    for start in range(0, len(images_N), batch_size):
        rows = slice(start, start + batch_size)
        maps_N1HW = attention_maps(attend, store, images_N[rows], attributes_N[rows, None])
        if maps_N1HW is None:
            break
        weights_NHW = maps_N1HW[:, 0].astype(np.float64)
        covered_NHW = coverage(boxes_N4[rows], *weights_NHW.shape[1:])
        total_N = weights_NHW.sum(axis=(1, 2))
        shares_N[rows] = (weights_NHW * covered_NHW).sum(axis=(1, 2)) / total_N
    return pd.DataFrame({"attribute": attributes_N, "share": shares_N, "area": area_of(boxes_N4)})


def visible_regions(
    regions: pa.Table, images: pa.Table, boxes: pa.Table, *, crop: str
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Returns image, attribute and box [N, 4] of the regions that lie in their image's crop.

    A box is left, top, right and bottom as shares of the crop's sides, cut off at its edges.
    """
    images_N = regions["image"].to_numpy()
    boxes_N4 = boxes_in_square(
        np.stack([regions[edge].to_numpy() for edge in EDGES], axis=1),
        shown_parts(images_N, images, boxes, crop=crop),
    )
    inside = area_of(boxes_N4) > 0
    attributes_N = regions["attribute"].to_numpy()[inside].astype(np.int64)
    return images_N[inside], attributes_N, boxes_N4[inside]


def area_of(boxes_N4: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the area of each box [N]; negative sides make no area."""
    return np.asarray((boxes_N4[:, 2:] - boxes_N4[:, :2]).clip(min=0).prod(axis=1))


def labelled_regions(regions: pa.Table, splits: pa.Table, split: str) -> pa.Table:
    """Returns the regions of the labels of a split, by image and attribute."""
    labels = splits.filter(pc.field("split") == split).select(["image", "attribute"])
    kept = regions.join(labels, keys=["image", "attribute"], join_type="left semi")
    return kept.sort_by([("image", "ascending"), ("attribute", "ascending")])


def add_attention(figures: dict[str, Any], found: pd.DataFrame, schema: AttributeSchema) -> None:
    """Adds `attention_in_region` and `region_share` to a report, overall and per attribute.

    Means over regions, in percent: the share of attention in the region, and the share that uniform
    attention would have there. Nothing is added where nothing is known.
    """
    seen = found.dropna()
    figures |= _means(seen)
    for name, row in figures["attributes"].items():
        row.update(_means(seen[seen["attribute"] == schema.index(name)]))


def _means(seen: pd.DataFrame) -> dict[str, float]:
    if seen.empty:
        return {}
    return {
        "attention_in_region": 100 * float(seen["share"].to_numpy().mean()),
        "region_share": 100 * float(seen["area"].to_numpy().mean()),
    }


def coverage(boxes_N4: NDArray[np.float64], height: int, width: int) -> NDArray[np.float64]:
    """Returns how much of each cell of a grid a box covers [N, H, W], in [0, 1].

    A box is left, top, right and bottom as shares of the grid's sides.
    """
    across_NW = _overlap(boxes_N4[:, [0]], boxes_N4[:, [2]], width)
    down_NH = _overlap(boxes_N4[:, [1]], boxes_N4[:, [3]], height)
    return down_NH[:, :, None] * across_NW[:, None, :]


def _overlap(
    start_N1: NDArray[np.float64], end_N1: NDArray[np.float64], cells: int
) -> NDArray[np.float64]:
    """Returns the share of each cell of [0, 1] that the interval covers [N, cells]."""
    edges = np.arange(cells)
    covered = np.minimum(end_N1 * cells, edges + 1) - np.maximum(start_N1 * cells, edges)
    return np.asarray(covered.clip(0, 1))
