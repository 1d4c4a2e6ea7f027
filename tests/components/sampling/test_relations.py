"""Related images: by file, by group, by perceptual hash, and by whatever leads on."""

import numpy as np
import pytest
from assigning import far_apart, hashes_table
from builders import images_table

from components.errors import HemlineError
from components.sampling.relations import related_images, units


def related_of(images, hashes=None, *, distance=3):
    hashes = far_apart(images) if hashes is None else hashes
    return related_images(images, hashes_table(images, hashes), near_duplicate_distance=distance)


def test_a_set_is_named_by_its_smallest_image():
    images = images_table("abcab", groups=[None, "shoe", None, "shoe", "hat"])
    related = related_of(images, [0, 2**20 - 1, 2**40 - 1, 2**60 - 1, 2**40 - 2])

    assert related.index.tolist() == [0, 1, 2, 3, 4]
    assert related["identical_file"].tolist() == [0, 1, 2, 0, 1]
    assert related["group"].tolist() == [0, 1, 2, 1, 4]
    assert related["near_duplicate"].tolist() == [0, 1, 2, 3, 2]


def test_near_duplicates_are_not_looked_for_without_a_distance():
    assert list(related_of(images_table("ab"), distance=None)) == ["identical_file", "group"]


@pytest.mark.parametrize(("distance", "expected"), [(2, [0, 1]), (3, [0, 0])])
def test_near_duplicates_differ_in_at_most_the_distance(distance, expected):
    related = related_of(images_table("ab"), [0b111, 0], distance=distance)

    assert related["near_duplicate"].tolist() == expected


def test_units_follow_chains_of_all_kinds():
    # 0 and 2 are copies, 2 and 5 a group, 5 and 7 near-duplicates; 1 and 3 are a group
    images = images_table("axayzbcd", groups=[None, "m", "n", "m", None, "n", None, None])
    hashes = far_apart(images)
    hashes[7] = hashes[5] ^ np.uint64(1)
    related = related_of(images, hashes)

    # 1 and 3 are a group; 4 and 6 are alone
    assert units(related).tolist() == [0, 1, 0, 1, 4, 0, 6, 0]
    without = related.drop(columns="near_duplicate")
    assert units(without).tolist() == [0, 1, 0, 1, 4, 0, 6, 7]


def test_images_that_went_away_and_the_order_of_rows_do_not_matter():
    images = images_table("abcabcabc").take([8, 3, 5, 2, 6])
    related = related_of(images)

    assert related.index.tolist() == [2, 3, 5, 6, 8]
    assert related["identical_file"].tolist() == [2, 3, 2, 3, 2]
    assert units(related).to_dict() == {2: 2, 3: 3, 5: 2, 6: 3, 8: 2}


def test_hashes_are_matched_by_image_number():
    images = images_table("abc")
    hashes = hashes_table(images, [0, 2**30 - 1, 0]).take([1, 2, 0])
    related = related_images(images, hashes, near_duplicate_distance=0)

    assert related["near_duplicate"].tolist() == [0, 1, 0]


def test_an_image_without_a_hash_is_an_error():
    images = images_table("abc")
    hashes = hashes_table(images, [1, 2, 3]).slice(0, 1)

    with pytest.raises(HemlineError, match=r"2 of 3 images have no perceptual hash.*1\.png"):
        related_images(images, hashes, near_duplicate_distance=0)
