"""The proof that growing changed nothing: what both versions' graphs give for what both know."""

import hashlib
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from components.errors import HemlineError
from components.images.store import ImageStore
from components.params import EmbedParams
from components.registry.inference import inference_of
from components.registry.package import Package


@torch.inference_mode()
def unchanged_sha256(
    child: Package,
    parent: Package,
    store: ImageStore,
    images: NDArray[np.int64],
    *,
    params: EmbedParams,
    parent_name: str,
    on_progress: Callable[[int], None] = lambda num_images: None,
) -> str:
    """Returns the SHA-256 of embeddings that a version and its parent give to the bit.

    Each is asked for all attributes that it knows, as when images are embedded, in batches and in
    the precision of the section `embed`. The embeddings of the attributes that both know are
    hashed, in the child's order, image by image.

    Raises:
        HemlineError: an embedding differs.
    """
    names = [name for name in child.schema.names if name in parent.schema.names]
    inference = inference_of(child, params)
    versions = [
        (
            package.run_by(inference).load_network(),
            torch.arange(len(package.schema.names)),
            [package.schema.index(name) for name in names],
        )
        for package in (child, parent)
    ]
    digest = hashlib.sha256()
    for start in range(0, len(images), params.batch_size_per_worker):
        batch = images[start : start + params.batch_size_per_worker]
        pixels = torch.from_numpy(store.gather(batch))
        ours, theirs = (
            network(pixels, asked.expand(len(batch), -1))[:, shared].numpy()
            for network, asked, shared in versions
        )
        if changed := _different(names, ours, theirs):
            raise HemlineError(
                f"embeddings of {', '.join(changed)} are not those of {parent_name}: was that "
                "exported by another version of torch or of hemline? Nothing is registered; grow a "
                "version that this one registered"
            )
        digest.update(ours.tobytes())
        on_progress(len(batch))
    return digest.hexdigest()


def _different(
    names: list[str], ours_nKD: NDArray[np.float32], theirs_nKD: NDArray[np.float32]
) -> list[str]:
    """Returns the attributes of which a bit differs."""
    differs_K = (ours_nKD.view(np.int32) != theirs_nKD.view(np.int32)).any(axis=(0, 2))
    return [name for name, differs in zip(names, differs_K, strict=True) if differs]
