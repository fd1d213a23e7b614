"""Programs of several processes on this machine, joined by the real `jax.distributed`.

Run as a script this imports the package once, and all of them are forked from it.
"""

from __future__ import annotations

import atexit
import functools
import gc
import json
import os
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.helpers import draw_study, save_tiny_vit

ROOT = Path(__file__).resolve().parent.parent


@functools.cache
def server() -> subprocess.Popen:
    """What forks, as long as it is asked."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    started = subprocess.Popen([sys.executable, "-m", "tests.multihost"], cwd=ROOT, **pipes)
    atexit.register(started.communicate)
    return started


def asked(question):
    """The server's answer."""
    print(json.dumps(question), file=server().stdin, flush=True)
    return json.loads(server().stdout.readline())


class Forked:
    """`python -m module words`, of a Python that has imported it; as `subprocess.Popen` is used.

    Args:
      words: the module, or a script's path ending in .py, and its arguments.
      log: a file, at whose end goes all that is printed.
      environment: all of it.
    """

    def __init__(self, words: Sequence[str], log: Path, environment: Mapping[str, str]):
        self.args, self.returncode = words, None
        self.pid = asked([list(map(str, words)), str(log), dict(environment)])

    def poll(self) -> int | None:
        """The exit code, None before the end."""
        if self.returncode is None:
            self.returncode = asked(self.pid)
        return self.returncode

    def wait(self, timeout: float = float("inf")) -> int:
        """The exit code. Raises TimeoutExpired."""
        end = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired(self.args, timeout)
            time.sleep(0.05)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """At once."""
        self.send_signal(signal.SIGKILL)


def serve() -> tuple[list[str], str, dict[str, str]]:
    """Answers `asked`: returns in a child, with what it was asked to be."""
    for line in sys.stdin:
        question = json.loads(line)
        if isinstance(question, int):
            pid, status = os.waitpid(question, os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        elif not (answer := os.fork()):
            return question
        print(json.dumps(answer), flush=True)
    sys.exit()


def restartable(folder: Path) -> dict[str, str]:
    """The environment of a process that is killed, with its own copy of what is compiled.

    A killed process may leave half a file there.
    """
    compiled = shutil.copytree(os.environ["JAX_COMPILATION_CACHE_DIR"], folder / "compiled")
    own = {"JAX_COMPILATION_CACHE_DIR": str(compiled), "JAX_DEFAULT_MATMUL_PRECISION": "highest"}
    return {**os.environ, **own}


def environment(devices: int) -> dict[str, str]:
    """Of a process as this one is, with so many fake devices: the last flag of a name counts."""
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={devices}"
    return os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}


def address() -> str:
    """For process 0, where the others find it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def launch(
    processes: int, devices: int, command: Sequence[str], logs: Path, **more: str
) -> list[Forked]:
    """Starts `python -m command --distributed=...` for each process, with so many fake devices.

    Args:
      logs: folder of a file for each process, with all that it prints.
      more: of the environment.
    """
    where = address()
    logs.mkdir(parents=True, exist_ok=True)
    started = []
    for index in range(processes):
        who = [f"--distributed={where}", f"--num_processes={processes}"]
        who = [*who, f"--process_id={index}", "--heartbeat=10"] if processes > 1 else []
        given = ([*command, *who], logs / f"{index}.txt", environment(devices) | more)
        started.append(Forked(*given))
    return started


def finish(processes: Sequence[Forked], seconds: float = 120) -> list[int]:
    """Exit codes; processes that do not end in time are killed."""
    end = time.monotonic() + seconds
    try:
        return [process.wait(max(0.1, end - time.monotonic())) for process in processes]
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.wait()


def printed(logs: Path) -> str:
    """What all processes have printed."""
    return "\n".join(f"{path.name}:\n{path.read_text()}" for path in sorted(logs.glob("*.txt")))


def rfs_command(root: Path, levels: int, trials: int) -> list[str]:
    """A small study, and the command that measures it, but for the work directory."""
    draw_study(root / "data", per_class=8, size=32)
    save_tiny_vit(root / "tiny", size=32)
    sigmas = ",".join(str(round((i + 1) / (levels + 1), 4)) for i in range(levels))
    flags = {
        "config.models": f"('{root / 'tiny'}',)",
        "config.data.name": "masked_folder",
        "config.data.root": root / "data",
        "config.cache": root / "cache",
        "config.noise.sigmas": f"({sigmas},)",
        "config.noise.trials": trials,
        "config.statistics.resamples": 50,
    }
    given = [f"--{name}={value}" for name, value in flags.items()]
    return ["rival_jax.main", "--config=configs/rfs.py", *given]


if __name__ == "__main__":
    import jax

    import rival_jax.experiments.runner  # noqa: F401  (which starts no thread, and no device)

    gc.set_threshold(50_000, 10, 10)  # as in conftest.py
    gc.freeze()
    words, log, variables = serve()
    os.environ.clear()
    os.environ.update(variables)
    with open(os.devnull) as nothing, open(log, "a") as file:
        for ours, theirs in ((nothing, 0), (file, 1), (file, 2)):
            os.dup2(ours.fileno(), theirs)
    for name in ("JAX_COMPILATION_CACHE_DIR", "JAX_DEFAULT_MATMUL_PRECISION"):
        jax.config.update(name.lower(), variables.get(name))  # jax read them when it was imported
    sys.argv = words
    if words[0].endswith(".py"):
        runpy.run_path(words[0], run_name="__main__")
    else:
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
