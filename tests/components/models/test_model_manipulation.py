"""FashionSearchNet-v2's memory and global vectors, against Eq. 7 one number at a time."""

import pytest
import torch
from comparison import assert_same
from small_network import NUM_ATTRIBUTES, NUM_VALUES, build
from torch import Tensor

from components.models.manipulation import GlobalRepresentation

torch.set_num_threads(1)

DIM = 3
FIRST_OF_TWO = NUM_VALUES[0] + NUM_VALUES[1]  # the third attribute's first row


def drawn(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@pytest.fixture
def representation() -> GlobalRepresentation:
    module = GlobalRepresentation(NUM_VALUES, DIM).double()
    module.start(drawn(sum(NUM_VALUES), DIM, seed=1), generator=torch.Generator().manual_seed(2))
    module.importance.copy_(drawn(NUM_ATTRIBUTES, seed=3))
    return module.requires_grad_()


def equation_7(module: GlobalRepresentation, vectors_ND: Tensor, t_C: Tensor) -> Tensor:
    """F of an image [R]; t is one-hot, or 0 for the image as it is."""
    g = t_C @ module.memory
    named = [attribute for attribute, values in enumerate(NUM_VALUES) for _ in range(values)]
    changed = named[int(t_C.argmax())] if t_C.any() else None
    parts = [
        module.importance[a] * (g if a == changed else vectors_ND[a]) for a in range(NUM_ATTRIBUTES)
    ]
    return torch.cat(parts) @ module.projection


def test_global_vectors_are_those_of_equation_7(representation):
    vectors = drawn(4, NUM_ATTRIBUTES, DIM).requires_grad_()
    attributes, rows = torch.tensor([2, 0, 4, 2]), torch.tensor([FIRST_OF_TWO + 2, 1, 14, 6])
    manipulated = representation(representation.manipulated(vectors, attributes, rows))
    t = torch.nn.functional.one_hot(rows, sum(NUM_VALUES)).double()
    expected = [equation_7(representation, *pair) for pair in zip(vectors, t, strict=True)]
    assert_same(representation, manipulated, torch.stack(expected), vectors)
    plain = [equation_7(representation, v, torch.zeros(sum(NUM_VALUES)).double()) for v in vectors]
    unused = ("memory",)
    assert_same(representation, representation(vectors), torch.stack(plain), vectors, unused=unused)


def test_the_value_that_an_image_has_changes_nothing(representation):
    vectors = drawn(1, NUM_ATTRIBUTES, DIM)
    representation.memory.data[FIRST_OF_TWO] = vectors[0, 2]
    manipulated = representation.manipulated(
        vectors, torch.tensor([2]), torch.tensor([FIRST_OF_TWO])
    )
    assert torch.equal(representation(manipulated), representation(vectors))


def test_only_the_row_that_is_asked_for_learns(representation):
    vectors = drawn(2, NUM_ATTRIBUTES, DIM)
    attributes, rows = torch.tensor([2, 2]), torch.tensor([FIRST_OF_TWO + 1] * 2)
    made = representation(representation.manipulated(vectors, attributes, rows))
    gradient = torch.autograd.grad((made * drawn(*made.shape, seed=4)).sum(), representation.memory)
    assert gradient[0].any(dim=1).nonzero().flatten().tolist() == [FIRST_OF_TWO + 1]


def test_an_attribute_without_importance_is_not_seen(representation):
    vectors, others = drawn(2, NUM_ATTRIBUTES, DIM), drawn(2, NUM_ATTRIBUTES, DIM)
    others[:, 1] = drawn(2, DIM, seed=5)
    assert not torch.equal(representation(vectors), representation(others))
    representation.importance.data[1] = 0
    assert torch.equal(representation(vectors), representation(others))


def test_it_starts_with_all_attributes_alike_and_distances_as_they_are():
    module = GlobalRepresentation(NUM_VALUES, DIM)
    module.start(torch.ones(sum(NUM_VALUES), DIM), generator=torch.Generator().manual_seed(2))
    assert module.projection.shape == (NUM_ATTRIBUTES * DIM, NUM_ATTRIBUTES * DIM)
    vectors = drawn(6, NUM_ATTRIBUTES, DIM).float()
    distances = torch.cdist(vectors.flatten(1), vectors.flatten(1))
    made = module(vectors)
    torch.testing.assert_close(torch.cdist(made, made), distances, rtol=1e-4, atol=1e-5)


def test_long_vectors_are_projected_to_512_by_orthonormal_columns():
    module = GlobalRepresentation([2] * 3, 200)
    module.start(torch.ones(6, 200), generator=torch.Generator().manual_seed(2))
    assert module(torch.ones(1, 3, 200)).shape == (1, 512)
    products = module.projection.T @ module.projection
    torch.testing.assert_close(products, torch.eye(512), rtol=0, atol=1e-5)


def test_prototypes_are_the_memory_by_attribute_once_there_is_one():
    network = build("fashionsearchnet_v2")
    assert network.prototypes() is None
    memory = drawn(sum(NUM_VALUES), 12).float()
    network.representation.start(memory, generator=torch.Generator())
    assert [len(vectors) for vectors in network.prototypes()] == NUM_VALUES
    assert torch.equal(torch.cat(network.prototypes()), memory)
    assert network.for_inference().prototypes() is None
    assert build("asen").prototypes() is None
