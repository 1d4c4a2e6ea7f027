"""Stage `quantise`: the trained network → its graph in 8-bit integers, where params ask for it."""

import numpy as np

from components import tables
from components.evaluation.evaluation import held_out_images
from components.images.store import ImageStore
from components.params import EmbedParams, load_section
from components.precision import has_integer_instructions
from components.registry.quantised import write_about
from components.training.trained import identity, read_description, read_trained_model
from pipelines.shell import options
from pipelines.shell.environment import store_location
from pipelines.shell.reporting import console, notes

_NUM_IMAGES = 320  # more change neither cosines nor MAP: docs/log.md
_SEED = 0


def quantise(
    *,
    model: options.Model = options.MODEL,
    store: options.StoreAddress = str(options.STORE),
    splits: options.Splits = options.SPLITS,
    quantised: options.Quantised = options.QUANTISED,
    params: options.Params = options.PARAMS,
) -> None:
    """Make the network's graph in 8-bit integers, by ranges of numbers of 320 training images.

    Where `embed.precision` is not int8, and for a network that was grown, whose known attributes
    keep their embeddings, it makes none. OpenVINO and NNCF do it: pip install 'hemline[openvino]'.
    """
    if load_section(params, EmbedParams).precision != "int8":
        write_about(quantised, model=None)
        console.print("embed.precision is not int8: nothing is quantised")
        return
    if "grown" in read_description(model):
        write_about(quantised, model=None)
        notes.print("a network that was grown is not quantised: it is embedded in bf16 or fp32")
        return
    if not has_integer_instructions():
        notes.print(
            "this processor has no AVX-512 VNNI: 8-bit integers may be no faster here than "
            "embed.precision auto"
        )
    # the extra hemline[openvino], and torch, which the others need not wait for
    from components.registry.openvino_graph import quantise as write_quantised  # noqa: PLC0415

    trained = read_trained_model(model)
    pictures = ImageStore(store_location(store).local())
    pictures.check_crop(trained.crop, of=str(model))
    images = held_out_images(tables.read_splits(splits), "train")
    chosen = np.random.default_rng(_SEED).permutation(images)[:_NUM_IMAGES]
    write_quantised(
        trained.network.for_inference(),
        quantised,
        pixels_nSS3=pictures.gather(np.sort(chosen)),
        num_attributes=len(trained.schema.attributes),
    )
    write_about(quantised, model=identity(model))
    console.print(f"the network in 8-bit integers, by {len(chosen)} training images: {quantised}")
