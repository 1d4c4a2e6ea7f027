"""Boxes after cropping: compared with what `decode` does to painted boxes."""

import numpy as np
import pytest
from builders import encoded
from PIL import Image

from components.images.decode import boxes_in_crop, decode

SIZE_PX = 64


@pytest.mark.parametrize(("width", "height"), [(128, 128), (192, 128), (128, 320)])
@pytest.mark.parametrize("box", [(40, 40, 80, 100), (0, 0, 96, 128), (60, 20, 128, 60)])
def test_a_painted_box_lies_where_the_crop_shows_it(width, height, box):
    image = Image.new("RGB", (width, height), "black")
    image.paste("white", box)
    pixels = decode(encoded(image), image_size_px=SIZE_PX)[:, :, 0] > 127

    inside = boxes_in_crop(np.array([box], float), np.array([[width, height]]))[0] * SIZE_PX
    left, top, right, bottom = inside
    expected = np.zeros((SIZE_PX, SIZE_PX), bool)
    expected[round(top) : round(bottom), round(left) : round(right)] = True
    assert (pixels == expected).all()


def test_a_box_outside_the_crop_is_empty():
    inside = boxes_in_crop(np.array([[0.0, 5, 10, 20]]), np.array([[100, 40]]))[0]
    assert inside[0] == inside[2] == 0
