"""The part of a data set that has prototypes: attributes whose values are listed.

Single products are too many for a vector each, and those of tomorrow have none. A photograph of a
product is searched for by itself.
"""

from dataclasses import replace
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from components.attributes import AttributeSchema


class ListedPart(NamedTuple):
    """Attributes, their labels, and their places [N] among all attributes.

    Attributes are counted anew, in the labels too, so that they have no gap.
    """

    schema: AttributeSchema
    labels: pa.Table
    places: list[int]


def listed_part(labels: pa.Table, schema: AttributeSchema) -> ListedPart:
    """Returns all but the identity: the same where there is none.

    Args:
        labels: `tables.LABELS` or `tables.SPLITS`.
        schema: their attributes.
    """
    if schema.identity is None:
        return ListedPart(schema, labels, schema.listed)
    attributes = tuple(schema.attributes[place] for place in schema.listed)
    new_places = pc.index_in(labels["attribute"], pa.array(schema.listed, pa.int16()))
    place = labels.column_names.index("attribute")
    moved = labels.set_column(place, "attribute", new_places.cast(pa.int16()))
    kept = moved.filter(pc.is_valid(new_places))
    return ListedPart(replace(schema, attributes=attributes), kept, schema.listed)
