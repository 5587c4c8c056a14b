"""A line to a server that can be cut at any word of the talk."""

from __future__ import annotations

import contextlib
import socket
import threading


class Proxy:
    """Stands before a server's socket, and cuts lines when it is told to.

    A request that holds `cut_before` never gets to the server; the answer to one that holds
    `cut_after` never gets back. Each is done once. While `silent`, nothing is handed on.
    """

    def __init__(self, place: str) -> None:
        self._place = place
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.cut_before: bytes | None = None
        self.cut_after: bytes | None = None
        self.silent = False
        self.cuts = 0
        self.lines: list[_Line] = []
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._place)
                self.lines.append(_Line(self, client, server))

    def close(self) -> None:
        """Cut all lines and take no more."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join(60)
        for line in self.lines:
            line.end()


class _Line:
    """One connection: a thread for what is asked, and one for what is answered."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy, self._client, self._server = proxy, client, server
        self._answered = threading.Event()
        self._deaf = False
        self._threads = [
            threading.Thread(target=work, daemon=True) for work in (self._ask, self._answer)
        ]
        for thread in self._threads:
            thread.start()

    def _ask(self) -> None:
        proxy = self._proxy
        with contextlib.suppress(OSError):
            while asked := self._client.recv(65536):
                if proxy.silent:
                    continue
                if proxy.cut_before and proxy.cut_before in asked:
                    proxy.cut_before, proxy.cuts = None, proxy.cuts + 1
                    break
                if proxy.cut_after and proxy.cut_after in asked:
                    proxy.cut_after, proxy.cuts = None, proxy.cuts + 1
                    self._deaf = True
                    self._server.sendall(asked)
                    self._answered.wait(60)
                    break
                self._server.sendall(asked)
        self._hang_up()

    def _answer(self) -> None:
        with contextlib.suppress(OSError):
            while answered := self._server.recv(65536):
                if self._deaf:
                    self._answered.set()
                elif not self._proxy.silent:
                    self._client.sendall(answered)
        self._hang_up()

    def _hang_up(self) -> None:
        for end in (self._client, self._server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def end(self) -> None:
        """Hang up, and give the sockets back."""
        self._hang_up()
        for thread in self._threads:
            thread.join(60)
        self._client.close()
        self._server.close()
