"""The server around the application: its socket, its address, its token."""

from __future__ import annotations

import secrets
import socket
import threading
import webbrowser
from collections.abc import Callable

import uvicorn

from .app import create_app
from .guard import LOOPBACK
from .subject import Subject

BACKLOG = 256  # connections that wait


def open_socket(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        ValueError: the port is taken, or the host is none of this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise ValueError(
            f"--host {host} --port {port}: {error.strerror or error}; give another, or --port 0 for a free one"
        ) from error


def serve(
    subject: Subject,
    host: str = "127.0.0.1",
    port: int = 8765,
    browser: bool = False,
    say: Callable[[str], None] = print,
) -> None:
    """Serve the explorer until it is interrupted.

    Args:
        subject: models and data.
        host: where to listen. For any but the loopback a token is made, and the address that is said holds it.
        port: 0 takes a free one.
        browser: open the address in a browser.
        say: takes the address, in a line.

    Raises:
        ValueError: the port is taken, or the host is none of this machine's.
    """
    token = None if host in LOOPBACK else secrets.token_urlsafe(24)
    listening = open_socket(host, port)
    name = f"[{host}]" if ":" in host else host
    address = f"http://{name}:{listening.getsockname()[1]}/" + ("" if token is None else f"?token={token}")
    config = uvicorn.Config(
        create_app(subject, token), log_level="warning", access_log=False, server_header=False, lifespan="off"
    )
    say(f"exploring at {address} (Ctrl-C ends)")
    if browser:
        threading.Timer(0.5, webbrowser.open, (address,)).start()
    with listening:
        uvicorn.Server(config).run(sockets=[listening])
