"""`hemline lineage`: versions and runs of a small line in real git, DVC and MLflow."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from small_line import SmallLine

from components.errors import HemlineError
from components.provenance import origin, recording
from components.provenance.origin import DataSet
from components.tracking import runs
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


INPUTS = ("data/raw", "data/catalog", "data/splits")


@pytest.fixture(scope="module")
def experiments(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SmallLine, list]]:
    """Three experiments in a row: each one's run, commit, and content hashes from disk.

    They differ by a seed and by images: all outputs of each are others than before.
    """
    line = SmallLine(tmp_path_factory.mktemp("experiments") / "line")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.chdir(line.folder)
        yield line, [_experiment(line, seed) for seed in (7, 8, 9)]


def _experiment(line: SmallLine, seed: int) -> tuple[str, str, dict[str, str]]:
    """Records as the stages do: what they start from, then what was made until then, twice."""
    line.write("params.yaml", yaml.safe_dump({"train": {"seed": seed}}))
    line.write("data/raw/images.txt", " ".join(f"image-{number}" for number in range(seed)))
    line.dvc("repro", "-q", "split")  # dvc.lock still has the training of before
    where, run_file = line.tracking, Path("models/run.json")
    tags = recording.origin_tags(INPUTS, experiment={})
    run_id = runs.start_run(where, params={"train": {"seed": seed}}, tags=tags)
    line.dvc("repro", "-q", "train")
    data = DataSet(name="small", source="data/raw", digest="5" * 64, counts={"images": seed})
    recording.record_start(data, tracking=where, run_id=run_id)
    recording.record_outputs(run_file, tracking=where, run_id=run_id)
    line.dvc("repro", "-q", "evaluate")
    recording.record_outputs(run_file, tracking=where, run_id=run_id)
    stages = yaml.safe_load(Path("dvc.lock").read_text())["stages"].values()
    outs = [out["path"] for stage in stages for out in stage["outs"]]
    expected = {f"dvc_out.{path}": _md5(Path(path)) for path in outs}
    expected |= {f"dvc.{path}": _md5(Path(path)) for path in INPUTS}
    return run_id, line.commit(f"seed {seed}"), expected


def _md5(path: Path) -> str:
    """Returns the hash of a file or folder as DVC defines it, from its bytes."""
    if path.is_file():
        return hashlib.md5(path.read_bytes()).hexdigest()
    members = [
        {"md5": _md5(file), "relpath": file.relative_to(path).as_posix()}
        for file in sorted(path.rglob("*"))
        if file.is_file()
    ]
    return hashlib.md5(json.dumps(members, sort_keys=True).encode()).hexdigest() + ".dir"


def hash_tags(line: SmallLine, run_id: str) -> dict[str, str]:
    tags = line.tracking.client().get_run(run_id).data.tags
    return {name: tags[name] for name in tags if name.startswith(("dvc.", "dvc_out."))}


def test_every_tag_is_that_of_the_bytes_of_its_own_experiment(experiments) -> None:
    line, made = experiments
    for run_id, commit, on_disk in made:
        assert hash_tags(line, run_id) == on_disk
        lock = yaml.safe_load(line.git("show", f"{commit}:dvc.lock"))["stages"]
        assert origin.read_stages(run_id, tracking=line.tracking) == lock
        locked = {
            prefix + entry["path"]: entry["md5"]
            for stage in lock.values()
            for kind, prefix in (("deps", "dvc."), ("outs", "dvc_out."))
            for entry in stage[kind]
        }
        assert on_disk.items() <= locked.items()
    for name in made[0][2]:
        assert len({on_disk[name] for *_, on_disk in made}) == len(made), "experiments differ"


def test_a_commit_finds_the_run_of_its_own_results(experiments, capfd) -> None:
    _, made = experiments
    for number, (run_id, commit, _) in enumerate(made):
        found = json.loads(printed(capfd, commit=commit, output_format="json"))
        following = [made[number + 1][0]] if number < 2 else []  # whose code it is
        assert [run["lineage"]["run_id"] for run in found] == [run_id, *following]


def test_tags_of_an_earlier_run_are_mended_from_the_lock_that_a_run_kept(
    experiments, capfd
) -> None:
    line, ((_, _, earlier), _, (run_id, commit, right)) = experiments
    of_no_output = {"dvc_out.reports/old.html": "1" * 32}
    runs.set_tags(earlier | of_no_output, tracking=line.tracking, run_id=run_id)
    with pytest.raises(HemlineError, match="--mend"):
        lineage(commit=commit)
    shown = printed(capfd, mend=True, dry_run=True)
    for content in (*earlier.values(), *right.values(), "dvc_out.reports/old.html"):
        assert content in shown.replace("\n", "")
    assert hash_tags(line, run_id) == earlier | of_no_output, "nothing is changed by saying what"
    document = json.loads(printed(capfd, mend=True, dry_run=True, output_format="json"))
    told = document["changes"]
    assert document["dry_run"]
    assert {change["tag"]: change["right"] for change in told if change["run_id"] == run_id} == {
        **{tag: right[tag] for tag in earlier},
        "dvc_out.reports/old.html": None,
    }
    assert {change["tag"]: change["was"] for change in told} == earlier | of_no_output
    assert "is now" in printed(capfd, mend=True)
    for each, _, expected in experiments[1]:
        assert hash_tags(line, each) == expected
    assert run_id in printed(capfd, commit=commit)
    for target in ((), (run_id,)):
        assert "agree with the dvc.lock" in printed(capfd, *target, mend=True)
    after = json.loads(printed(capfd, mend=True, output_format="json"))
    assert after == {"dry_run": False, "changes": []}


def printed(capfd: pytest.CaptureFixture[str], *arguments: str, **options: str | bool) -> str:
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
    for output_format in ("json", "table"):
        with pytest.raises(
            HemlineError, match=r"no run in the MLflow store .* MLFLOW_TRACKING_URI"
        ):
            lineage(commit=commit, output_format=output_format)
    line.git("reset", "-q", "--hard", "HEAD~1")


def test_what_is_asked_for_must_be_one_thing_that_there_is(line, version, capfd) -> None:
    both = {"commit": "HEAD", "mend": True}
    for arguments, options in (((), {}), ((version,), {"commit": "HEAD"}), ((), both)):
        with pytest.raises(HemlineError, match="--commit REV"):
            lineage(*arguments, **options)
    with pytest.raises(HemlineError, match="--dry-run goes with --mend"):
        lineage(version, dry_run=True)
    with pytest.raises(HemlineError, match="is no commit, branch, tag"):
        lineage(commit="nowhere")
    with pytest.raises(HemlineError, match="not in the registry"):
        lineage("models:/hemline/9")
    with pytest.raises(HemlineError, match="has no run"):
        lineage("0" * 32)
