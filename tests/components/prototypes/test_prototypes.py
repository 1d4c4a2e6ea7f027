"""Prototypes on disk, and what is asked of them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.errors import HemlineError
from components.prototypes.prototypes import (
    Calibration,
    Prototypes,
    ValueVectors,
    read_prototypes,
    write_prototypes,
)

NOWHERE = [np.nan, np.nan]
PROTOTYPES = Prototypes(
    attributes={
        "length": ValueVectors(
            values=("short", "long", "évasé"),
            vectors_VD=np.array([[0.6, 0.8], NOWHERE, [1, 0]], np.float32),
            num_images_V=np.array([3, 0, 1]),
            spread_V=np.array([0.25, np.nan, 0], np.float32),
        ),
        "collar": ValueVectors(
            values=("short",),
            vectors_VD=np.array([[0, 1]], np.float32),
            num_images_V=np.array([7]),
            spread_V=np.array([0.5], np.float32),
        ),
    },
    weights={"length": 1.5, "collar": 0.5},
    calibrations={"length": Calibration(0.1, 0.5), "collar": Calibration(0.2, 0.0)},
    model="of these weights",
)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_prototypes(PROTOTYPES, tmp_path / "prototypes.parquet")
    read = read_prototypes(tmp_path / "prototypes.parquet")
    assert (read.weights, read.calibrations, read.model) == (
        PROTOTYPES.weights,
        PROTOTYPES.calibrations,
        PROTOTYPES.model,
    )
    assert [*read.attributes] == ["length", "collar"]
    for name, expected in PROTOTYPES.attributes.items():
        found = read.attributes[name]
        assert found.values == expected.values
        for column in ("vectors_VD", "num_images_V", "spread_V"):
            np.testing.assert_array_equal(getattr(found, column), getattr(expected, column))
            assert getattr(found, column).dtype == getattr(expected, column).dtype


def test_pandas_reads_the_file_alone(tmp_path: Path) -> None:
    """Consumers of a version know neither hemline nor its schema."""
    write_prototypes(PROTOTYPES, tmp_path / "prototypes.parquet")
    table = pd.read_parquet(tmp_path / "prototypes.parquet").set_index(["attribute", "value"])
    np.testing.assert_array_equal(
        table.loc[("length", "short"), "vector"], np.array([0.6, 0.8], np.float32)
    )
    assert table["vector"].isna().tolist() == [False, True, False, False]


@pytest.mark.parametrize("value", ["évasé", "e\u0301vase\u0301"])
def test_a_value_is_found_by_its_name_in_either_unicode_form(value: str) -> None:
    assert PROTOTYPES.of("length", value).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("attribute", "value", "said"),
    [
        ("lenght", "short", "no prototypes of 'lenght'; there are those of length, collar"),
        ("collar", "round", "no value 'round' of collar; its values are short"),
        ("length", "long", "length=long has no prototype: no training image had the value"),
    ],
)
def test_what_there_is_not_is_said(attribute: str, value: str, said: str) -> None:
    with pytest.raises(HemlineError, match=said):
        PROTOTYPES.of(attribute, value)
    assert PROTOTYPES.missing == {"length": ["long"]}
