"""A trained model on disk: what is read is what was written, and that it was evaluated."""

from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pytest
import small_run
import torch
from builders import flip_a_bit

from components import files, tables
from components.errors import HemlineError
from components.evaluation.query_scores import QueryScores, read_query_scores, write_query_scores
from components.training.setup import build_network
from components.training.trained import (
    DESCRIPTION_FILE,
    WEIGHTS_FILE,
    identity,
    read_trained_model,
    save_weights,
    write_trained_model,
)
from pipelines.stages.register import check_evaluated


def write(folder: Path, *, seed: int = 0) -> Path:
    """Writes a network that was not trained and returns its folder."""
    torch.manual_seed(seed)
    network = build_network(small_run.MODEL, small_run.SCHEMA)
    save_weights(network, folder / "best")
    write_trained_model(
        folder,
        folder / "best",
        description={"model": asdict(small_run.MODEL)},
        schema=small_run.SCHEMA,
        image_size_px=32,
    )
    return folder


def test_a_flipped_bit_of_the_weights_is_found(tmp_path: Path) -> None:
    folder = write(tmp_path / "model")
    read_trained_model(folder)
    flip_a_bit(folder / WEIGHTS_FILE, share=0.9)
    with pytest.raises(HemlineError, match=r"weights\.safetensors is damaged .*`dvc checkout"):
        read_trained_model(folder)
    description = files.read_json(folder / DESCRIPTION_FILE)
    del description["crc32"]
    files.write_json(description, folder / DESCRIPTION_FILE)
    read_trained_model(folder)  # an older hemline wrote it: nobody knows


def test_best_weights_with_a_flipped_bit_do_not_become_the_model(tmp_path: Path) -> None:
    written = write(tmp_path / "state")
    best = written / "best"
    before = (written / WEIGHTS_FILE).read_bytes()
    flip_a_bit(best, share=0.9)
    with pytest.raises(HemlineError, match=r"best is damaged .*: remove .*state and train again"):
        write_trained_model(
            written,
            best,
            description={"model": asdict(small_run.MODEL)},
            schema=small_run.SCHEMA,
            image_size_px=32,
        )
    assert (written / WEIGHTS_FILE).read_bytes() == before


def scores(model: str | None) -> QueryScores:
    row = {
        "attribute": ["length"],
        "image": [0],
        "average_precision": [0.5],
        "random_average_precision": [0.5],
        "is_held_out_query": [None],
    }
    return QueryScores(
        queries=pa.table(row, schema=tables.QUERY_SCORES),
        splits="s",
        attributes=("length",),
        norm_ranges={"length": (1.0, 1.0)},
        mean_similarity={"length": 0.0},
        model=model,
    )


def test_only_the_model_that_was_evaluated_is_registered(tmp_path: Path) -> None:
    folder, queries = write(tmp_path / "model"), tmp_path / "queries.parquet"
    with pytest.raises(HemlineError, match=r"queries\.parquet is missing"):
        check_evaluated(folder, queries)
    write_query_scores(scores(identity(folder)), queries)
    assert read_query_scores(queries).model == identity(folder)
    check_evaluated(folder, queries)
    write(folder, seed=1)  # whole, and another one
    read_trained_model(folder)
    with pytest.raises(HemlineError, match=r"model is not the model that was evaluated"):
        check_evaluated(folder, queries)
    write(folder)
    check_evaluated(folder, queries)
    (folder / DESCRIPTION_FILE).write_text((folder / DESCRIPTION_FILE).read_text() + " ")
    with pytest.raises(HemlineError, match=r"model is not the model that was evaluated"):
        check_evaluated(folder, queries)
    write_query_scores(scores(None), queries)
    check_evaluated(folder, queries)  # an older hemline did not say
