"""Augmentation of a batch: compared with torchvision's functions, one image at a time."""

import math

import pytest
import torch
from torch.testing import assert_close
from torchvision.transforms.v2 import functional as one_image

from components.images.augmentation import NUM_DRAWS, Augmentation, Draw
from components.networks import IMAGENET_PIXELS

OFF = {
    "flip_probability": 0.0,
    "crop_min_area": 1.0,
    "colour_jitter": 0.0,
    "erase_probability": 0.0,
}
ON = {
    "flip_probability": 0.5,
    "crop_min_area": 0.2,
    "colour_jitter": 0.4,
    "erase_probability": 0.5,
}
EACH = sorted(ON)
COLUMNS = {  # the numbers that each augmentation may use
    "flip_probability": [Draw.FLIP],
    "crop_min_area": range(Draw.CROP_AREA, Draw.CROP_LEFT + 1),
    "colour_jitter": range(Draw.BRIGHTNESS, Draw.SATURATION + 1),
    "erase_probability": range(Draw.ERASE, Draw.ERASED_LEFT + 1),
}
LARGEST = 1 - 2**-24  # the largest float32 that a generator of [0, 1) returns
MEAN_C11 = torch.tensor(IMAGENET_PIXELS.mean).view(3, 1, 1) * 255  # as `normalise` subtracts it
HEIGHT, WIDTH = 40, 48  # unequal to show transpositions; some boxes fit neither
EXACT = {"rtol": 0, "atol": 0}
TOLERANCES = {
    "flip_probability": EXACT,
    # Float32 rounding of positions, about 1e-7 of a side, times the steepest slope, 255 a pixel.
    "crop_min_area": {"rtol": 0, "atol": 5e-3},
    "colour_jitter": {"rtol": 0, "atol": 1e-3},  # of colours, three times over
    "erase_probability": EXACT,
}


def augmentation(**on):
    return Augmentation(**(OFF | on))


def only(name):
    return augmentation(**{name: ON[name]})


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (16, 3, HEIGHT, WIDTH), generator=generator).float()


@pytest.fixture
def draws():
    return torch.rand(16, NUM_DRAWS, generator=torch.Generator().manual_seed(1))


def box(draws_4, *, area, aspect):
    """Returns top, left, height, width from the definition; `aspect` is height / width."""
    area_draw, aspect_draw, top_draw, left_draw = (float(draw) for draw in draws_4)
    area_px = HEIGHT * WIDTH * (area[0] + (area[1] - area[0]) * area_draw)
    low, high = math.log(aspect[0]), math.log(aspect[1])
    drawn = math.exp(low + (high - low) * aspect_draw)
    height = min(round(math.sqrt(area_px * drawn)), HEIGHT)
    width = min(round(math.sqrt(area_px / drawn)), WIDTH)
    top = math.floor(top_draw * (HEIGHT - height + 1))
    left = math.floor(left_draw * (WIDTH - width + 1))
    return top, left, height, width


def flipped(image, draw):
    return one_image.horizontal_flip(image) if draw[Draw.FLIP] < 0.5 else image


def cropped(image, draw):
    place = box(draw[Draw.CROP_AREA : Draw.CROP_LEFT + 1], area=(0.2, 1), aspect=(3 / 4, 4 / 3))
    return one_image.resized_crop(image, *place, size=[HEIGHT, WIDTH])


def jittered(image, draw):
    image = image / 255
    image = one_image.adjust_brightness(image, 0.6 + 0.8 * float(draw[Draw.BRIGHTNESS]))
    image = one_image.adjust_contrast(image, 0.6 + 0.8 * float(draw[Draw.CONTRAST]))
    return one_image.adjust_saturation(image, 0.6 + 0.8 * float(draw[Draw.SATURATION])) * 255


def erased(image, draw):
    if draw[Draw.ERASE] >= 0.5:
        return image
    columns = slice(Draw.ERASED_AREA, Draw.ERASED_LEFT + 1)
    return one_image.erase(
        image, *box(draw[columns], area=(0.02, 0.33), aspect=(0.3, 3.3)), v=MEAN_C11
    )


REFERENCES = {
    "flip_probability": flipped,
    "crop_min_area": cropped,
    "colour_jitter": jittered,
    "erase_probability": erased,
}


@pytest.mark.parametrize("name", EACH)
def test_each_augmentation_is_torchvisions_of_each_image(name, images, draws):
    expected = [REFERENCES[name](image, draw) for image, draw in zip(images, draws, strict=True)]
    assert_close(only(name)(images, draws), torch.stack(expected), **TOLERANCES[name])


def test_all_together_are_flip_crop_jitter_erase_in_this_order(images, draws):
    expected = images
    for name in ("flip_probability", "crop_min_area", "colour_jitter", "erase_probability"):
        expected = only(name)(expected, draws)
    assert torch.equal(Augmentation(**ON)(images, draws), expected)


def test_what_is_off_changes_no_bit(images, draws):
    assert torch.equal(augmentation()(images, draws), images)


@pytest.mark.parametrize("name", EACH)
def test_each_augmentation_uses_its_own_numbers_alone(name, images, draws):
    augment = only(name)
    others = [column for column in range(NUM_DRAWS) if column not in COLUMNS[name]]
    before = augment(images, draws)
    moved = draws.clone()
    moved[:, others] = 1 - moved[:, others]
    assert torch.equal(augment(images, moved), before)
    for column in COLUMNS[name]:
        moved = draws.clone()
        moved[:, column] = 1 - moved[:, column]
        assert not torch.equal(augment(images, moved), before), Draw(column).name


