"""`hemline wardrobe`: images, or products, and what it refuses."""

import csv
from pathlib import Path

import pytest

from pipelines.shell.cli import main


def run(*arguments: str, status: int = 0) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["wardrobe", *arguments])
    assert (stopped.value.code or 0) == status


@pytest.mark.slow
def test_products_have_six_photographs_unless_told_otherwise(tmp_path: Path) -> None:
    for arguments, expected in (((), 12), (("--photos-per-item", "3"), 6)):
        out = tmp_path / str(expected)
        run("--items", "2", "--image-size", "64", "--out", str(out), *arguments)
        with (out / "labels.csv").open() as stream:
            assert len(list(csv.DictReader(stream))) == expected


@pytest.mark.slow
def test_images_have_one_label_unless_told_otherwise(tmp_path: Path) -> None:
    for arguments, expected in (
        ((), "Annotations/label.csv"),
        (("--labels", "all"), "labels.csv"),
    ):
        run("--images", "3", "--image-size", "64", "--out", str(tmp_path / "out"), *arguments)
        assert (tmp_path / "out" / expected).is_file()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--items", "2", "--images", "12"), "leave out --images"),
        (("--items", "2", "--labels", "one"), "leave out --labels"),
        (("--photos-per-item", "4"), "--photos-per-item goes with --items"),
        (("--items", "2", "--photos-per-item", "1"), "it must be at least 2"),
        (("--items", "0"), "num_items is 0; it must be at least 1"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    run("--out", str(tmp_path / "out"), *arguments, status=1)
    # the message is wrapped to the width of the terminal
    assert said in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()
