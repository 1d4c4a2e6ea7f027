"""The promotion of versions that were grown from the champion, with a real registry and networks.

The first version knows one attribute, and others extend it by the second. Their corners say how
well they find what looks alike: a large one well, a single pixel hardly.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from documents import check_document
from promotable import Promotable, promotable, schema_of

from components.embedding.embeddings import read_embeddings
from components.errors import HemlineError
from components.evaluation.verdict import Verdict
from components.registry import copying, promotion, versions
from components.registry.versions import RegisteredVersion
from components.tracking.runs import Tracking
from pipelines.operations.promote.command import promote_version
from pipelines.operations.promote.inputs import Inputs
from pipelines.operations.promote.judging import verdict_on
from pipelines.operations.summary import _model_here
from pipelines.shell.cli import main

NUM_IMAGES = 120
FIRST, GROWN, POOR, WITHOUT = 1, 2, 3, 4
NEEDS_RAY = "RAY_ADDRESS=nowhere://"  # it passed, and is to embed


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Promotable:
    """A project whose first version, champion, knows `top`; the grown ones have more images."""
    project = promotable(tmp_path_factory.mktemp("begun"), num_images=NUM_IMAGES)
    with pytest.MonkeyPatch.context() as patch:
        _enter(project, patch)
        project.register({"top": 2})
        where = project.tracking
        promotion.move_champion("promote", FIRST, expected=None, who="a test", tracking=where)
        project.add_images(NUM_IMAGES, 30)
        first = project.ancestor(FIRST, "top")
        project.register({"top": 2, "bottom": 4}, ancestors=[first])
        project.register({"top": 2, "bottom": 1}, ancestors=[first])
        grown = project.ancestor(GROWN, "bottom")
        project.register({"bottom": 4}, ancestors=[grown, project.ancestor(FIRST)])
        project.embed(GROWN)
    return project


@pytest.fixture
def project(begun: Promotable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Promotable:
    """A copy of the project, in which nothing can start Ray."""
    shutil.copytree(
        begun.folder, tmp_path / "project", ignore=shutil.ignore_patterns("mlartifacts")
    )
    copied = Promotable(folder=tmp_path / "project")
    _enter(copied, monkeypatch)
    copied.set_params()
    return copied


def _enter(project: Promotable, patch: pytest.MonkeyPatch) -> None:
    patch.chdir(project.folder)
    patch.delenv("MLFLOW_TRACKING_URI", raising=False)
    patch.setenv("RAY_ADDRESS", "nowhere://")


def version(number: int) -> RegisteredVersion:
    return RegisteredVersion(name="hemline", version=number)


def verdict_of(project: Promotable, number: int) -> Verdict:
    text = versions.read_tag(version(number), promotion.VERDICT_TAG, tracking=project.tracking)
    return Verdict.from_json(str(text))


def status_of(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    return int(stopped.value.code or 0)


def test_what_is_new_decides_and_the_champion_is_not_measured(project: Promotable, capsys) -> None:
    """It was measured on another split, and the workspace has a third one by now."""
    project.add_images(NUM_IMAGES + 30, 10)
    with pytest.raises(HemlineError, match=NEEDS_RAY):
        promote_version(GROWN)
    assert "measuring" not in capsys.readouterr().err
    verdict = verdict_of(project, GROWN)
    assert verdict.passed
    assert (verdict.champion, verdict.unchanged) == (FIRST, ("top",))
    assert {rule.attribute for rule in verdict.rules} == {None, "bottom"}


def test_what_is_unchanged_is_shown(project: Promotable, capsys) -> None:
    assert status_of("promote", str(GROWN)) == 0
    printed = capsys.readouterr().out
    assert versions.champion(project.tracking) == GROWN
    (row,) = [line for line in printed.splitlines() if line.startswith("│ top ")]
    assert "│ unchanged │" in row
    assert "grown from version 1: its embeddings of top are the same, bit for bit" in printed


def test_the_document_is_as_documented(project: Promotable, capsys) -> None:
    assert status_of("promote", str(GROWN), "--format", "json") == 0
    document = json.loads(capsys.readouterr().out)
    check_document("promote", document)
    assert document["verdict"]["unchanged"] == ["top"]


def test_a_verdict_stands_and_nothing_is_done_twice(project: Promotable, monkeypatch) -> None:
    first = promote_version(GROWN)
    before = project.tracking.client().get_registered_model("hemline").tags
    monkeypatch.setattr("pipelines.operations.promote.judging.judge_grown", None)
    assert promote_version(GROWN) == first
    assert project.tracking.client().get_registered_model("hemline").tags == before


def test_what_is_new_and_no_better_than_asked_is_rejected(project: Promotable) -> None:
    project.set_params(min_above_random=40.0)
    for number, passes in ((POOR, False), (GROWN, True)):
        verdict = promote_version(number)
        assert verdict.passed == passes
    broken = [rule for rule in verdict_of(project, POOR).rules if not rule.passed]
    assert [rule.title for rule in broken] == ["MAP above a random ranking's (bottom)"]


def test_a_rejection_stands_until_the_champion_is_another(project: Promotable) -> None:
    project.set_params(min_above_random=40.0)
    assert not promote_version(POOR).passed
    assert promote_version(POOR) == verdict_of(project, POOR)
    assert promote_version(GROWN).passed
    later = promote_version(POOR)
    assert (later.champion, later.unchanged) == (GROWN, ()), "which it was not grown from"


@pytest.mark.parametrize("lacking", ["proof", "graph"])
def test_a_tag_alone_or_a_package_alone_is_no_kinship(project: Promotable, lacking: str) -> None:
    """The champion is then measured, and on what both know it is as good."""
    if lacking == "proof":
        project.tracking.client().delete_model_version_tag(
            "hemline", str(GROWN), versions.UNCHANGED_TAG
        )
    else:
        versions.write_tag(version(FIRST), versions.GRAPH_TAG, "f" * 64, tracking=project.tracking)
    verdict = promote_version(GROWN)
    assert verdict.unchanged == ()
    broken = [rule.name for rule in verdict.rules if not rule.passed]
    assert broken == ["lower end of its 95 % interval"]


def test_a_grandchild_is_judged_by_all_that_the_champion_lacks(project: Promotable) -> None:
    grandchild = project.register(
        {"bottom": 4, "top": 2},
        ancestors=[project.ancestor(GROWN, "top", "bottom"), project.ancestor(FIRST, "top")],
    )
    with pytest.raises(HemlineError, match=NEEDS_RAY):
        promote_version(grandchild)
    verdict = verdict_of(project, grandchild)
    assert verdict.passed
    assert (verdict.champion, verdict.unchanged) == (FIRST, ("top",))


def test_an_attribute_that_is_embedded_anew_is_measured_beside_the_champions(
    project: Promotable,
) -> None:
    """Of the champion's two attributes one is unchanged; the other may be worse by now."""
    promote_version(GROWN)
    worse = project.register({"top": 2, "bottom": 1}, ancestors=[project.ancestor(GROWN, "top")])
    verdict = promote_version(worse)
    assert (verdict.champion, verdict.unchanged, verdict.passed) == (GROWN, (), False)
    assert "change of MAP" in {rule.name for rule in verdict.rules}


