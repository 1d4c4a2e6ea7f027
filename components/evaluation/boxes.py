"""How well a network's boxes meet the regions that decide an attribute.

Shape letters: N pairs of image and attribute. Boxes are left, top, right and bottom as shares of
the image's sides.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from torch import Tensor

from components.attributes import AttributeSchema
from components.evaluation.attention import NO_BOXES, area_of, visible_regions
from components.images.store import ImageStore

Locate = Callable[[Tensor, Tensor], Tensor | None]
"""(pixels uint8 [B, S, S, 3], attributes int64 [B, K]) -> boxes [B, K, 4].

None where the network makes no boxes.
"""


@torch.inference_mode()
def boxes_in_regions(
    locate: Locate,
    store: ImageStore,
    regions: pa.Table,
    images: pa.Table,
    boxes: pa.Table = NO_BOXES,
    *,
    batch_size: int = 64,
) -> pd.DataFrame:
    """Returns a row per region: `attribute`, `iou`, `covered` and `box`, the latter in [0, 1].

    IoU is the area that box and region share, over the area that either has; `covered` is the share
    of the region in the box, `box` the box's share of the image. No row where the network makes no
    boxes; regions outside the crop do not count. The box of a whole image has the region's area as
    its IoU. `regions` are `tables.REGIONS`, `images` `tables.IMAGES`, for the images' sizes,
    and `boxes` `tables.BOXES`, for a store of crop `box`.
    """
    images_N, attributes_N, regions_N4 = visible_regions(regions, images, boxes, crop=store.crop)
    parts = []
    for start in range(0, len(images_N), batch_size):
        rows = slice(start, start + batch_size)
        pixels = torch.from_numpy(store.gather(images_N[rows]))
        boxes_B14 = locate(pixels, torch.from_numpy(attributes_N[rows, None]))
        if boxes_B14 is None:
            break
        parts.append(boxes_B14[:, 0].double().numpy())
    boxes_N4 = np.concatenate(parts) if parts else np.empty((0, 4))
    attributes_N, regions_N4 = attributes_N[: len(boxes_N4)], regions_N4[: len(boxes_N4)]
    low_N2 = np.maximum(boxes_N4[:, :2], regions_N4[:, :2])
    high_N2 = np.minimum(boxes_N4[:, 2:], regions_N4[:, 2:])
    shared_N = area_of(np.concatenate([low_N2, high_N2], axis=1))
    box_N, region_N = area_of(boxes_N4), area_of(regions_N4)
    return pd.DataFrame(
        {
            "attribute": attributes_N,
            "iou": shared_N / (box_N + region_N - shared_N),
            "covered": shared_N / region_N,
            "box": box_N,
        }
    )


def add_boxes(figures: dict[str, Any], found: pd.DataFrame, schema: AttributeSchema) -> None:
    """Adds `box_iou`, `region_in_box` and `box_share` to a report, overall and per attribute.

    Means over regions, in percent: the IoU of box and region, the share of the region that is in
    the box, and the box's share of the image. Nothing is added where nothing is known.
    """
    figures |= _means(found)
    for name, row in figures["attributes"].items():
        row.update(_means(found[found["attribute"] == schema.index(name)]))


def _means(found: pd.DataFrame) -> dict[str, float]:
    names = {"box_iou": "iou", "region_in_box": "covered", "box_share": "box"}
    if found.empty:
        return {}
    return {name: 100 * float(found[column].to_numpy().mean()) for name, column in names.items()}
