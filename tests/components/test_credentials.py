"""What is secret in addresses, and what is not."""

import pytest

from components.credentials import without_credentials


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("https://me:hunter2@host/repo.git", "https://host/repo.git"),
        ("https://ghp_token@host/repo.git", "https://host/repo.git"),
        ("postgresql+psycopg2://me:hun%40ter@db:5432/x", "postgresql+psycopg2://db:5432/x"),
        ("s3://key:se+cret=@bucket/data", "s3://bucket/data"),
        ("s3://key:sec/ret@bucket/data", "s3://bucket/data"),
        ("root: 's3://key:secret@bucket'\nx: 1", "root: 's3://bucket'\nx: 1"),
        ("from http://a:b@one to http://c:d@two", "from http://one to http://two"),
        ("ssh://git:word@host/repo", "ssh://host/repo"),
        ("https://x/y?a=1&X-Amz-Signature=abc&b=2", "https://x/y?a=1&X-Amz-Signature=***&b=2"),
        ("https://blob/c?sv=1&sig=abc%3D", "https://blob/c?sv=1&sig=***"),
    ],
)
def test_credentials_are_left_out(text: str, left: str) -> None:
    assert without_credentials(text) == left
    assert without_credentials(left) == left


@pytest.mark.parametrize(
    "text",
    [
        "ssh://git@host/repo",
        "git@host:group/repo.git",
        "s3://bucket/a@b/c",
        "http://host:5000/a@b",
        "sqlite:////home/me/mlflow.db",
        "https://host/a?page=2&key_of=x",
        "models:/hemline@champion",
        "mail me@example.org at 10:30",
    ],
)
def test_what_is_no_credential_stays(text: str) -> None:
    assert without_credentials(text) == text
