"""What commands read of their environment."""

import os
from pathlib import Path

import pytest
from mlflow.environment_variables import (
    MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR,
    MLFLOW_HTTP_REQUEST_BACKOFF_JITTER,
    MLFLOW_HTTP_REQUEST_MAX_RETRIES,
    MLFLOW_HTTP_REQUEST_TIMEOUT,
)

from components.errors import HemlineError
from pipelines.shell.environment import tracking

TIMES = ("MLFLOW_HTTP_REQUEST_TIMEOUT", "MLFLOW_HTTP_REQUEST_MAX_RETRIES")
LOGIN = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
NAMES = tuple(
    f"MLFLOW_{name}"
    for name in ("TRACKING_URI", "REGISTRY_URI", "EXPERIMENT_NAME", "EXPERIMENT_ID")
)


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch):
    """Sets the tracking URI, and forgets afterwards what reading it set."""
    for name in (*NAMES, *LOGIN, *TIMES):
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)

    def give(uri: str, **more: str) -> None:
        for name, value in {"MLFLOW_TRACKING_URI": uri, **more}.items():
            monkeypatch.setenv(name, value)

    return give


def test_a_login_in_the_tracking_uri_goes_to_mlflow_apart_from_it(given) -> None:

    given("https://retrain:pass%2Fword@mlflow.example.org:5000/team")
    for _ in range(2):  # again: the URI is bare by then
        assert tracking().uri == "https://mlflow.example.org:5000/team"
        assert [os.environ[name] for name in LOGIN] == ["retrain", "pass/word"]
    assert os.environ["MLFLOW_TRACKING_URI"] == tracking().uri


def test_a_login_of_its_own_counts_more_than_the_uris(given) -> None:

    given("https://old:old@mlflow.example.org", **dict(zip(LOGIN, ["new", "secret"], strict=True)))
    assert tracking().uri == "https://mlflow.example.org"
    assert [os.environ[name] for name in LOGIN] == ["new", "secret"]


def test_the_registry_may_be_another_store_and_has_no_password_either(given) -> None:
    given(
        "https://retrain:s3cret@mlflow.example.org",
        MLFLOW_REGISTRY_URI="https://retrain:s3cret@models.example.org",
    )
    for _ in range(2):
        where = tracking()
        assert (where.uri, where.registry_uri) == (
            "https://mlflow.example.org",
            "https://models.example.org",
        )
    assert [os.environ[name] for name in LOGIN] == ["retrain", "s3cret"]
    assert "s3cret" not in os.environ["MLFLOW_TRACKING_URI"] + os.environ["MLFLOW_REGISTRY_URI"]
    assert where.registry_address == "https://models.example.org"


@pytest.mark.parametrize("login", ["", "other:s3cret@"], ids=["none", "another"])
def test_a_login_is_not_sent_to_a_registry_that_it_is_not_for(given, login: str) -> None:
    given(
        "https://retrain:s3cret@mlflow.example.org",
        MLFLOW_REGISTRY_URI=f"https://{login}models.example.org",
    )
    with pytest.raises(
        HemlineError, match=r"https://models\.example\.org, and .* the same"
    ) as told:
        tracking()
    assert "s3cret" not in str(told.value)
    given("sqlite:////shared/mlflow.db")
    assert tracking().uri == "sqlite:////shared/mlflow.db"


def test_a_database_as_registry_keeps_its_password_to_itself(given) -> None:
    given("https://mlflow.example.org", MLFLOW_REGISTRY_URI="postgresql://me:s3cret@db/models")
    assert tracking().registry_uri == "postgresql://me:s3cret@db/models"
    assert tracking().registry_address == "postgresql://db/models"


def test_names_come_from_the_params_and_mlflows_variables_count_more(given, tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    params.write_text("tracking: {experiment: nightly}\nregistry: {model: shop}\n")

    def names() -> tuple[str | None, str | None, str]:
        where = tracking(params)
        return where.experiment, where.experiment_id, where.model_name

    given("sqlite:///mlflow.db")
    assert names() == ("nightly", None, "shop")
    given("sqlite:///mlflow.db", MLFLOW_EXPERIMENT_NAME="asked for")
    assert names() == ("asked for", None, "shop")
    given("sqlite:///mlflow.db", MLFLOW_EXPERIMENT_ID="7")
    assert names() == ("asked for", "7", "shop")
    given("sqlite:///mlflow.db", MLFLOW_EXPERIMENT_NAME="")
    assert names() == (None, "7", "shop")


def test_outside_of_a_project_names_are_the_defaults(given, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    given("sqlite:///mlflow.db")
    assert (tracking().experiment, tracking().model_name) == ("hemline", "hemline")
    with pytest.raises(HemlineError, match=r"params\.yml is missing"):
        tracking(tmp_path / "params.yml")


def test_a_store_that_hangs_is_given_up_within_a_minute_unless_told_otherwise(given) -> None:
    given("http://127.0.0.1:5000")
    tracking()
    attempts = 1 + MLFLOW_HTTP_REQUEST_MAX_RETRIES.get()
    pauses_s = sum(
        MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR.get() * 2**number
        + MLFLOW_HTTP_REQUEST_BACKOFF_JITTER.get()
        for number in range(1, attempts - 1)  # the first comes at once
    )
    assert attempts * MLFLOW_HTTP_REQUEST_TIMEOUT.get() + pauses_s < 60  # docs/operations.md
    given("http://127.0.0.1:5000", MLFLOW_HTTP_REQUEST_TIMEOUT="300")
    tracking()
    assert MLFLOW_HTTP_REQUEST_TIMEOUT.get() == 300
