"""What a consumer runs, in a folder and an environment that know nothing of this repository.

python consumer.py MODEL_URI FOLDER_OF_PICTURES

Prints, as JSON, which modules cannot be imported, what loading and predicting unpickled, whether
unpickling would have been noticed, and the rows that came out.
"""

import importlib.util
import json
import pickle
import sys
from pathlib import Path

import mlflow
import pandas as pd

ABSENT = ("components", "pipelines", "dvc", "ray", "torchvision", "typer")


def main() -> None:
    unpickled: list[str] = []
    sys.addaudithook(
        lambda event, told: (
            unpickled.append(".".join(told)) if event == "pickle.find_class" else None
        )
    )
    uri, folder = sys.argv[1:]
    model = mlflow.pyfunc.load_model(uri)
    paths = sorted(Path(folder).glob("*.jpg"))
    found = model.predict(pd.DataFrame({"image": [str(path) for path in paths]}))
    result = {
        "absent": [name for name in ABSENT if importlib.util.find_spec(name) is None],
        "unpickled": [*unpickled],
        "notices": bool(pickle.loads(pickle.dumps(Path)) and unpickled),
        "attributes": list(found["attribute"]),
        "rows": list(found.index),
        "embeddings": [vector.tolist() for vector in found["embedding"]],
    }
    sys.stdout.write(json.dumps(result))


if __name__ == "__main__":
    main()
