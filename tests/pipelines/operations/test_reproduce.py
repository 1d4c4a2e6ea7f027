"""Reproducing: small stages in real git, DVC and MLflow for every case, the whole line for one."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from documents import check_document
from mlflow import MlflowClient
from project import Project
from small_line import SmallLine

from components.errors import HemlineError
from components.provenance import origin
from pipelines.operations.reproduce.command import reproduce
from pipelines.shell import exit_codes

pytestmark = pytest.mark.slow

STAGES = ["ingest", "split", "train", "evaluate"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small line that has run."""
    return SmallLine(tmp_path_factory.mktemp("small") / "line").folder


@pytest.fixture
def line(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SmallLine:
    """A copy of the small line to do with as a test likes, as the current folder."""
    copy = object.__new__(SmallLine)
    copy.folder = tmp_path / "line"
    shutil.copytree(made, copy.folder, symlinks=True)
    monkeypatch.chdir(copy.folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return copy


Reproduced = tuple[int, dict[str, Any]]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Callable[..., Reproduced]:
    """Reproduces; gives the exit status and what was printed as JSON."""

    def run(target: str, **options: Any) -> Reproduced:
        arguments = {
            "weights_tolerance": 1e-4,
            "embeddings_tolerance": 1e-3,
            "metrics_tolerance": 0.5,
            "output_format": "json",
        }
        capfd.readouterr()
        try:
            reproduce(target, **{**arguments, **options})
        except typer.Exit as end:
            status = end.exit_code
        else:
            status = exit_codes.OK
        document = json.loads(capfd.readouterr().out)
        check_document("reproduce", document)
        return status, document

    return run


def verdicts(found: dict[str, Any]) -> dict[str, str]:
    return {row["output"]: row["verdict"] for row in found["outputs"]}


def snapshot(line: SmallLine) -> dict[str, Any]:
    """What reproducing leaves as it was."""
    files = [path for path in line.folder.rglob("*") if path.is_file()]
    own = [path for path in files if not {".git", "tmp", ".hemline"} & set(path.parts[1:])]
    return {
        "files": {path: path.read_bytes() for path in own if path.suffix != ".db"},
        "status": line.git("status", "--porcelain"),
        "worktrees": line.git("worktree", "list"),
        "left": sorted((line.folder / ".hemline/reproduce").glob("*")),
    }


def test_a_commit_whose_outputs_are_at_hand_is_identical(line, run) -> None:
    before = snapshot(line)
    status, found = run("HEAD")
    assert status == exit_codes.OK
    assert found["verdict"] == "identical"
    assert found["computed_stages"] == []
    assert set(verdicts(found).values()) == {"identical"}
    assert snapshot(line) == before


def test_from_scratch_everything_is_computed_and_nothing_touched(line, run) -> None:
    before = snapshot(line)
    status, found = run("HEAD", from_scratch=True)
    assert status == exit_codes.OK
    assert found["verdict"] == "identical"
    assert found["computed_stages"] == STAGES
    others = verdicts(found)
    assert others.pop("models/run.json") == "not compared"
    assert set(others.values()) == {"identical"}
    assert snapshot(line) == before, "checkout, cache, or a worktree was left"


def test_other_weights_are_told_with_the_place(line, run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMALL_LINE_NOISE", "0.01")
    status, found = run("HEAD", from_scratch=True)
    assert (status, found["verdict"]) == (exit_codes.DIFFERENT, "different")
    assert verdicts(found)["models/network"] == "different"
    assert verdicts(found)["metrics/evaluation.json"] == "within tolerance"
    assert found["first_difference"]["output"] == "models/network"
    assert "0.01 in layer.weight" in found["first_difference"]["detail"]


def test_data_and_numbers_are_those_of_the_commit(line, run) -> None:
    line.dvc("add", "-q", "data/raw")
    line.commit("raw data in DVC")
    line.git("tag", "v1")
    line.write("data/raw/images.txt", "a c b")  # from nothing, another order than b a c
    line.dvc("add", "-q", "data/raw")
    line.dvc("repro", "-q")
    assert (line.folder / "data/catalog/images.txt").read_text() == "b a c"
    line.commit("more data")
    for revision in ("v1", "HEAD"):
        status, found = run(revision, from_scratch=True)
        assert (status, verdicts(found)["data/catalog"]) == (exit_codes.OK, "identical")


@pytest.mark.parametrize("cli", ["pipelines/cli.py", "pipelines/shell/cli.py"])
def test_stages_that_call_hemline_run_the_code_of_their_commit(line, run, cli) -> None:
    """Older commits' stages do, and have its main function elsewhere than the installed code."""
    for name in (Path(cli), Path("pipelines/cli.py")):
        line.write(str(name.parent / "__init__.py"), "")
    line.write(cli, "import runpy\n\n\ndef main():\n    runpy.run_path('stages.py')\n")
    for name in ("dvc.yaml", "dvc.lock"):
        text = (line.folder / name).read_text()
        line.write(name, text.replace("python stages.py split", "hemline split"))
    line.commit("a stage calls hemline")
    status, found = run("HEAD", from_scratch=True)
    assert (status, found["computed_stages"]) == (exit_codes.OK, STAGES)
    assert verdicts(found)["data/splits"] == "identical"


def test_what_the_cache_lost_comes_from_the_remote(line, run) -> None:
    line.dvc("push", "-q")
    shutil.rmtree(line.folder / ".dvc/cache/files")
    status, found = run("HEAD")
    assert (status, found["computed_stages"]) == (exit_codes.OK, [])


def test_a_network_that_is_gone_is_trained_again(line, run) -> None:
    line.forget("models/network")
    status, found = run("HEAD")
    assert status == exit_codes.OK
    assert found["computed_stages"] == ["train", "evaluate"]
    assert verdicts(found)["models/network"] == "identical"


def test_a_catalog_that_is_gone_is_refused(line, run) -> None:
    line.forget("data/catalog")
    with pytest.raises(HemlineError, match=r"data/catalog .* neither in DVC's cache nor in its"):
        run("HEAD", from_scratch=True)


def test_raw_data_that_changed_or_is_gone_is_refused(line, run) -> None:
    line.write("data/raw/images.txt", "b a d")
    with pytest.raises(HemlineError, match=r"data/raw: modified\nBring data back"):
        run("HEAD", from_scratch=True)
    shutil.rmtree(line.folder / "data/raw")
    with pytest.raises(HemlineError, match=r"data/raw: deleted\nBring data back"):
        run("HEAD", from_scratch=True)
    assert run("HEAD")[0] == exit_codes.OK, "what was made of them is there"


def test_what_is_unknown_is_told_with_the_remedy(line, run) -> None:
    with pytest.raises(HemlineError, match=r"no commit, branch, tag or DVC experiment.*git fetch"):
        run("0123456789")
    with pytest.raises(HemlineError, match=r"has no run 0{32}"):
        run("0" * 32)
    with pytest.raises(HemlineError, match="not in the registry"):
        run("models:/hemline/7")
    (line.folder / "dvc.lock").unlink()
    without = line.commit("without results")
    with pytest.raises(HemlineError, match="has no results to compare with"):
        run(without)


def test_another_environment_is_refused_and_can_be_insisted_on(line, run) -> None:
    line.write("constraints.txt", "numpy==1.0\ntorch>=1\nnot-installed==1\n")
    line.commit("other pins")
    with pytest.raises(HemlineError, match=r"numpy: ==1\.0 is pinned, 2.* is installed") as refused:
        run("HEAD")
    assert "torch:" not in str(refused.value)
    assert "not-installed" not in str(refused.value)
    assert run("HEAD", ignore_environment=True)[0] == exit_codes.OK


def test_a_version_of_a_changed_tree_is_made_with_its_changes(line, run) -> None:
    line.write("params.yaml", "train:\n  seed: 4\n")
    line.dvc("repro", "-q")
    run_id = line.record_run()
    uri = line.register(run_id)
    line.git("checkout", "-q", ".")
    before = line.tracking.client().get_registered_model("hemline")
    status, found = run(run_id)
    assert (status, found["verdict"], found["computed_stages"]) == (0, "identical", [])
    status, found = run(uri, from_scratch=True, keep=True)
    assert (status, found["verdict"], found["computed_stages"]) == (0, "identical", STAGES)
    assert "seed: 4" in (Path(found["worktree"]) / "params.yaml").read_text()
    assert str(found["worktree"]) in line.git("worktree", "list")
    assert line.tracking.client().get_registered_model("hemline") == before


def test_a_changed_tree_that_is_not_recorded_is_refused(line, run) -> None:
    line.write("stages.py", (line.folder / "stages.py").read_text() + "# changed\n")
    line.dvc("repro", "-q")
    run_id = line.record_run()
    other = line.record_run()
    artifacts = {
        each: Path(line.tracking.client().get_run(each).info.artifact_uri.removeprefix("file://"))
        / origin.FOLDER
        / origin.PATCH_FILE
        for each in (run_id, other)
    }
    artifacts[run_id].unlink()
    with pytest.raises(HemlineError, match="Commit before you train"):
        run(run_id)
    patch = artifacts[other].read_text()
    assert "+# changed" in patch
    artifacts[other].write_text(patch.replace("\n ", "\n another "))
    with pytest.raises(HemlineError, match="do not apply to its commit"):
        run(other)


def test_a_run_outside_git_or_without_hashes_is_refused(line, run) -> None:
    client = line.tracking.client()
    run_id = line.record_run()
    stage = client.create_run(client.get_run(run_id).info.experiment_id)
    with pytest.raises(HemlineError, match="outside of git"):
        run(stage.info.run_id)
    client.set_tag(stage.info.run_id, origin.COMMIT_TAG, line.git("rev-parse", "HEAD").strip())
    with pytest.raises(HemlineError, match="kept no hashes"):
        run(stage.info.run_id)


def test_the_registered_model_comes_out_bit_by_bit_from_scratch(project: Project) -> None:
    """The whole line on the tiny project: images decoded, network trained and measured again."""
    client = MlflowClient(project.tracking_uri)
    status = project.run("git", "status", "--porcelain").stdout
    versions = client.search_model_versions("name='hemline'")
    command = ["hemline", "reproduce", "models:/hemline/1", "--from-scratch", "--format", "json"]
    found = json.loads(project.run(*command).stdout)
    assert found["verdict"] == "identical"
    computed = ["ingest", "preprocess", "split", "triplets", "train", "prototypes", "quantise"]
    assert found["computed_stages"] == [*computed, "evaluate"]
    assert verdicts(found)["models/network"] == "identical"
    assert verdicts(found)["metrics/evaluation.json"] == "identical"
    assert project.run("git", "status", "--porcelain").stdout == status
    assert client.search_model_versions("name='hemline'") == versions
