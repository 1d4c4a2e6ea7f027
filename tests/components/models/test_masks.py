"""Masks over the embedding: where they start, and that no attribute is left without a place."""

import pytest
import torch

from components.models.csn import AttributeMasks

STARTS_LEARNED = [  # 7 dimensions shared among 3 attributes
    [1, 1, 1, 0.1, 0.1, 0.1, 0.1],
    [0.1, 0.1, 0.1, 1, 1, 0.1, 0.1],
    [0.1, 0.1, 0.1, 0.1, 0.1, 1, 1],
]


def test_learned_masks_start_at_one_in_the_attributes_block_and_low_elsewhere():
    masks = AttributeMasks(3, 7, masks="learned")
    torch.testing.assert_close(masks.beta.detach(), torch.tensor(STARTS_LEARNED))
    assert [name for name, _ in masks.named_parameters()] == ["beta"]
    assert masks.beta.is_contiguous()


def test_fixed_masks_are_one_in_the_block_and_nothing_elsewhere():
    masks = AttributeMasks(3, 7, masks="fixed")
    assert masks.beta.tolist() == [[float(start == 1) for start in row] for row in STARTS_LEARNED]
    assert not list(masks.parameters())
    assert "beta" in masks.state_dict()
    assert masks.beta.is_contiguous()  # torch.export warns of parameters that are not
    vectors = torch.arange(1.0, 8).expand(1, 2, -1)
    masked = masks(vectors, torch.tensor([[2, 0]]))
    assert masked.tolist() == [[[0, 0, 0, 0, 0, 6, 7], [1, 2, 3, 0, 0, 0, 0]]]


def test_a_negative_beta_masks_entirely():
    masks = AttributeMasks(2, 2, masks="learned")
    masks.beta.data = torch.tensor([[-1.0, 0.5], [2.0, -3.0]])
    masked = masks(torch.tensor([[[10.0, 10.0]]]), torch.tensor([[0]]))
    assert masked.tolist() == [[[0.0, 5.0]]]


@pytest.mark.parametrize(("num_attributes", "embedding_dim"), [(3, 3), (4, 6), (8, 1024), (9, 10)])
def test_every_dimension_belongs_to_one_attribute_and_blocks_differ_by_one(
    num_attributes, embedding_dim
):
    beta = AttributeMasks(num_attributes, embedding_dim, masks="fixed").beta
    assert (beta.sum(dim=0) == 1).all()
    sizes = beta.sum(dim=1)
    assert sizes.min() >= 1
    assert sizes.max() - sizes.min() <= 1