def test_an_image_does_not_depend_on_its_batch(images, draws):
    augment = Augmentation(**ON)
    whole = augment(images, draws)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(2))
    # Only the mean of the contrast is summed, and its order may depend on the shape of the batch.
    tolerance = {"rtol": 0, "atol": 1e-3}
    assert_close(augment(images[order], draws[order]), whole[order], **tolerance)
    assert_close(augment(images[::2], draws[::2]), whole[::2], **tolerance)


@pytest.mark.parametrize("area", [0, LARGEST])
@pytest.mark.parametrize("aspect", [0, 0.5, LARGEST])
@pytest.mark.parametrize("place", [0, LARGEST])
def test_crops_stay_in_the_image_and_their_ranges(area, aspect, place):
    rows = torch.arange(HEIGHT).float()[:, None].expand(HEIGHT, WIDTH)
    columns = torch.arange(WIDTH).float().expand(HEIGHT, WIDTH)
    where = torch.stack([rows, columns, columns])[None]  # each pixel says where it was
    draws = torch.zeros(1, NUM_DRAWS)
    draws[0, Draw.CROP_AREA : Draw.CROP_LEFT + 1] = torch.tensor([area, aspect, place, place])

    rows, columns, _ = only("crop_min_area")(where, draws)[0]
    share, ratio = (1.0 if area else 0.2), (4 / 3) ** (2 * aspect - 1)
    height = min(round(math.sqrt(share * HEIGHT * WIDTH * ratio)), HEIGHT)
    width = min(round(math.sqrt(share * HEIGHT * WIDTH / ratio)), WIDTH)
    top, left = (HEIGHT - height, WIDTH - width) if place else (0, 0)
    assert_close(rows.aminmax(), (torch.tensor(top).float(), torch.tensor(top + height - 1.0)))
    assert_close(columns.aminmax(), (torch.tensor(left).float(), torch.tensor(left + width - 1.0)))


@pytest.mark.parametrize(("draw", "factor"), [(0, 0.6), (0.5, 1.0), (LARGEST, 1.4)])
def test_brightness_reaches_both_ends(draw, factor):
    grey = torch.full((1, 3, 4, 4), 100.0)  # which contrast and saturation leave as it is
    bright = only("colour_jitter")(grey, torch.full((1, NUM_DRAWS), draw))
    # Or nearly: torchvision's weights of grey add up to 0.9999.
    assert_close(bright, grey * factor, rtol=0, atol=2 * 140 * 1e-4)


def test_jittered_colours_stay_in_range(images):
    ends = torch.cartesian_prod(*[torch.tensor([0, LARGEST])] * 3).repeat(2, 1)
    draws = torch.zeros(len(images), NUM_DRAWS)
    draws[:, Draw.BRIGHTNESS : Draw.SATURATION + 1] = ends
    jittered = augmentation(colour_jitter=1.0)(images, draws)
    assert jittered.min() == 0
    assert jittered.max() == 255


@pytest.mark.parametrize(("draw", "share"), [(0, 0.02), (0.5, 0.175), (LARGEST, 0.33)])
@pytest.mark.parametrize("place", [0, LARGEST])
def test_the_erased_share_is_zero_after_normalisation(draw, share, place):
    side_px = 200  # of which one row more or less is 0.5 %
    square = math.log(1 / 0.3) / math.log(3.3 / 0.3)  # the draw of aspect 1
    draws = torch.zeros(1, NUM_DRAWS)
    columns = slice(Draw.ERASED_AREA, Draw.ERASED_LEFT + 1)
    draws[0, columns] = torch.tensor([draw, square, place, place])

    image = torch.full((1, 3, side_px, side_px), 200.0)
    zero = ((only("erase_probability")(image, draws) - MEAN_C11) == 0).all(dim=1)[0]
    length = round(side_px * math.sqrt(share))
    start = side_px - length if place else 0
    expected = torch.zeros(side_px, side_px, dtype=torch.bool)
    expected[start : start + length, start : start + length] = True
    assert torch.equal(zero, expected)


def test_probability_one_takes_every_image_and_its_draw_decides_below(images):
    draws = torch.full((16, NUM_DRAWS), LARGEST)
    flip = augmentation(flip_probability=1.0)
    assert torch.equal(flip(images, draws), images.flip(-1))
    erase = augmentation(erase_probability=1.0)
    assert (erase(images, draws) != images).flatten(1).any(dim=1).all()
    draws[:, [Draw.FLIP, Draw.ERASE]] = 0.5  # not below a probability of one half
    assert torch.equal(only("flip_probability")(images, draws), images)
    assert torch.equal(only("erase_probability")(images, draws), images)


def test_the_images_given_are_not_changed(images, draws):
    before = images.clone()
    Augmentation(**ON)(images, draws)
    assert torch.equal(images, before)


def test_autocast_changes_nothing(images, draws):
    augment = Augmentation(**ON)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast = augment(images, draws)
    assert under_autocast.dtype == torch.float32
    assert torch.equal(under_autocast, augment(images, draws))


@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("on", [{name: ON[name]} for name in EACH] + [ON], ids=[*EACH, "all"])
def test_the_memory_format_is_kept(memory_format, on, images, draws):
    given = images.contiguous(memory_format=memory_format)
    augmented = augmentation(**on)(given, draws)
    assert augmented.is_contiguous(memory_format=memory_format)
    assert torch.equal(augmented, augmentation(**on)(images, draws))


def test_it_compiles_to_one_graph_that_never_asks_for_a_value(images, draws):
    augment = Augmentation(**ON)

    def forward(images, draws):
        return augment(images, draws)

    compiled = torch.compile(forward, fullgraph=True, backend="eager")  # or an exception
    assert torch.equal(compiled(images, draws), augment(images, draws))
