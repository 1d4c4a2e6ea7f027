"""Embedding an image for all attributes in one pass: against one attribute, and as published.

python -m benchmarks.embed_attributes

AG-MAN on ResNet-50 without trained weights. As published means one attribute at a time: for each of
them the backbone in float32 on contiguous memory, and every attended map made in full.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from benchmarks.machine import machine
from components.models.ag_man import AGMAN
from components.models.attention import SpatialAttention
from components.models.backbones import build_backbone

NUM_ATTRIBUTES, BATCH_SIZE, NUM_THREADS = 8, 16, 2
SAME = 1e-4  # of float32 embeddings, their sums taken in another order


def main() -> None:
    """Prints images/s of each way, and the two ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--image-size-px", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(NUM_THREADS)
    network = ag_man()
    size = arguments.image_size_px
    images = torch.randn(BATCH_SIZE, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        seconds = median_seconds(ways(network, images), rounds=arguments.rounds)
    print(f"{machine()}, {NUM_THREADS} threads")
    print(f"AG-MAN, resnet50, batches of {BATCH_SIZE} at {size} px, {NUM_ATTRIBUTES} attributes")
    for way, of_one_batch in seconds.items():
        print(f"{way:30} {BATCH_SIZE / of_one_batch:8.2f} images/s")
    for precision in ("fp32", "bf16"):
        ratio = seconds[f"all attributes, {precision}"] / seconds[f"one attribute, {precision}"]
        print(f"time for all attributes / for one, {precision}   {ratio:.3f}")
    for precision in ("fp32", "bf16"):
        ratio = seconds["as published"] / seconds[f"all attributes, {precision}"]
        print(f"speed, {precision} / as published            {ratio:.1f}")


def ag_man() -> AGMAN:
    """Returns the network of the paper, in evaluation mode."""
    torch.manual_seed(0)
    network = AGMAN(
        build_backbone("resnet50", weights="none"),
        num_attributes=NUM_ATTRIBUTES,
        embedding_dim=1024,
        attention_dim=512,
        normalise_features=False,
        hierarchical=True,
        classification=True,
        asa=True,
        sa=True,
        spatial_kernel_size=1,
        aca="addition",
        ca=True,
    )
    return network.eval()


def ways(network: AGMAN, images_B3HW: Tensor) -> Mapping[str, Callable[[], Tensor]]:
    """Returns the ways of embedding a batch, by name; all but the last are this project's."""
    every_BN = torch.arange(NUM_ATTRIBUTES).expand(len(images_B3HW), -1)
    fast = ag_man().to(memory_format=torch.channels_last)
    fast.load_state_dict(network.state_dict())
    fast_images = images_B3HW.to(memory_format=torch.channels_last)

    def embed(num_asked: int, *, bf16: bool) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            return fast(fast_images, every_BN[:, :num_asked])

    def published() -> Tensor:
        asked = every_BN.split(1, dim=1)
        return torch.cat([embed_as_published(network, images_B3HW, a_B1) for a_B1 in asked], dim=1)

    torch.testing.assert_close(embed(NUM_ATTRIBUTES, bf16=False), published(), atol=SAME, rtol=SAME)
    return {
        "one attribute, fp32": lambda: embed(1, bf16=False),
        "all attributes, fp32": lambda: embed(NUM_ATTRIBUTES, bf16=False),
        "one attribute, bf16": lambda: embed(1, bf16=True),
        "all attributes, bf16": lambda: embed(NUM_ATTRIBUTES, bf16=True),
        "as published": published,
    }


def embed_as_published(network: AGMAN, images_B3HW: Tensor, attributes_B1: Tensor) -> Tensor:
    """Returns embeddings [B, 1, D] for one attribute of each image, all maps made in full."""
    assert network.sa
    assert network.aca
    assert network.ca
    features_BDHW = network.features(images_B3HW)
    attended_BDHW = network.asa(features_BDHW, attributes_B1) * features_BDHW
    attended_BDHW = attended_BDHW * second_look(network.sa, attended_BDHW)
    vectors_B1D = network.aca(attended_BDHW.sum(dim=(2, 3))[:, None], attributes_B1)
    return torch.nn.functional.normalize(network.ca(vectors_B1D), dim=-1)


def second_look(attention: SpatialAttention, attended_BDHW: Tensor) -> Tensor:
    """Returns Eq. 4a of the attended map [B, 1, H, W]."""
    average = attended_BDHW.mean(dim=1, keepdim=True)
    maximum = attended_BDHW.amax(dim=1, keepdim=True)
    return attention.conv(torch.cat([average, maximum], dim=1)).sigmoid()


def median_seconds(
    variants: Mapping[str, Callable[[], Tensor]], *, rounds: int
) -> dict[str, float]:
    """Returns the median time of each variant; they take turns, so that all meet the same load."""
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for round_number in range(rounds + 1):
        for name, work in variants.items():
            start = time.perf_counter()
            work()
            if round_number:  # the first one warms up
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(measured) for name, measured in seconds.items()}


if __name__ == "__main__":
    main()
