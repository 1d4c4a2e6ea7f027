"""What commands read of their environment."""

import os

import pytest

from pipelines.shell.environment import tracking

LOGIN = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch):
    """Sets the tracking URI, and forgets afterwards what reading it set."""
    for name in LOGIN:
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
