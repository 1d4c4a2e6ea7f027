"""What is shown of training: read from the journal, wherever the workers run."""

import time

import pytest

from components.tracking.journal import Journal
from pipelines.shell.reporting import speaking
from pipelines.stages import training_progress as module
from pipelines.stages.training_progress import training_progress

STEP = {
    "step.loss": 1.5,
    "step.ranking_loss": 1.0,
    "step.classification_loss": 0.5,
    "step.images_per_s": 80.4,
    "step.data_wait_share": 0.021,
}
EPOCH = {
    "loss": 1.25,
    "active_share": 0.305,
    "valid_map": 43.21,
    "valid_random_map": 21.7,
    "valid_gain_low": 20.0,
    "valid_mean_similarity": 0.312,
}
STAGE = {"manipulations": 1200.0, "manipulations_left_out": 34.0, "global_ranking_loss": 0.12345}
WITHOUT_BRANCH = {name: value for name, value in STEP.items() if "classification" not in name}


@pytest.fixture
def journal(tmp_path):
    return Journal(tmp_path / "metrics.jsonl"), tmp_path / "metrics.jsonl"


def test_lines_say_what_the_journal_says(journal, capsys, monkeypatch):
    monkeypatch.setattr(module, "_SECONDS_BETWEEN_LINES", 0)
    writer, path = journal
    with training_progress(path, num_epochs=2, num_steps=20):
        for row, step, kind in (
            (STEP, 5, "step"),
            (EPOCH, 0, "epoch"),
            (WITHOUT_BRANCH, 15, "step"),
            (STAGE, 0, "stage"),
        ):
            writer.append(row, step=step, kind=kind)
            time.sleep(0.7)
    first, epoch, last, stage = capsys.readouterr().err.splitlines()
    assert first.startswith(
        "step 5/20  epoch 1/2  loss 1.500 (ranking 1.000 + classification 0.500)  80 images/s  "
        "2.1% waiting for data  0:00:0"
    )
    assert epoch == (
        "epoch 1/2: loss 1.2500, 30% of triplets, pairs or images count; validation MAP 43.21, "
        "random 21.70, mean similarity 0.312"
    )
    assert last.startswith("step 15/20  epoch 2/2  loss 1.500 (ranking 1.000)  80 images/s")
    assert stage == "pass 1 over 1200 manipulations (34 have no answer): loss 0.1235"


def test_a_log_gets_a_line_now_and_then_and_every_epoch(journal, capsys):
    writer, path = journal
    with training_progress(path, num_epochs=1, num_steps=5):
        for step in range(1, 6):
            writer.append(STEP, step=step)
            time.sleep(0.6)
        writer.append(EPOCH, step=0, kind="epoch")
    shown = capsys.readouterr().err.splitlines()
    assert [line.split()[0] for line in shown] == ["step", "epoch"]


def test_what_was_trained_before_is_not_shown_again(journal, capsys):
    writer, path = journal
    writer.append(STEP, step=5)
    writer.append(EPOCH, step=0, kind="epoch")
    with training_progress(path, num_epochs=2, num_steps=10):
        pass
    assert not capsys.readouterr().err


def test_a_quiet_training_tells_warnings_alone(journal, capsys):
    writer, path = journal
    with (
        speaking(quiet=True, as_json=False),
        training_progress(path, num_epochs=9, num_steps=90),
    ):
        writer.append(STEP, step=5)
        writer.append(EPOCH | {"valid_mean_similarity": 0.99}, step=3, kind="epoch")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: ")


def test_a_training_that_learns_nothing_is_warned_of_after_some_epochs(journal, capsys):
    writer, path = journal
    with training_progress(path, num_epochs=9, num_steps=90):
        for epoch in range(3):
            writer.append(EPOCH | {"valid_gain_low": -1.0}, step=epoch, kind="epoch")
        writer.append(EPOCH | {"valid_mean_similarity": 0.99}, step=3, kind="epoch")
        writer.append(EPOCH, step=4, kind="epoch")
    shown = capsys.readouterr().err.splitlines()
    assert [line.split()[0] for line in shown] == [
        *["epoch"] * 3,
        "warning:",
        "epoch",
        "warning:",
        "epoch",
    ]
    assert "no better than random after 3 epochs" in shown[3]
    assert "the embeddings have collapsed" in shown[5]
