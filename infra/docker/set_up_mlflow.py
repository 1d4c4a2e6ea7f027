"""Makes the MLflow user that retrains, and gives it the registered model; run by an administrator.

    MLFLOW_TRACKING_URI=http://... MLFLOW_TRACKING_USERNAME=admin MLFLOW_TRACKING_PASSWORD=... \
    HEMLINE_USER=retrain HEMLINE_PASSWORD=... python infra/docker/set_up_mlflow.py

HEMLINE_MODEL names the model where `registry.model` in params.yaml does: by default hemline. A
registry that is another server (MLFLOW_REGISTRY_URI) gets user and model in the same way, by its
own address as MLFLOW_TRACKING_URI.

What is there already stays as it is. The model has to exist before the first retrain: of one that
does not, MLflow tells a user who is no administrator that access is denied, not that it is absent.
"""

import os
from collections.abc import Callable
from typing import Any

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, ErrorCode
from mlflow.server import get_app_client


def unless_there(call: Callable[..., Any], *arguments: str) -> None:
    """Makes something that may exist already."""
    try:
        call(*arguments)
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
            raise
        print(error.message)


def main() -> None:
    """Makes user, model and the right of the one to manage the other."""
    address, user = os.environ["MLFLOW_TRACKING_URI"], os.environ["HEMLINE_USER"]
    model = os.environ.get("HEMLINE_MODEL") or "hemline"
    users = get_app_client("basic-auth", address)
    unless_there(users.create_user, user, os.environ["HEMLINE_PASSWORD"])
    unless_there(mlflow.MlflowClient(address, address).create_registered_model, model)
    unless_there(users.grant_user_permission, user, "registered_model", model, "MANAGE")


if __name__ == "__main__":
    main()