def test_an_attribute_is_left_out_where_that_was_asked_for(project: Promotable, capsys) -> None:
    promote_version(GROWN)
    assert status_of("promote", str(WITHOUT)) == 10
    (broken,) = [rule for rule in verdict_of(project, WITHOUT).rules if not rule.passed]
    assert broken.title == "attributes that the challenger does not know (top)"
    project.embed(WITHOUT)
    capsys.readouterr()
    assert status_of("promote", str(WITHOUT), "--without", "top") == 0
    assert "left out, as was asked for: top" in capsys.readouterr().out
    assert versions.champion(project.tracking) == WITHOUT
    assert verdict_of(project, WITHOUT).without == ("top",)
    for again in ((), ("--without", "top")):
        assert status_of("promote", str(WITHOUT), *again) == 0
    assert verdict_of(project, WITHOUT).without == ("top",)


@pytest.mark.parametrize(
    ("named", "lacks"), [("bottom", "top"), ("skirt", "top"), ("top,bottom", "top")]
)
def test_what_is_not_left_out_cannot_be_named(project: Promotable, named: str, lacks: str) -> None:
    promote_version(GROWN)
    with pytest.raises(HemlineError, match=rf"--without .*models:/hemline/4 lacks {lacks}$"):
        promote_version(WITHOUT, without=named.split(","))
    with pytest.raises(HemlineError, match="lacks none"):
        promote_version(GROWN + 1, without=["top"])


