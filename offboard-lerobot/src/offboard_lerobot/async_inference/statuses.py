"""Errors as gRPC says them."""

from __future__ import annotations

import grpc
from offboard_client.errors import OffboardError

_CODES = {
    "bad_message": grpc.StatusCode.INVALID_ARGUMENT,
    "bad_observation": grpc.StatusCode.INVALID_ARGUMENT,
    "bad_parameter": grpc.StatusCode.INVALID_ARGUMENT,
    "dialect_unsupported": grpc.StatusCode.FAILED_PRECONDITION,
    "model_not_found": grpc.StatusCode.NOT_FOUND,
    "unauthorized": grpc.StatusCode.UNAUTHENTICATED,
    "full": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "busy": grpc.StatusCode.RESOURCE_EXHAUSTED,
}
_LONGEST_DETAILS = 2000


def status_of(error: OffboardError) -> tuple[grpc.StatusCode, str]:
    """Its code, and its details, which LeRobot's client logs."""
    # In bytes, which gRPC spells with three each where they are not ASCII's; its headers are short.
    details = f"{error.code}: {error.text}".encode()[:_LONGEST_DETAILS].decode(errors="ignore")
    return _CODES.get(error.code, grpc.StatusCode.ABORTED), details
