"""A network's graph run by OpenVINO, and the graph in 8-bit integers that NNCF makes of it.

Both libraries come with the extra `hemline[openvino]`; nothing else imports them.

Shape letters: n images, S side in pixels, B images of a batch, K attributes, D embedding, H W
positions of the attention maps.
"""

import logging
import sys
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from components.errors import HemlineError
from components.registry.graph import Embedder, export
from components.registry.package import QUANTISED_FILE

_HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}  # int8: of what is not in integers

# what little arithmetic there is beside convolutions stays in floating point: in integers, lengths
# are not 1, and MAP falls by more than the rest together costs
_IN_FLOATING_POINT = (
    "Divide",
    "GreaterEqual",
    "MatMul",
    "Maximum",
    "Multiply",
    "Power",
    "ReduceMean",
    "ReduceSum",
    "Reshape",
    "Unsqueeze",
)
_IMAGES_AT_ONCE = 32
_SAME = 0.9999  # the cosine of embeddings whose calculations round in another order


class OpenVINOGraph(nn.Module):
    """A graph from pixels to embeddings that OpenVINO has compiled for this CPU."""

    def __init__(self, compiled: Any) -> None:
        super().__init__()
        self.compiled = compiled

    def forward(self, pixels_BSS3: Tensor, attributes_BK: Tensor) -> tuple[Tensor, Tensor] | Tensor:
        """Returns embeddings [B, K, D], and the maps [B, K, H, W] of a network that has some."""
        inputs = [pixels_BSS3.numpy(), attributes_BK.contiguous().numpy()]
        # a request of its own: several threads may ask at once
        found = [
            torch.from_numpy(each) for each in self.compiled.infer_new_request(inputs).values()
        ]
        return (found[0], found[1]) if len(found) > 1 else found[0]


def load_by_openvino(file: Path, precision: str) -> Embedder:
    """Returns the network from pixels to embeddings, with as many threads as torch.

    `file` is an exported graph, or one in 8-bit integers.

    Raises:
        HemlineError: OpenVINO is not installed, cannot run the network, or runs it to other
            embeddings than torch does.
    """
    openvino = _imported("openvino")
    core = openvino.Core()

    def compiled(model: Any, precision: str) -> OpenVINOGraph:
        settings = {
            "INFERENCE_PRECISION_HINT": _HINTS[precision],
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        return OpenVINOGraph(core.compile_model(model, "CPU", settings))

    if file.suffix == Path(QUANTISED_FILE).suffix:  # `evaluate` has compared its embeddings
        return Embedder(compiled(core.read_model(file), precision))
    exported = torch.export.load(file)
    model = _converted(exported)
    exact = compiled(model, "fp32")
    _check_same(exact, exported)
    return Embedder(exact if precision == "fp32" else compiled(model, precision))


@torch.inference_mode()
def _check_same(graph: OpenVINOGraph, exported: torch.export.ExportedProgram) -> None:
    """Raises a HemlineError unless a graph in float32 gives the embeddings of torch.

    There are layers that OpenVINO takes without a word, and calculates in another way: 2026.4 some
    average pools (findings/openvino_average_pool_ceil.sh).
    """
    (side_px,) = {
        node.meta["val"].shape[1]
        for node in exported.graph.nodes
        if node.name == exported.graph_signature.user_inputs[0]
    }
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (2, side_px, side_px, 3), generator=generator, dtype=torch.uint8)
    asked = torch.zeros(2, 1, dtype=torch.int64)
    by_torch, by_openvino = (
        found if isinstance(found, Tensor) else found[0]
        for found in (exported.module()(pixels, asked), graph(pixels, asked))
    )
    cosine = nn.functional.cosine_similarity(by_torch, by_openvino, dim=-1).min().item()
    if not cosine > _SAME:
        raise HemlineError(
            "OpenVINO gives other embeddings of this network than torch (smallest cosine "
            f"{cosine:.4f}): set embed.runtime torch"
        )


def quantise(
    network: nn.Module, folder: Path, *, pixels_nSS3: NDArray[np.uint8], num_attributes: int
) -> None:
    """Writes a network's graph in 8-bit integers, for any number of images and attributes.

    The ranges of numbers are those of the given images, asked for all attributes. The same images
    make the same files.

    Raises:
        HemlineError: OpenVINO or NNCF is not installed, or OpenVINO cannot run the network.
    """
    openvino, nncf = _imported("openvino"), _imported("nncf")
    batches = [
        [pixels, np.broadcast_to(np.arange(num_attributes), (len(pixels), num_attributes)).copy()]
        for pixels in (
            pixels_nSS3[start : start + _IMAGES_AT_ONCE]
            for start in range(0, len(pixels_nSS3), _IMAGES_AT_ONCE)
        )
    ]
    logging.getLogger("nncf").setLevel(logging.WARNING)  # it names every operation that it leaves
    with redirect_stdout(sys.stderr):  # where progress goes
        model = nncf.quantize(
            _converted(export(network, image_size_px=pixels_nSS3.shape[1])),
            nncf.Dataset(batches),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(batches),
            ignored_scope=nncf.IgnoredScope(types=[*_IN_FLOATING_POINT], validate=False),
        )
    # names have the number of all that this process ever named
    model.set_friendly_name("network")
    for number, operation in enumerate(model.get_ordered_ops()):
        operation.set_friendly_name(f"{operation.get_type_name()}-{number}")
    folder.mkdir(parents=True, exist_ok=True)
    openvino.save_model(model, folder / QUANTISED_FILE, compress_to_fp16=False)


def _converted(exported: torch.export.ExportedProgram) -> Any:
    openvino = _imported("openvino")
    try:
        return openvino.convert_model(exported)
    except openvino.frontend.OpConversionFailure as error:
        raise HemlineError(
            f"OpenVINO cannot run this network: set embed.runtime torch ({error})"
        ) from error


def _imported(name: str) -> Any:
    # without which both report their use to a server of their makers
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise HemlineError(
            f"{error.name} is not installed, which `embed.runtime: openvino` takes: "
            "pip install 'hemline[openvino]', or set embed.runtime torch"
        ) from error
