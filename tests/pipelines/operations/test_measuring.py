"""Pixels from files, for models of another size than the store, and files that are missing."""

from pathlib import Path

import numpy as np
import pytest
from builders import encoded, images_table, noise

from components.errors import HemlineError
from components.images.decode import decode
from pipelines.operations.promote.measuring import FilePixels

SIZE_PX = 48


@pytest.fixture
def pictures(tmp_path: Path) -> FilePixels:
    for image in range(5):
        (tmp_path / f"{image}.png").write_bytes(encoded(noise(70, 60, seed=image)))
    return FilePixels(
        root=tmp_path,
        images=images_table(["00" * 32] * 5),
        boxes={3: (10.0, 5.0, 40.0, 60.0)},
        image_size_px=SIZE_PX,
        crop="box",
    )


def test_images_come_in_the_order_asked_and_as_they_are_decoded(pictures) -> None:
    found = pictures.gather(np.array([3, 0, 4]))
    files = [(pictures.root / f"{image}.png").read_bytes() for image in (3, 0, 4)]
    boxes = [(10.0, 5.0, 40.0, 60.0), None, None]
    expected = np.stack(
        [
            decode(data, image_size_px=SIZE_PX, crop="box", box=box)
            for data, box in zip(files, boxes, strict=True)
        ]
    )
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"")])
def test_an_unreadable_file_is_named(pictures, damage) -> None:
    damage(pictures.root / "2.png")
    with pytest.raises(HemlineError, match=r"2\.png: .*bring the file back"):
        pictures.gather(np.array([1, 2]))
