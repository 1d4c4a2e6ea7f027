"""The report of a retrain: there however it ended, and right in what it says."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from components.datasets.drift import Finding
from components.errors import HemlineError
from components.evaluation.verdict import AttributeChange, Rule, Verdict
from pipelines.operations.retrain.report import RetrainReport, as_markdown, written
from pipelines.operations.retrain.state import Decision

VERDICT = Verdict(
    challenger=3,
    champion=2,
    splits="0" * 64,
    limits={"max_attribute_drop": 5.0},
    rules=(
        Rule(name="change of MAP", measured=1.25, bound="at least", limit=0),
        Rule(name="largest drop", measured=7, bound="at most", limit=5, attribute="neck|line"),
    ),
    attributes=(
        AttributeChange(name="neck|line", num_queries=9, champion_map=None, challenger_map=50),
        AttributeChange(
            name="hem",
            num_queries=7,
            champion_map=70,
            challenger_map=77.4,
            random_map=75.1,
            gain=9.24,
            gain_low=-2,
            gain_high=20,
        ),
    ),
)


def test_a_failure_is_written_with_its_step_and_without_passwords(tmp_path: Path) -> None:
    report = RetrainReport(version=3)
    with (
        pytest.raises(HemlineError),
        written(report, tmp_path),
        report.at("git push"),
    ):
        raise HemlineError("https://night:secret@git.example.org/shop refused")
    told = json.loads((tmp_path / "retrain.json").read_text())
    assert (told["outcome"], told["exit_code"], told["step"]) == ("failed", 1, "git push")
    assert told["error"] == "https://git.example.org/shop refused"
    assert told["seconds"].keys() == {"git push"}
    page = (tmp_path / "retrain.md").read_text()
    assert "## Failed at: git push" in page
    assert "secret" not in page


def test_being_stopped_is_a_failure_and_written(tmp_path: Path) -> None:
    report = RetrainReport()
    with pytest.raises(SystemExit), written(report, tmp_path), report.at("train"):
        raise SystemExit("hemline: stopped by SIGTERM")
    told = json.loads((tmp_path / "retrain.json").read_text())
    assert (told["outcome"], told["step"]) == ("failed", "train")
    assert told["error"] == "hemline: stopped by SIGTERM"


def test_the_page_shows_verdict_and_findings_in_whole_tables() -> None:
    finding = Finding(kind="shift", attribute="neck", before=0, after=0.2, message="neck shifted")
    page = as_markdown(
        RetrainReport(
            outcome="rejected", version=3, verdict=VERDICT, findings=(finding,), pushed=["dvc"]
        )
    )
    assert page.startswith("# Retrain: rejected\n")
    assert "| exit code | 10 |" in page
    assert "| change of MAP |  | 1.25 | at least 0 | yes |" in page
    assert "| largest drop | neck/line | 7 | at most 5 | **no** |" in page
    assert "| neck/line | 9 | - | 50.00 | - | - |" in page
    assert "| hem | 7 | 70.00 | 77.40 | 75.10 | 9.2 (-2.0 to 20.0), not above random |" in page
    assert "- neck shifted" in page
    assert "| champion after | - |" in page


def test_what_was_learned_and_how_is_told(tmp_path: Path) -> None:
    decision = Decision(trains=True, grown=("fit",), note="fit grown from models:/hemline/1")
    for report, grown, note in (
        (RetrainReport(decision=decision), ["fit"], decision.note),
        (RetrainReport(), [], None),
    ):
        with written(report, tmp_path):
            pass
        told = json.loads((tmp_path / "retrain.json").read_text())
        assert (told["grown"], told["note"]) == (grown, note)
        assert f"| learned | {note or '-'} |" in (tmp_path / "retrain.md").read_text()


def test_the_page_says_what_a_grown_version_leaves_unchanged() -> None:
    page = as_markdown(RetrainReport(verdict=replace(VERDICT, unchanged=("hem",))))
    assert "| hem | 7 | unchanged | 77.40 |" in page
    assert "| neck/line | 9 | - | 50.00 |" in page
    assert "\n\ngrown from version 2: its embeddings of hem are the same, bit for bit" in page
