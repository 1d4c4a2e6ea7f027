"""`hemline lineage`: versions and runs of a small line in real git, DVC and MLflow."""

import json
from collections.abc import Iterator

import pytest
from small_line import SmallLine

from components.errors import HemlineError
from pipelines.operations.lineage import lineage


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallLine]:
    """A small line that has run, as the current folder."""
    made = SmallLine(tmp_path_factory.mktemp("lineage") / "line")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.chdir(made.folder)
        yield made


@pytest.fixture(scope="module")
def version(line: SmallLine) -> str:
    """The version that was made of what the first commit records, by a later one."""
    line.git("tag", "results")
    (line.folder / "notes.txt").write_text("nothing that stages read")
    line.commit("second")
    return line.register(line.record_run())


def printed(capfd: pytest.CaptureFixture[str], *arguments: str, **options: str) -> str:
    capfd.readouterr()
    lineage(*arguments, **options)
    return capfd.readouterr().out


def test_json_has_everything_that_a_run_keeps(line, version, capfd) -> None:
    found = json.loads(printed(capfd, version, output_format="json"))
    assert found["versions"] == [version]
    assert found["lineage"]["commit"] == line.git("rev-parse", "HEAD").strip()
    assert found["lineage"]["has_local_changes"] is False
    assert found["seeds"] == {"train.seed": "3"}
    assert list(found["stages"]) == ["ingest", "split", "train", "evaluate"]
    network = {"path": "models/network", "md5": line.hash_of("models/network")}
    assert network.items() <= found["stages"]["train"]["outs"][0].items()
    assert found["data_sets"][0]["counts"] == {"images": 2}
    run_id = found["lineage"]["run_id"]
    assert json.loads(printed(capfd, run_id, output_format="json")) == found


def test_the_table_shows_the_same(line, version, capfd) -> None:
    shown = printed(capfd, version)
    expected = [line.git("rev-parse", "HEAD").strip(), "train.seed 3", "data/splits", "5" * 64]
    for text in (*expected, line.hash_of("models/network"), "images 2", version):
        assert text in shown


@pytest.mark.parametrize("revision", ["HEAD", "results", "results~0"])
def test_versions_are_found_by_the_code_and_by_the_results_of_a_commit(
    line, version, capfd, revision
) -> None:
    short = line.git("rev-parse", "--short", "HEAD").strip()
    for commit in (revision, short):
        (found,) = json.loads(printed(capfd, commit=commit, output_format="json"))
        assert found["versions"] == [version]
    assert version in printed(capfd, commit=revision)


def test_a_commit_of_nothing_says_so(line, version, capfd) -> None:
    (line.folder / "dvc.lock").unlink()
    commit = line.commit("nothing of this")
    assert json.loads(printed(capfd, commit=commit, output_format="json")) == []
    assert "no run was made from" in printed(capfd, commit=commit)
    line.git("reset", "-q", "--hard", "HEAD~1")


def test_what_is_asked_for_must_be_one_thing_that_there_is(line, version, capfd) -> None:
    for arguments, options in (((), {}), ((version,), {"commit": "HEAD"})):
        with pytest.raises(HemlineError, match="--commit REV"):
            lineage(*arguments, **options)
    with pytest.raises(HemlineError, match="is no commit, branch, tag"):
        lineage(commit="nowhere")
    with pytest.raises(HemlineError, match="not in the registry"):
        lineage("models:/hemline/9")
    with pytest.raises(HemlineError, match="has no run"):
        lineage("0" * 32)
