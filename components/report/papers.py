"""The papers' scores, for the data sets that they were measured on."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from components.attributes import AttributeSchema

ALL = "all"
"""Name of the overall score beside those of attributes."""

_FILE = Path(__file__).with_name("papers.json")
_TOLERANCE = 0.1  # in the number of test images: 8:1:1 is not drawn alike by all


@dataclass(frozen=True, kw_only=True)
class PaperRow:
    """A row of a paper's table.

    Attributes:
        network: as `model.name` calls it, or `random ranking`.
        source: the paper and its table.
        scores: scores in percent, by attribute, and `ALL` where this data set has all of the
            paper's attributes.
    """

    network: str
    source: str
    scores: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class PaperScores:
    """What the papers report of a data set.

    Attributes:
        measure: `map` or `triplet_accuracy`.
        rows: rows of their tables; none where they cannot be compared.
        reason: why they cannot; empty where they can.
    """

    measure: str = "map"
    rows: Sequence[PaperRow] = ()
    reason: str = ""


def paper_scores(schema: AttributeSchema, *, num_test_images: int) -> PaperScores:
    """Returns the papers' scores where the data set and its test split are like theirs.

    A data set in FashionAI's layout need not be FashionAI: beside the name, the number of test
    images must be within a tenth of the papers'.
    """
    known = json.loads(_FILE.read_text())
    if schema.dataset not in known:
        return PaperScores(reason=f"none of the papers reports on the data set {schema.dataset}")
    published = known[schema.dataset]
    expected = published["num_test_images"]
    if abs(num_test_images - expected) > _TOLERANCE * expected:
        return PaperScores(
            reason=f"the papers test on {expected:,} images of {schema.dataset}, this is measured "
            f"on {num_test_images:,}: another data set in its layout, or another split"
        )
    # the index files of ASEN's authors write `texture-related` for DeepFashion's `texture`
    own = {name.removesuffix("-related"): name for name in schema.names}
    has_all = own.keys() >= set(published["columns"])
    rows = []
    for row in published["rows"]:
        by_column = zip(published["columns"], row["values"], strict=True)
        scores = {own[column]: score for column, score in by_column if column in own}
        if has_all:
            scores[ALL] = row["all"]
        rows.append(PaperRow(network=row["network"], source=row["source"], scores=scores))
    return PaperScores(measure=published["measure"], rows=rows)
