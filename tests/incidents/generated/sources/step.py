"""A step in Python: does what the lines of its job file say, one after the other."""

import ctypes
import fcntl
import mmap
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable

HELD: list[object] = []


def note(path: str) -> None:
    with open(path, "w") as file:
        file.write(os.readlink("/proc/self"))


def work(ms: str) -> None:
    for _ in range(int(ms)):
        sum(range(30_000))


def burn(ms: str) -> None:
    while time.process_time() * 1000 < int(ms):
        sum(range(30_000))


def idle(ms: str) -> None:
    time.sleep(int(ms) / 1000)


def read(path: str, least: str = "0") -> None:
    with open(path, "rb") as file:
        size = len(file.read())
    if size < int(least) * 1024:
        raise SystemExit(f"{path}: too short")


def write(path: str, kib: str, ms: str) -> None:
    with open(path, "wb", buffering=0) as file:
        for _ in range(16):
            file.write(b"17,4,abc\n" * (int(kib) * 64 // 9 + 1))
            time.sleep(int(ms) / 16_000)


def grow(mib: str, ms: str) -> None:
    for _ in range(int(mib)):
        HELD.append(bytearray(b"x") * (1 << 20))
        time.sleep(int(ms) / int(mib) / 1000)


def ask(port: str, ms: str) -> None:
    with socket.create_connection(("127.0.0.1", int(port)), int(ms) / 1000) as connection:
        connection.sendall(b"get\n")
        answer = connection.recv(64)
    if not answer.startswith(b"ok"):
        raise SystemExit(f"answer: {answer!r}")


def listen(port: str) -> None:
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("127.0.0.1", int(port)))
    server.listen()
    HELD.append(server)


def serve(port: str, count: str) -> None:
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("127.0.0.1", int(port)))
    server.listen()
    for _ in range(int(count)):
        connection, _ = server.accept()
        connection.recv(64)
        connection.sendall(b"ok\n")
        connection.close()


def run(*words: str) -> None:
    subprocess.run(words, check=True)


def mkdir(path: str) -> None:
    os.mkdir(path)


def create(path: str) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))


def lock(path: str) -> None:
    file = open(path, "a")  # noqa: SIM115 (held until the end)
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    HELD.append(file)


def files(count: str, path: str) -> None:
    opened = [open(path) for _ in range(int(count))]  # noqa: SIM115
    for file in opened:
        file.close()


def procs(count: str, ms: str) -> None:
    children = [subprocess.Popen(["sleep", str(int(ms) / 1000)]) for _ in range(int(count))]
    for child in children:
        child.wait()


def crash(how: str) -> None:
    if how == "segv":
        ctypes.string_at(8)
    os.abort()


def leave(status: str) -> None:
    print("stop", file=sys.stderr)
    sys.exit(int(status))


def fifo(path: str) -> None:
    with open(path, "rb") as file:
        file.read()


def map_file(path: str, ms: str) -> None:
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as view:
        for place in range(0, len(view), mmap.PAGESIZE):
            if view[place] and not place % (64 * mmap.PAGESIZE):
                time.sleep(int(ms) * 64 * mmap.PAGESIZE / len(view) / 1000)


def sprinkle(folder: str, count: str) -> None:
    for number in range(int(count)):
        with open(f"{folder}/part-{number:05}", "w"):
            pass


def kill(path: str, number: str) -> None:
    with open(path) as file:
        os.kill(int(file.read()), int(number))


def polite(_: str = "") -> None:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))


def deaf(_: str = "") -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def once(path: str) -> None:
    if not os.path.exists(path):
        with open(path, "w"):
            pass
        raise SystemExit("not yet")


def check(path: str, word: str) -> None:
    with open(path) as file:
        if word in file.read():
            raise SystemExit(f"{path}: {word}")


def remove(path: str) -> None:
    os.unlink(path)


def say(kib: str) -> None:
    for _ in range(int(kib)):
        print("17,4,abcdefgh\n" * 73, flush=True)


OPERATIONS: dict[str, Callable[..., None]] = {
    "note": note,
    "work": work,
    "burn": burn,
    "idle": idle,
    "read": read,
    "write": write,
    "grow": grow,
    "ask": ask,
    "listen": listen,
    "serve": serve,
    "run": run,
    "mkdir": mkdir,
    "create": create,
    "lock": lock,
    "files": files,
    "procs": procs,
    "crash": crash,
    "exit": leave,
    "fifo": fifo,
    "map": map_file,
    "sprinkle": sprinkle,
    "kill": kill,
    "polite": polite,
    "deaf": deaf,
    "once": once,
    "check": check,
    "remove": remove,
    "say": say,
}

if __name__ == "__main__":
    with open(sys.argv[1]) as jobs:
        lines = [line.split() for line in jobs]
    for name, *words in lines:
        OPERATIONS[name](*words)
