"""Somebody to talk to on a host of a lab: ``python -m tests.support.speak [BYTES]``.

Listens on port 7000 of all addresses, says so, and sends each who comes so many bytes.
"""

import socket
import sys


def main(size: int) -> None:
    with socket.create_server(("0.0.0.0", 7000)) as listener:
        print("ready", flush=True)
        while True:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"x" * size)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
