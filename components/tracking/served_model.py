"""The code that travels with a registered model; it must not need this repository.

MLflow runs this file when it loads the model ("models from code"), so that nothing is unpickled.
`decode` is hemline's decoder, which the package carries beside this file.
"""

import base64
import json
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import torch
from decode import decode


class FashionEmbedder(mlflow.pyfunc.PythonModel):
    """Rows of (image, attribute) in, rows with a unit-length embedding out."""

    def load_context(self, context: Any) -> None:
        """Loads the exported graph and the attributes it knows."""
        package = json.loads(Path(context.artifacts["package"]).read_text())
        self.attributes = [a["name"] for a in package["schema"]["attributes"]]
        self.image_size_px = package["image_size_px"]
        self.network = torch.export.load(context.artifacts["network"]).module()

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Returns columns attribute and embedding, in the order of the rows.

        Args:
            context: given by MLflow.
            model_input: column `image`, the bytes of an image file, their base64 text, or a path;
                and `attribute`, a name of the schema.
            params: none are known.

        Raises:
            ValueError: a row names an unknown attribute.
        """
        unknown = set(model_input["attribute"]) - set(self.attributes)
        if unknown:
            raise ValueError(f"unknown attribute {unknown.pop()!r}; known: {self.attributes}")
        pixels = np.stack([self._pixels(image) for image in model_input["image"]])
        wanted = [self.attributes.index(name) for name in model_input["attribute"]]
        with torch.inference_mode():
            embeddings = self.network(torch.from_numpy(pixels), torch.tensor(wanted)[:, None])
        return pd.DataFrame(
            {
                "attribute": list(model_input["attribute"]),
                "embedding": [row.tolist() for row in embeddings[:, 0]],
            }
        )

    def _pixels(self, image: bytes | str) -> np.ndarray[Any, np.dtype[np.uint8]]:
        if isinstance(image, str) and Path(image[:4096]).is_file():
            image = Path(image).read_bytes()
        elif isinstance(image, str):
            image = base64.b64decode(image, validate=True)
        return decode(image, image_size_px=self.image_size_px)


mlflow.models.set_model(FashionEmbedder())
