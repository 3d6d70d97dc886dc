"""Drives the real ``openpi-client``; runs in an environment of its own, since that client pins numpy below 2.

Reads commands from stdin and answers each on stdout: four bytes of length, then msgpack in openpi's own encoding. While
its Runtime plays an episode it asks for the robot in the same way.
"""

import struct
import sys

from openpi_client import action_chunk_broker, image_tools, msgpack_numpy, websocket_client_policy
from openpi_client.runtime import environment, runtime
from openpi_client.runtime.agents import policy_agent

READ, WRITE = sys.stdin.buffer, sys.stdout.buffer


def read():
    head = READ.read(4)
    return msgpack_numpy.unpackb(READ.read(*struct.unpack(">I", head))) if head else None


def write(reply):
    payload = msgpack_numpy.packb(reply)
    WRITE.write(struct.pack(">I", len(payload)) + payload)
    WRITE.flush()


class Robot(environment.Environment):
    """The robot is in the process that asked for the episode."""

    def _ask(self, what, *arguments):
        write({"ask": what, "arguments": list(arguments)})
        return read()["answer"]

    def reset(self):
        self._ask("reset")

    def is_episode_complete(self):
        return self._ask("is_episode_complete")

    def get_observation(self):
        return self._ask("get_observation")

    def apply_action(self, action):
        self._ask("apply_action", action["actions"])


def main():
    policy = None
    while command := read():
        try:
            if command["do"] == "connect":
                policy = client = websocket_client_policy.WebsocketClientPolicy(**command["arguments"])
                answer = client.get_server_metadata()
            elif command["do"] == "broker":
                policy = action_chunk_broker.ActionChunkBroker(client, action_horizon=command["horizon"])
                answer = None
            elif command["do"] == "play":
                agent = policy_agent.PolicyAgent(policy)
                runtime.Runtime(Robot(), agent, [], num_episodes=1, max_episode_steps=command["steps"]).run()
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
        write(reply)


main()
