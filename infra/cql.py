"""Waits until the Cassandra node at ADDRESS:PORT answers, then runs statements there, one after the other.

    cql.py ADDRESS:PORT [--peers N] [--server-pid PID] [--wait-seconds N] [STATEMENT…]

With --peers it also waits until the node knows N others. Gives up at once when the process PID is gone. Prints nothing.
Standard library only.
"""

import argparse
import os
import socket
import struct
import sys
import time

# https://github.com/apache/cassandra/blob/trunk/doc/native_protocol_v4.spec
REQUEST_V4 = 0x04
ERROR, STARTUP, READY, QUERY, RESULT = 0x00, 0x01, 0x02, 0x07, 0x08
CONSISTENCY_ONE = 0x0001
STATEMENT_SECONDS = 60


class NotReady(Exception):
    """May pass with time."""


class Session:
    def __init__(self, address: str, port: int) -> None:
        self.socket = socket.create_connection((address, port), timeout=5)
        # One string map with one entry.
        pair = b"".join(struct.pack(">H", len(text)) + text for text in (b"CQL_VERSION", b"3.0.0"))
        opcode, _ = self.ask(STARTUP, struct.pack(">H", 1) + pair)
        if opcode != READY:
            sys.exit("cql: the node asks for a password")
        self.socket.settimeout(STATEMENT_SECONDS)

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def run(self, statement: str) -> bytes:
        text = statement.encode()
        opcode, body = self.ask(QUERY, struct.pack(">i", len(text)) + text + struct.pack(">HB", CONSISTENCY_ONE, 0))
        if opcode != RESULT:
            raise NotReady(f"unexpected answer {opcode} to {statement}")
        return body

    def count_peers(self) -> int:
        """Those whose place in the ring is known: what a driver needs."""
        body = self.run("SELECT count(tokens) FROM system.peers")
        # One row of one bigint ends the answer.
        return struct.unpack(">q", body[-8:])[0]

    def ask(self, opcode: int, body: bytes) -> tuple[int, bytes]:
        self.socket.sendall(struct.pack(">BBhBi", REQUEST_V4, 0, 0, opcode, len(body)) + body)
        _, _, _, opcode, length = struct.unpack(">BBhBi", self.receive(9))
        body = self.receive(length)
        if opcode == ERROR:
            (text_length,) = struct.unpack(">H", body[4:6])
            raise NotReady(body[6 : 6 + text_length].decode(errors="replace"))
        return opcode, body

    def receive(self, length: int) -> bytes:
        received = b""
        while len(received) < length:
            part = self.socket.recv(length - len(received))
            if not part:
                raise NotReady("the node closed the connection")
            received += part
        return received


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("node", metavar="ADDRESS:PORT")
    parser.add_argument("statements", metavar="STATEMENT", nargs="*")
    parser.add_argument("--peers", type=int, default=0)
    parser.add_argument("--server-pid", type=int)
    parser.add_argument("--wait-seconds", type=float, default=180)
    args = parser.parse_intermixed_args()
    address, port = args.node.rsplit(":", 1)

    deadline = time.monotonic() + args.wait_seconds
    while True:
        try:
            with Session(address, int(port)) as session:
                peers = session.count_peers()
                if peers >= args.peers:
                    for statement in args.statements:
                        try:
                            session.run(statement)
                        except (NotReady, OSError) as error:
                            sys.exit(f"cql: {statement}: {error}")
                    return
                problem = f"it knows {peers} of {args.peers} other nodes"
        except (NotReady, OSError) as error:
            problem = str(error)
        if args.server_pid is not None and not alive(args.server_pid):
            sys.exit("cql: the server has stopped")
        if time.monotonic() > deadline:
            sys.exit(f"cql: {args.node} is not ready after {args.wait_seconds:.0f} s: {problem}")
        time.sleep(0.1)


try:
    main()
except KeyboardInterrupt:
    sys.exit(130)
