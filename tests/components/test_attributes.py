"""Attributes and values by name and by position."""

import json

import pytest

from components.attributes import Attribute, AttributeSchema
from components.errors import HemlineError

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
