"""The model card: every figure in its place, and what is unusual said."""

from dataclasses import replace

import pytest

from components.attributes import Attribute, AttributeSchema
from components.networks import PixelStatistics
from components.registry.card import Facts, model_card
from components.registry.package import Ancestor

SCHEMA = AttributeSchema(
    dataset="my_data",
    attributes=(
        Attribute(name="sleeve", values=("short", "long")),
        Attribute(name="neck|line", values=("v", "round", "square")),
        Attribute(name="hem", values=("straight", "cut")),
    ),
)
OLD_SCORES = {
    "num_queries": 4,
    "map": 61.234,
    "map_low": 50.0,
    "map_high": 70.456,
    "random_map": 21.7,
}
SCORES = OLD_SCORES | {"gain": 50.49, "gain_low": 36.15, "gain_high": 62.25}
FACTS = Facts(
    model_name="hemline",
    schema=SCHEMA,
    image_size_px=96,
    crop="centre",
    pixel_statistics=PixelStatistics(mean=(0.5, 0.25, 0.125), std=(0.2, 0.3, 0.4)),
    ancestors=(),
    splits={
        "method": "random",
        "splits": {
            "train": {"train": {"num_images": 80, "num_labels": 90}},
            "test": {"query": {"num_images": 3, "num_labels": 4}},
        },
        "leaks": {"identical_file": {"num_units": 1, "num_images": 2}},
    },
    evaluation={
        **SCORES,
        "triplet_accuracy": 88.125,
        "num_parameters": 11_600_000,
        "attributes": {"sleeve": SCORES | {"map": 70.0}, "neck|line": SCORES | {"gain_low": -3.0}},
    },
    run_id="1a69",
    commit="c0ffee",
    has_local_changes=True,
    params={
        "data.root": "raw/mine",
        "model.name": "ag_man",
        "model.backbone": "resnet18",
        "train.objective": "triplet",
    },
    inputs={"data/store": "2.dir", "data/splits": "1.dir"},
)

LINES = [
    # data and split
    "Data: my_data, read from `raw/mine`. Split: random.",
    "| train | train | 80 | 90 |",
    "| test | query | 3 | 4 |",
    # measured: values, queries, MAP, interval, random, gain, interval
    "| sleeve | 2 | 4 | 70.00 | 50.00 to 70.46 | 21.70 | 50.5 | 36.1 to 62.2 |",
    "| neck\\|line | 3 | 4 | 61.23 | 50.00 to 70.46 | 21.70 | 50.5 | -3.0 to 62.2 |",
    "| all |  | 4 | 61.23 | 50.00 to 70.46 | 21.70 | 50.5 | 36.1 to 62.2 |",
    "Triplets in the right order: 88.12 %.",
    # limits
    "- Not above a random ranking, as far as the test queries tell: neck|line.",
    "- Not measured, for want of test queries: hem.",
    # lineage
    "| MLflow run | 1a69 |",
    "| git commit | c0ffee, with local changes |",
    "| DVC hash of data/splits | 1.dir |",
    "| DVC hash of data/store | 2.dir |",
    # how to load
    'model = mlflow.pyfunc.load_model("models:/hemline@champion")',
]
PARTS = [
    "name ag_man, backbone resnet18, 11.6 million parameters",
    "objective triplet.",
    "at 96 px",
    "identical_file 2.",
    "subtracts 0.5, 0.25, 0.125 (red, green, blue; as shares of 255) and divides by 0.2, 0.3, 0.4.",
]
SECTIONS = [
    "# hemline",
    "## Intended use",
    "## How to load",
    "## Data and split",
    "## Measured on the test split",
    "## Limits",
    "## Lineage",
]


@pytest.mark.parametrize("line", LINES)
def test_a_card_has_the_line(line: str) -> None:
    assert line in model_card(FACTS).split("\n")


@pytest.mark.parametrize("part", PARTS)
def test_a_card_says(part: str) -> None:
    assert part in model_card(FACTS)


def test_a_card_of_a_grown_version_says_what_is_comparable() -> None:
    parent = Ancestor(
        name="hemline", version=3, graph_sha256="f" * 64, attributes=("sleeve", "hem")
    )
    growth = {
        "neck|line": {
            "own": {"map": 61.234},
            "best_known": {"attribute": "sleeve", "map": 40.0},
        }
    }
    facts = replace(FACTS, ancestors=(parent,), evaluation={**FACTS.evaluation, "growth": growth})
    card = model_card(facts)
    assert "It extends models:/hemline/3: for sleeve, hem, the embeddings of both are the" in card
    assert "MAP 61.23, where the best attribute that was known before, sleeve, gives 40.00." in card
    assert "extends" not in model_card(FACTS)