def test_without_a_champion_nothing_can_be_left_out(project: Promotable) -> None:
    project.tracking.client().delete_registered_model_alias("hemline", "champion")
    with pytest.raises(HemlineError, match="lacks none"):
        promote_version(WITHOUT, without=["top"])


def test_a_version_that_changes_nothing_is_no_reason_to_move(project: Promotable) -> None:
    promote_version(GROWN)
    same = project.register(
        {"bottom": 4, "top": 2}, ancestors=[project.ancestor(GROWN, "top", "bottom")]
    )
    verdict = promote_version(same)
    (broken,) = [rule for rule in verdict.rules if not rule.passed]
    assert broken.name.startswith("attributes or values that are new")


def test_a_new_value_is_a_reason_to_move(project: Promotable) -> None:
    """Its embeddings are the champion's; what it has of its own are prototypes."""
    promote_version(GROWN)
    schema = schema_of(("top", "bottom"))
    top, bottom = schema.attributes
    teal = replace(bottom, values=(*bottom.values, "teal"))
    named = project.register(
        {"top": 2, "bottom": 4},
        ancestors=[project.ancestor(GROWN, "top", "bottom")],
        schema=replace(schema, attributes=(top, teal)),
    )
    project.embed(named)
    verdict = promote_version(named)
    assert verdict.passed
    assert verdict.unchanged == ("top", "bottom")
    (reason,) = [rule for rule in verdict.rules if rule.name.startswith("attributes or values")]
    assert (reason.measured, reason.attribute) == (1, "bottom=teal")
    assert versions.champion(project.tracking) == named


def test_lineage_and_summary_say_what_a_version_extends(project: Promotable, capsys) -> None:
    for number, parents in ((GROWN, {"models:/hemline/2": "models:/hemline/1"}), (FIRST, {})):
        assert status_of("lineage", f"models:/hemline/{number}", "--format", "json") == 0
        document = json.loads(capsys.readouterr().out)
        assert document["extends"] == parents
    assert status_of("lineage", "models:/hemline/2") == 0
    (row,) = [line for line in capsys.readouterr().out.splitlines() if "extends" in line]
    assert "models:/hemline/1" in row

    embedded = read_embeddings(project.folder / "data/embeddings")
    shown, _ = _model_here(version(GROWN), embedded, project.tracking)
    assert shown.endswith("mlflow.db, which extends models:/hemline/1")


def test_in_another_registry_it_is_judged_by_graphs(project: Promotable, tmp_path: Path) -> None:
    """There the first version is of another network, and the champion's number is the second."""
    (tmp_path / "there").mkdir()
    there = Tracking(
        uri=f"sqlite:///{tmp_path}/there/mlflow.db", artifact_root=str(tmp_path / "there/files")
    )
    for number in (WITHOUT, FIRST, GROWN):
        copying.copy_version(version(number), project.tracking, there)
    verdict = verdict_on(version(3), 2, inputs=Inputs(), where=there)
    assert verdict.passed
    assert (verdict.champion, verdict.unchanged) == (2, ("top",))
    assert verdict_on(version(3), 1, inputs=Inputs(), where=there).unchanged == ()
