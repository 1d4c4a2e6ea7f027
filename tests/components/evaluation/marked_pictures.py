"""Pictures with regions in which attributes show, for what is measured of attention and boxes."""

import numpy as np
import pyarrow as pa

from components import tables
from components.attributes import Attribute, AttributeSchema

SCHEMA = AttributeSchema(
    dataset="d",
    attributes=tuple(Attribute(name=name, values=("a", "b")) for name in ("neck", "hem", "cuff")),
)


class Store:
    """Pictures whose first pixel is their number."""

    crop = "centre"

    def gather(self, images):
        return np.tile(images.astype(np.uint8)[:, None, None, None], (1, 8, 8, 3))


def regions_of(*rows):
    records = [dict(zip(tables.REGIONS.names, row, strict=True)) for row in rows]
    return pa.Table.from_pylist(records, schema=tables.REGIONS)


IMAGES = pa.Table.from_pylist(
    [{"image": number, "width": 8, "height": 8} for number in (3, 4, 7)], schema=tables.IMAGES
)
REGIONS = regions_of(
    (3, 0, 0, 0, 4, 4), (3, 1, 0, 0, 8, 2), (7, 0, 2, 2, 6, 6), (4, 1, 9, 9, 12, 12)
)


def figures_of():
    return {"map": 50.0, "attributes": {"neck": {"map": 1.0}, "cuff": {"map": 2.0}}}