def test_a_card_has_its_sections_in_order() -> None:
    headings = [line for line in model_card(FACTS).split("\n") if line.startswith("#")]
    assert headings == SECTIONS


def test_a_card_of_a_run_outside_git_says_so() -> None:
    outside = replace(FACTS, commit=None, has_local_changes=False, inputs={}, params={})
    card = model_card(outside)
    assert "| git commit | not in a git repository |" in card
    assert "Data: my_data. Split: random." in card
    assert "DVC" not in card


def test_a_card_of_measured_attributes_alone_names_none_as_unmeasured() -> None:
    measured = replace(SCHEMA, attributes=SCHEMA.attributes[:2])
    assert "Not measured, for want" not in model_card(replace(FACTS, schema=measured))


def test_a_card_of_an_evaluation_without_gains_leaves_them_empty() -> None:
    older = {"triplet_accuracy": 88.0, **OLD_SCORES, "attributes": {"sleeve": OLD_SCORES}}
    card = model_card(replace(FACTS, evaluation=older))
    assert "| sleeve | 2 | 4 | 61.23 | 50.00 to 70.46 | 21.70 |  |  |" in card.split("\n")
    assert "Not above" not in card


def test_a_card_has_attribute_manipulation_where_it_was_measured() -> None:
    found = {"macro": {"hit_20": 35.25, "unchanged_hit_20": 12.0, "random_hit_20": 4.0}}
    evaluation = {**FACTS.evaluation, "manipulation": found}
    card = model_card(replace(FACTS, evaluation=evaluation))
    assert "in 35.2 % of the cases, mean over attributes (the query as it is: 12.0 %" in card
    nothing = {**FACTS.evaluation, "manipulation": {"not_measured": "images have one label"}}
    assert model_card(replace(FACTS, evaluation=nothing)) == model_card(FACTS)


def test_items_are_counted_and_their_purpose_is_said() -> None:
    item = Attribute(name="item", num_items=34_000)
    schema = replace(SCHEMA, attributes=(*SCHEMA.attributes, item))
    scores = {**FACTS.evaluation["attributes"], "item": SCORES}
    card = model_card(
        replace(FACTS, schema=schema, evaluation={**FACTS.evaluation, "attributes": scores})
    )
    assert "| item | 34000 | 4 |" in card
    assert "By `item`, it finds other photographs of the same product" in card
    assert "the same product" not in model_card(FACTS)


def test_items_are_counted_and_found_in_so_many_percent():
    item = Attribute(name="item", num_items=34_000)
    row = SCORES | {"hit_at_1": 12.0, "hit_at_5": 25.0, "hit_at_20": 41.25, "hit_at_50": 60.0}
    row |= {"hit_at_20_low": 38.0, "hit_at_20_high": 44.5, "random_hit_at_20": 0.5}
    attributes = {"sleeve": SCORES, "item": row | {"num_unmatched": 7}}
    card = model_card(
        replace(
            FACTS,
            schema=replace(SCHEMA, attributes=(SCHEMA.attributes[0], item)),
            evaluation={**FACTS.evaluation, "attributes": attributes},
        )
    )
    lines = card.splitlines()

    assert any(line.startswith("| item | 34000 | 4 | 61.23 |") for line in lines)
    place = lines.index(
        "Queries with an image of their item among the first 20 of the gallery: 41.2 % (38.0 to "
        "44.5; a random ranking: 0.5 %); among the first 1, 5 and 50: 12.0, 25.0 and 60.0 %."
    )
    assert lines[place - 1] == ""
    assert lines[place + 1] == "7 queries whose item is not in the gallery were left out."
    assert "items" not in model_card(FACTS).partition("## Measured")[2].partition("## Limits")[0]


def test_a_model_of_boxes_says_what_it_sees() -> None:
    centre = "It sees the centre square of a picture at 96 px"
    assert centre in model_card(FACTS)
    card = model_card(replace(FACTS, crop="box"))
    assert "It sees the box of a picture's item, resized to 96 px a side whatever its shape" in card
    assert centre not in card
