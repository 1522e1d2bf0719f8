"""What poses as a Docker engine: it has the containers that a test says, tells the events that a
test says, as fast as it likes, and counts what it is asked."""

import json
import os
import socket
import threading
import time
from collections import Counter


class FakeEngine:
    """Answers on a unix socket. `asked` counts calls: "list", "version", "events", "image", and
    ("inspect", id) each."""

    def __init__(self, path):
        self.path = path
        self.lock = threading.Lock()
        self.containers, self.asked, self.followers = {}, Counter(), []

    def __enter__(self):
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(128)
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        # Without it the thread that accepts would hold the socket.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for follower in self.followers:
            follower.close()
        os.unlink(self.path)

    # --- its containers, and what it tells of them ---

    def put(self, ident, labels, address, runs=True):
        """There is such a container now."""
        with self.lock:
            self.containers[ident] = {"labels": labels, "address": address, "runs": runs, "started": time.time_ns()}

    def end(self, ident):
        with self.lock:
            self.containers[ident]["runs"] = False

    def remove(self, ident):
        with self.lock:
            del self.containers[ident]

    def tell(self, *events):
        """Sends events, (action, container) each, in one go."""
        lines = b"".join(self.event(*event) for event in events)
        chunk = b"%x\r\n%s\r\n" % (len(lines), lines)
        for follower in list(self.followers):
            try:
                follower.sendall(chunk)
            except OSError:  # it went away
                self.followers.remove(follower)

    def event(self, action, ident):
        is_network = action in ("connect", "disconnect")
        with self.lock:
            labels = self.containers.get(ident, {}).get("labels", {})
        actor = {"ID": "net", "Attributes": {"container": ident}} if is_network else {"ID": ident, "Attributes": labels}
        event = {"Type": "network" if is_network else "container", "Action": action, "Actor": actor, "timeNano": time.time_ns()}
        return json.dumps(event).encode() + b"\n"

    # --- its answers ---

    def accept(self):
        while True:
            try:
                stream, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=[stream], daemon=True).start()

    def serve(self, stream):
        with stream.makefile("rb") as reader:
            line = reader.readline().decode()
            while reader.readline().strip():
                pass
        path = line.split(" ")[1].partition("?")[0]
        # `/v1.41/containers/ID/json`
        parts = path.strip("/").split("/")
        if parts[0].startswith("v1."):
            parts = parts[1:]
        try:
            if parts == ["events"]:
                stream.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                self.asked["events"] += 1
                self.followers.append(stream)
                return
            status, found = self.answer(parts)
            body = json.dumps(found).encode()
            head = f"HTTP/1.1 {status} Said\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            stream.sendall(head.encode() + body)
        except OSError:
            pass
        stream.close()

    def answer(self, parts):
        with self.lock:
            if parts == ["version"]:
                self.asked["version"] += 1
                return 200, {"Version": "20.10", "ApiVersion": "1.41"}
            if parts == ["containers", "json"]:
                self.asked["list"] += 1
                return 200, [self.listed(ident) for ident in self.containers]
            if parts[0] == "containers":
                self.asked["inspect", parts[1]] += 1
                known = parts[1] in self.containers
                return (200, self.inspected(parts[1])) if known else (404, {"message": "no such container"})
        return 404, {"message": "not built"}

    def listed(self, ident):
        one = self.containers[ident]
        return {
            "Id": ident, "Names": [f"/{ident}"], "Labels": one["labels"], "State": state(one),
            "Status": "Up", "Ports": [{"PrivatePort": 80, "Type": "tcp"}], "NetworkSettings": networks(one),
        }  # fmt: skip

    def inspected(self, ident):
        one = self.containers[ident]
        seconds, nanos = divmod(one["started"], 1_000_000_000)
        started = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{nanos:09}Z"
        return {
            "Id": ident, "Name": f"/{ident}", "Config": {"Labels": one["labels"]},
            "State": {"Status": state(one), "StartedAt": started},
            "NetworkSettings": {**networks(one), "Ports": {"80/tcp": None}},
        }  # fmt: skip


def state(one):
    return "running" if one["runs"] else "exited"


def networks(one):
    address = one["address"] if one["runs"] else ""
    return {"Networks": {"net": {"NetworkID": "n", "IPAddress": address}}}
