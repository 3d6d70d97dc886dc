"""Drives the real ``openpi-client``; runs in an environment of its own, since that client pins numpy below 2.

Reads commands from stdin and answers each on stdout: four bytes of length, then msgpack in openpi's own encoding.
"""

import struct
import sys

from openpi_client import action_chunk_broker, image_tools, msgpack_numpy, websocket_client_policy

READ, WRITE = sys.stdin.buffer, sys.stdout.buffer


def main():
    policy = None
    while head := READ.read(4):
        command = msgpack_numpy.unpackb(READ.read(*struct.unpack(">I", head)))
        try:
            if command["do"] == "connect":
                policy = client = websocket_client_policy.WebsocketClientPolicy(**command["arguments"])
                answer = client.get_server_metadata()
            elif command["do"] == "broker":
                policy = action_chunk_broker.ActionChunkBroker(client, action_horizon=command["horizon"])
                answer = None
            elif command["do"] == "reset":
                answer = policy.reset()
            elif command["do"] == "resize":
                answer = image_tools.resize_with_pad(command["image"], *command["size"])
            else:
                answer = policy.infer(command["observation"])
            reply = {"answer": answer}
        except Exception as error:
            reply = {"error": f"{type(error).__name__}: {error}"}
        payload = msgpack_numpy.packb(reply)
        WRITE.write(struct.pack(">I", len(payload)) + payload)
        WRITE.flush()


main()
