"""The Ray cluster at RAY_ADDRESS: joined, or refused within seconds with one message."""

import logging

import grpc
import ray
from ray._private.grpc_utils import init_grpc_channel
from ray._private.services import canonicalize_bootstrap_address

from components.errors import HemlineError

_ANSWER_TIMEOUT_S = 10  # Ray itself tries for many minutes
_NO_PROXY = ("grpc.enable_http_proxy", 0)  # as Ray's own channels
_HEALTH = "/grpc.health.v1.Health/Check"  # gRPC's own protocol, which the head's GCS speaks
_REMEDY = (
    "Give the address of a running cluster's head (HOST:6379, unless `ray start` was told another "
    "port), or unset RAY_ADDRESS: Ray then starts inside the command"
)


def join(address: str) -> "ray.client_builder.ClientContext":
    """Joins a cluster; `address` is `auto` or the host and port of its head's GCS.

    Raises:
        HemlineError: nothing answers there within seconds, what answers is no cluster, or the
            cluster refuses, such as one of another version of Ray or Python.
    """
    if "://" in address:
        raise HemlineError(
            f"RAY_ADDRESS={address}: hemline joins a cluster as one of its nodes, and not through "
            "Ray Client (ray://) or the job API (http://), as it shares folders with the workers. "
            "Give HOST:PORT of the head and run on a node, or submit the command with "
            "`ray job submit`"
        )
    _check_answers(address)
    try:
        return ray.init(address=address, logging_level=logging.ERROR)
    except Exception as error:  # Ray has no kind of its own for any of them
        ray.shutdown()
        remedy = _REMEDY
        if "ersion mismatch" in str(error):
            remedy = "Run in the environment or the image that the cluster was started with"
        raise HemlineError(
            f"the Ray cluster at RAY_ADDRESS={address} cannot be joined: {error}\n{remedy}"
        ) from error


def _check_answers(address: str) -> None:
    """Raises an error where no cluster answers, without what Ray's C++ prints meanwhile."""
    try:
        found = canonicalize_bootstrap_address(address)  # `auto`: a cluster on this machine
    except Exception as error:
        raise HemlineError(f"RAY_ADDRESS={address}: {error}\n{_REMEDY}") from error
    named = f"RAY_ADDRESS={address}" + (f", which is {found}," if address == "auto" else "")
    with init_grpc_channel(found, [_NO_PROXY]) as channel:
        try:
            channel.unary_unary(_HEALTH)(b"", timeout=_ANSWER_TIMEOUT_S)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                what = f"does not answer within {_ANSWER_TIMEOUT_S} s"
            elif error.code() is grpc.StatusCode.UNAVAILABLE:
                what = f"leads to no Ray cluster ({error.details()})"
            elif error.code() is grpc.StatusCode.UNAUTHENTICATED:
                return  # it answers, and says more when it is joined
            else:
                what = f"leads to a server that is no Ray cluster's head ({error.details()})"
            raise HemlineError(f"{named} {what}. {_REMEDY}") from error
