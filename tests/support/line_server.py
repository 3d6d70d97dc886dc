"""The stand-in for a vendor's own server: ``python line_server.py PORT FOLDER``, one JSON text a line each way.

``FOLDER/says.json`` says what goes wrong; ``FOLDER/starts`` gets a line with the process id for each start.
"""

import json
import os
import signal
import socketserver
import sys
import threading
import time
from pathlib import Path

PORT, FOLDER = int(sys.argv[1]), Path(sys.argv[2])
SAYS = json.loads((FOLDER / "says.json").read_text())


def line_of(reply, asked):
    return json.dumps({"number": asked["number"], **reply}).encode() + b"\n"


class Answers(socketserver.StreamRequestHandler):
    def handle(self):
        late = b""
        for line in self.rfile:
            asked = json.loads(line)
            self.wfile.write(late)
            reply = {"actions": [[SAYS["value"], asked["state"][0]]] * 2}
            firsts = SAYS.setdefault("firsts", [])
            match asked["task"] if asked["task"] != "warm up" else firsts.pop(0) if firsts else "":
                case "die":
                    os.kill(os.getpid(), signal.SIGKILL)
                case "hang":
                    os.kill(os.getpid(), signal.SIGSTOP)
                    threading.Event().wait()  # what goes on is not this answer
                case "fail":
                    reply = {"error": "ValueError: a bad thing"}
                case "garbage":
                    reply = b"no JSON\n"
                case "text":
                    reply = {"actions": "left a bit"}
                case "nan":
                    reply = {"actions": [[float("nan"), 0.0]]}
                case "half":
                    self.wfile.write(b'{"actions": [[')
                    return
                case "chatty":
                    self.wfile.write(line_of(reply, asked))
                    reply = {"actions": [[-1.0, -1.0]]}
                case "late":
                    late = line_of({"actions": [[-1.0, -1.0]]}, asked)
                case "deaf":
                    server.shutdown()
                    server.server_close()
                    return
            self.wfile.write(reply if isinstance(reply, bytes) else line_of(reply, asked))


with (FOLDER / "starts").open("a") as starts:
    print(os.getpid(), file=starts)
print("reading the weights", flush=True)
if "start" in SAYS:
    print(SAYS["start"], flush=True)
    sys.exit(3)
if "sleeps" in SAYS:
    time.sleep(600)
socketserver.ThreadingTCPServer.allow_reuse_address = True
socketserver.ThreadingTCPServer.daemon_threads = True
server = socketserver.ThreadingTCPServer(("127.0.0.1", PORT), Answers)
server.serve_forever()
threading.Event().wait()
