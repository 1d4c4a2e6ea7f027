"""How a package's network is run for the section `embed`."""

from components.params import EmbedParams
from components.precision import resolve_precision
from components.registry.package import Inference, Package


def inference_of(package: Package, params: EmbedParams) -> Inference:
    """Returns how images are embedded by a package.

    Where params ask for int8 and the package has no graph in 8-bit integers, precision is what
    `auto` says.
    """
    precision = params.precision
    if precision == "int8":
        if package.quantised_crc32:
            return Inference(params.runtime, precision)
        precision = "auto"
    on_gpu = params.gpus_per_worker > 0
    return Inference(params.runtime, resolve_precision(precision, on_gpu=on_gpu))
