"""What DVC's files say: which stages are up to date, and which hashes count."""

import subprocess
from pathlib import Path

import yaml

from components.provenance.dvc_files import (
    LOCK,
    digest,
    format_lock,
    hashes,
    output_hashes,
    read_committed_lock,
    read_lock,
    uncached_outputs,
    up_to_date,
    with_followers,
)

STAGES = {
    "a": {"outs": [{"path": "one", "md5": "1"}]},
    "b": {"deps": [{"path": "one", "md5": "1"}], "outs": [{"path": "two", "md5": "2"}]},
    "c": {"deps": [{"path": "two/file", "md5": "9"}], "outs": [{"path": "three", "md5": "3"}]},
    "d": {"deps": [{"path": "three", "md5": "3"}], "outs": []},
}


def test_a_lock_is_read_as_it_was_written_and_as_it_was_committed(repository: Path) -> None:
    LOCK.write_text(format_lock(STAGES))
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", *who, "commit", "-qam", "results"], check=True)
    assert read_lock() == STAGES
    LOCK.unlink()
    assert read_lock() == {}
    assert read_committed_lock("HEAD") == STAGES
    subprocess.run(["git", *who, "commit", "-qam", "no results"], check=True)
    assert read_committed_lock("HEAD") == {}
    assert read_committed_lock("HEAD~1") == STAGES


def test_hashes_are_of_any_kind_and_those_of_outputs_count() -> None:
    stages = {
        "a": {"deps": [{"path": "raw", "etag": "e"}], "outs": [{"path": "out", "md5": "new"}]},
        "b": {"deps": [{"path": "out", "md5": "old"}], "outs": [{"path": "unknown"}]},
    }
    assert hashes(stages) == {"raw": "e", "out": "new"}, "b has yet to run again"
    assert output_hashes(stages) == {"out": "new"}


def test_uncached_outputs_are_those_that_git_keeps(tmp_path: Path) -> None:
    outs = ["models", {"curve.csv": {"cache": False}}, {"data": {"persist": True}}]
    stage = {"cmd": "x", "outs": outs, "metrics": [{"metrics.json": {"cache": False}}]}
    pipeline = tmp_path / "dvc.yaml"
    assert uncached_outputs(pipeline) == []
    pipeline.write_text(yaml.safe_dump({"stages": {"train": stage}}))
    assert uncached_outputs(pipeline) == [Path("curve.csv"), Path("metrics.json")]


def test_stages_that_have_yet_to_run_again_are_left_out_with_what_follows() -> None:
    assert up_to_date(STAGES) == STAGES
    changed = {**STAGES, "a": {"outs": [{"path": "one", "md5": "other"}]}}
    assert list(up_to_date(changed)) == ["a", "c", "d"], "c reads a file of a folder: not known"
    changed = {**STAGES, "c": {**STAGES["c"], "outs": [{"path": "three", "md5": "other"}]}}
    assert list(up_to_date(changed)) == ["a", "b", "c"]


def test_followers_read_what_a_stage_makes_or_a_part_of_it() -> None:
    assert with_followers(STAGES, "b") == {"b", "c", "d"}
    assert with_followers(STAGES, "d") == {"d"}


def test_the_digest_of_stages_is_of_their_content_alone() -> None:
    assert digest(STAGES) == digest(dict(reversed(STAGES.items())))
    assert digest(STAGES) != digest(up_to_date({**STAGES, "a": {"outs": []}}))
