"""Kernels of the pages: forks of one process that has imported what most pages import.

Importing takes as long as what a short page computes. No fork shares a compiled program or a
random state with another: JAX starts its devices, and reads the flags of XLA, when first used.
"""

import contextlib
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
from importlib.metadata import EntryPoint

CACHE = "JAX_COMPILATION_CACHE_DIR"
IMPORTED = (
    "ipykernel.kernelapp",
    "boltzax",
    "boltzax.cases",
    "boltzax.channels",
    "boltzax.degrade",
    "boltzax.interfaces",
    "boltzax.meanfield",
    "boltzax.theory",
    "matplotlib.pyplot",
    "numpyro",
    "optax",
)


def serve(listener: socket.socket) -> None:
    """A kernel for each connection, until the process that started this one has ended."""
    for name in IMPORTED:
        __import__(name)
    gc.freeze()  # what is imported stays; what is traced is many objects that live long
    gc.set_threshold(100_000, 50, 100)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the kernels
    while True:
        ready, _, _ = select.select([listener, sys.stdin], [], [])
        if sys.stdin in ready:
            return
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            _run(connection)
        connection.close()


def _run(connection: socket.socket) -> None:
    """One kernel; its process ends here, and its end of the connection with it."""
    try:
        asked = json.loads(connection.makefile().readline())
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        connection.sendall(f"{os.getpid()}\n".encode())
        os.chdir(asked["cwd"])
        os.environ.clear()
        os.environ.update(asked["env"])
        sys.path[0] = ""  # as of a program that is given by `-m`

        import jax
        from ipykernel.kernelapp import launch_new_instance

        os.environ.pop("MPLBACKEND", None)  # figures are shown on the page
        jax.config.update("jax_compilation_cache_dir", asked["env"].get(CACHE))
        further = ["--matplotlib=inline", f"--IPKernelApp.parent_handle={os.getppid()}"]
        launch_new_instance(argv=asked["argv"] + further)
    finally:
        os._exit(0)


class Process:
    """A fork, as `subprocess.Popen` would show it to Jupyter."""

    stdin = stdout = stderr = None

    def __init__(self, address: bytes, asked: dict) -> None:
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(address)
        self._connection.sendall((json.dumps(asked) + "\n").encode())
        self.pid = int(self._connection.makefile().readline())

    def poll(self) -> int | None:
        try:
            return self._ended(socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None

    def wait(self) -> int:
        return self._ended(0)

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def _ended(self, flags: int) -> int:
        with contextlib.suppress(ConnectionResetError):
            self._connection.recv(1, flags)
        return 0


def start() -> None:
    """Kernels that this process and its forks ask for are forks from now on, on Linux."""
    if sys.platform != "linux":
        return
    from jupyter_client.provisioning import KernelProvisionerFactory, LocalProvisioner

    listener = socket.socket(socket.AF_UNIX)
    listener.bind("")  # an address that is no file
    listener.listen()
    address = listener.getsockname()
    command = [sys.executable, __file__, str(listener.fileno())]
    subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[listener.fileno()])

    class Forked(LocalProvisioner):
        async def launch_kernel(self, cmd, **kwargs):
            argv = cmd[cmd.index("ipykernel_launcher") + 1 :]
            asked = {"argv": argv, "env": kwargs["env"], "cwd": str(kwargs["cwd"])}
            self.process = Process(address, asked)
            self.pid = self.pgid = self.process.pid
            self.cwd = kwargs["cwd"]
            return self.connection_info

    class Point(EntryPoint):
        def load(self):
            return Forked

    factory = KernelProvisionerFactory.instance()
    factory.provisioners["forked"] = Point("forked", "", KernelProvisionerFactory.GROUP_NAME)
    factory.default_provisioner_name = "forked"


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
