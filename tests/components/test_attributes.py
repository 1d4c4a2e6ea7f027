"""Attributes and values by name and by position."""

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from components.attributes import (
    LONGEST_NAME,
    Attribute,
    AttributeSchema,
    metric_part,
    name_of_part,
    too_long,
)
from components.errors import HemlineError
from components.tracking.runs import Tracking, log_metrics, start_run

SCHEMA = AttributeSchema(
    dataset="toy",
    attributes=(
        Attribute(name="neck", values=("v", "round")),
        Attribute(name="länge", values=("kurz", "mittel", "lang")),
    ),
)


def test_names_and_sizes_are_those_of_the_attributes():
    assert SCHEMA.names == ["neck", "länge"]
    assert SCHEMA.max_num_values == 3


def test_an_attribute_is_found_by_its_name():
    assert SCHEMA.index("neck") == 0
    assert SCHEMA.index("länge") == 1


def test_an_unknown_attribute_is_an_error_that_names_the_others():
    with pytest.raises(HemlineError, match="no attribute 'hem'; there are neck, länge"):
        SCHEMA.index("hem")


def test_a_schema_comes_back_from_json():
    assert AttributeSchema.from_dict(json.loads(json.dumps(SCHEMA.as_dict()))) == SCHEMA


AWKWARD = ["heel height (cm)", "colour & print", "fit=slim?", "neck, front", "a/b", "/", "..", "."]
AWKWARD += [
    "a/../b",
    "a//b",
    " fit",
    "fit ",
    "fit",
    "\n",
    "fit\n",
    "~",
    "100%",
    "é",
    "ärmel",
    "领口",
]
ALIKE = ["a(", "a:28", "a%28", "a:3A28", ":", ":3A", "a.b", "a/b", "a:2Fb", "A(", "a: 28"]


@pytest.fixture(scope="module")
def tracking(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mlflow")
    return Tracking(uri=f"sqlite:///{folder}/mlflow.db", artifact_root=str(folder / "files"))


@settings(max_examples=40)
@given(st.lists(st.text(min_size=1, max_size=20), unique=True, min_size=1, max_size=20))
@example(AWKWARD)
@example(ALIKE)
@example(["n" * LONGEST_NAME, "(" * (LONGEST_NAME // 3), "领" * (LONGEST_NAME // 9)])
def test_any_names_are_metrics_of_mlflow_from_which_they_are_read_back(tracking, names):
    assert not any(map(too_long, names))
    run_id = start_run(tracking, params={}, tags={})
    scores = {f"test/gain/{metric_part(name)}": place for place, name in enumerate(names)}
    log_metrics(scores, tracking=tracking, run_id=run_id)
    kept = tracking.client().get_run(run_id).data.metrics
    found = {name_of_part(key.removeprefix("test/gain/")): score for key, score in kept.items()}
    assert found == {name: place for place, name in enumerate(names)}


def test_names_that_mlflow_takes_stay_as_they_are():
    for name in ("neck_design", "Heel-height 2.5", "länge", "领口"):
        assert metric_part(name) == name
    assert metric_part("heel height (cm)") == "heel height :28cm:29"


@pytest.mark.parametrize(
    ("name", "is_too_long"),
    [
        ("n" * 200, False),
        ("n" * 201, True),
        ("领" * 22, False),
        ("领" * 23, True),
        ("(" * 67, True),
    ],
)
def test_a_name_is_as_long_as_it_is_written(name, is_too_long):
    assert too_long(name) is is_too_long


def test_the_items_of_an_identity_are_counted_and_not_listed():
    item = Attribute(name="item", num_items=34_000)
    schema = AttributeSchema(
        dataset="toy", attributes=(*SCHEMA.attributes, item), landmarks=("left collar",)
    )

    assert schema.as_dict()["attributes"][-1] == {"name": "item", "num_items": 34_000}
    assert AttributeSchema.from_dict(schema.as_dict()) == schema
    assert schema.num_values == [*SCHEMA.num_values, 34_000]
    assert schema.max_num_values == SCHEMA.max_num_values
    assert (schema.identity, schema.listed) == (len(SCHEMA.names), [*range(len(SCHEMA.names))])
    assert SCHEMA.identity is None
