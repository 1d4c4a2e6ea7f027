"""What a retrain takes for news, with a real registry."""

from pathlib import Path

import pytest

from components.registry import promotion, versions
from components.registry.versions import RegisteredVersion
from components.tracking.runs import Tracking, start_run
from pipelines.operations.retrain.steps import _judged_version
from pipelines.shell.options import REGISTRATION


def test_a_verdict_on_a_model_of_another_name_is_none_on_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have a first version, and the gate has judged both."""
    monkeypatch.chdir(tmp_path)
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    ours, theirs = (
        Tracking(uri=uri, artifact_root=str(tmp_path), model_name=name)
        for name in ("shop", "hemline")
    )
    run_id = start_run(ours, params={}, tags={})
    for where in (ours, theirs):
        where.client().create_registered_model(where.model_name)
        where.client().create_model_version(where.model_name, source="x", run_id=run_id)
        version = RegisteredVersion(name=where.model_name, version=1)
        versions.write_tag(version, promotion.VERDICT_TAG, "{}", tracking=where)
    assert _judged_version(ours) is None, "nothing is registered here"
    versions.write_registration(RegisteredVersion(name="hemline", version=1), REGISTRATION)
    assert _judged_version(theirs) == 1
    assert _judged_version(ours) is None
