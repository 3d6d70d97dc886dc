"""The one HTTP call of a client."""

from __future__ import annotations

import http.client
from typing import Any, cast

from ._attempts import AttemptFailed, from_os_error, from_response
from ._settings import Settings
from .errors import BadMessage, ConnectionFailed
from .jsontext import decode_text

_READ_BYTES = 65536
_MOST_BYTES = 4 * 2**20


def list_models(settings: Settings) -> list[str]:
    """The ids that the server lists, oldest first.

    One attempt. Raises ConnectionFailed, Unauthorized, or the error that the server names.
    """
    try:
        body = _get(settings)
    except OSError as error:
        raise from_os_error(error, settings.address).error from None
    except http.client.HTTPException as error:
        raise ConnectionFailed(f"{settings.address} does not answer as an HTTP server ({error!r})") from None
    except AttemptFailed as failed:
        raise failed.error from None
    found: Any = decode_text(body.decode("utf-8", "replace"))
    models: Any = cast("dict[str, Any]", found).get("models") if isinstance(found, dict) else None
    if not isinstance(models, list):
        raise BadMessage(f"{settings.address} answered its list of models without 'models': is it an offboard server?")
    return [str(model) for model in cast("list[Any]", models)]


def _get(settings: Settings) -> bytes:
    address, clock = settings.address, settings.clock
    seconds = settings.timeouts.connect
    deadline = clock.now() + seconds
    if settings.tls:
        connection = http.client.HTTPSConnection(address.host, address.port, timeout=seconds, context=settings.tls)
    else:
        connection = http.client.HTTPConnection(address.host, address.port, timeout=seconds)
    try:
        connection.request("GET", address.models_path, headers=dict(settings.headers))
        with connection.getresponse() as response:
            body = bytearray()
            # The socket's timeout bounds one read; a server that sends byte by byte needs the deadline.
            while part := response.read1(_READ_BYTES):
                body += part
                if clock.now() > deadline or len(body) > _MOST_BYTES:
                    raise TimeoutError(f"the answer has not ended after {len(body):,} bytes")
        if response.status != 200:
            raise from_response(response.status, dict(response.headers.items()), bytes(body), address)
        return bytes(body)
    finally:
        connection.close()
