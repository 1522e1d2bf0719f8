"""A socket in front of the engine's that a test can take away."""

import os
import selectors
import socket
import threading

from . import engine


class Cuttable:
    """Passes on what comes to the engine and back, until it is cut: as when the engine restarts."""

    def __init__(self, path):
        self.path, self.live, self.listener = path, [], None

    def open(self):
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(64)
        threading.Thread(target=self.accept, args=[self.listener], daemon=True).start()

    def accept(self, listener):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(engine.SOCKET)
            except OSError:  # the engine itself is away
                client.close()
                server.close()
                continue
            self.live += [client, server]
            threading.Thread(target=self.pass_on, args=[client, server], daemon=True).start()

    def pass_on(self, client, server):
        with selectors.DefaultSelector() as both, client, server:
            both.register(client, selectors.EVENT_READ, server)
            both.register(server, selectors.EVENT_READ, client)
            try:
                while True:
                    for key, _ in both.select():
                        data = key.fileobj.recv(65536)
                        if not data:
                            return
                        key.data.sendall(data)
            except (OSError, ValueError):
                return

    def cut(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        os.unlink(self.path)
        for stream in self.live:
            try:
                stream.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.live = []
