"""Stage `register`: which prototypes go with a version."""

from pathlib import Path

import pytest
from builders import random_prototypes

from components import files
from components.attributes import Attribute, AttributeSchema
from components.errors import HemlineError
from components.prototypes.prototypes import write_prototypes
from components.training import trained
from pipelines.stages.register import check_prototypes

SCHEMA = AttributeSchema(dataset="d", attributes=(Attribute(name="hem", values=("a", "b")),))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """What tells a trained network from others: its weights and its description."""
    files.write_json({"model": "m"}, tmp_path / "network" / trained.DESCRIPTION_FILE)
    (tmp_path / "network" / trained.WEIGHTS_FILE).write_bytes(b"weights")
    return tmp_path / "network"


def test_what_an_older_hemline_evaluated_needs_no_prototypes(model: Path, tmp_path: Path) -> None:
    assert not check_prototypes(tmp_path / "none.parquet", model=model, evaluation={"map": 50})


def test_prototypes_that_were_evaluated_must_be_there(model: Path, tmp_path: Path) -> None:
    with pytest.raises(HemlineError, match=r"none\.parquet is missing"):
        check_prototypes(tmp_path / "none.parquet", model=model, evaluation={"tags": {}})


def test_prototypes_of_another_model_are_refused(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "prototypes.parquet"
    write_prototypes(random_prototypes(SCHEMA, dim=4), path)
    with pytest.raises(HemlineError, match="was made of another model"):
        check_prototypes(path, model=model, evaluation={"tags": {}})
