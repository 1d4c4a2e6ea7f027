"""The perceptual hash against its definition, and what it must and must not notice."""

import io

import numpy as np
import pytest
from builders import noise
from PIL import Image, ImageEnhance
from scipy.fft import dctn

from components.images.perceptual_hash import perceptual_hashes

SIDE = 64


def smooth(seed):
    """Returns a picture with structure at the scale that the hash looks at."""
    return noise(6, 6, seed=seed).resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def hash_of(image):
    return int(perceptual_hashes(np.asarray(image.convert("RGB"))[None])[0])


def distance(one, other):
    return (hash_of(one) ^ hash_of(other)).bit_count()


@pytest.mark.parametrize("seed", range(3))
def test_against_the_definition(seed):
    image = smooth(seed)
    grey = np.asarray(image.convert("L"), float)
    blocks = grey.reshape(32, SIDE // 32, 32, SIDE // 32).mean(axis=(1, 3)).round()
    spectrum = dctn(blocks, type=2, norm="ortho")
    lowest = [spectrum[row, column] for row in range(1, 9) for column in range(1, 9)]
    bits = [str(int(frequency > np.median(lowest))) for frequency in lowest]

    assert (hash_of(image) ^ int("".join(bits), 2)).bit_count() <= 2, "grey is rounded to 8 bits"


def test_pictures_are_hashed_one_by_one():
    pixels = np.stack([np.asarray(smooth(seed)) for seed in range(5)])

    assert perceptual_hashes(pixels).tolist() == [hash_of(smooth(seed)) for seed in range(5)]
    assert perceptual_hashes(pixels[:0]).tolist() == []


def recompressed(image):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=60)
    return Image.open(buffer)


@pytest.mark.parametrize(
    "change",
    [
        recompressed,
        lambda image: image.resize((48, 48)).resize((SIDE, SIDE)),
        lambda image: ImageEnhance.Brightness(image).enhance(0.8),
        lambda image: image.convert("L"),
    ],
    ids=["recompressed", "resized", "darker", "grey"],
)
def test_nearly_the_same_picture_has_nearly_the_same_hash(change):
    assert max(distance(smooth(seed), change(smooth(seed))) for seed in range(10)) <= 8


def test_other_pictures_are_far_away():
    distances = [distance(smooth(a), smooth(b)) for a in range(10) for b in range(a)]
    assert min(distances) > 12
    assert 28 < np.mean(distances) < 36, "as far as chance puts them"


@pytest.mark.parametrize("colour", ["white", "black", (13, 200, 77)])
def test_a_plain_colour_has_the_hash_of_no_structure(colour):
    assert hash_of(Image.new("RGB", (SIDE, SIDE), colour)) == 0
