"""The example that `hemline summary` proposes."""

import pyarrow as pa

from components import tables
from pipelines.operations.summary import median_query


def test_the_median_query_is_neither_the_best_nor_the_worst() -> None:
    rows = {
        "attribute": ["collar", "length", "collar", "collar"],
        "image": [14, 17, 15, 16],
        "average_precision": [1.0, 0.4, 0.5, 1 / 3],
        "random_average_precision": [0.5] * 4,
    }
    scores = pa.table(rows, schema=tables.QUERY_SCORES)
    assert median_query(scores, "collar") == 15
    assert median_query(scores, "length") == 17
