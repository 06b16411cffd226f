"""Keeps the workers of one server running: starts them, starts a crashed one again, drains them at the end."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType

from millrace.errors import ConfigError
from millrace.serving.metrics import added
from millrace.serving.tls import ServerTls
from millrace.serving.worker import WRONG_SETTINGS, Options, listener

log = logging.getLogger(__name__)

_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 10.0
_STEADY_S = 30.0  # a worker that ran this long has not failed at its start
_LOOK_S = 0.1
_KILL_AFTER_S = 10.0  # beyond the time to drain


@dataclass
class _Worker:
    """One place for a worker, and the process in it."""

    index: int
    process: subprocess.Popen[str] | None = None
    started: float = 0.0
    pause_s: float = _FIRST_PAUSE_S
    again_at: float = 0.0
    ready: threading.Event = field(default_factory=threading.Event)


class Supervisor:
    """Runs `options.workers` processes until SIGTERM or SIGINT. Use `run` from the main thread."""

    def __init__(self, options: Options, on_ready: Callable[[Options], None] = lambda _options: None) -> None:
        self._options = options
        self._on_ready = on_ready
        self._workers = [_Worker(index) for index in range(options.workers)]
        self._leaving = threading.Event()

    def run(self) -> int:
        """The exit code: 0 after a drain, 2 when no worker could start with these settings.

        Raises ConfigError when a port can't be had, or a certificate can't be used.
        """
        if (files := self._options.tls) is not None:
            ServerTls(files)
        with ExitStack() as stack:
            options = self._reserve(stack)
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="millrace-serve-"))
            options = replace(options, run_dir=folder)
            for number in (signal.SIGTERM, signal.SIGINT):
                before = signal.signal(number, self._leave)
                stack.callback(signal.signal, number, before)
            try:
                return self._watch(options)
            finally:
                self._end_all(options)

    def _reserve(self, stack: ExitStack) -> Options:
        """Hold the ports, without listening, so that port 0 is one port for all workers."""
        options, found = self._options, {}
        for name in ("http_port", "grpc_port"):
            port = getattr(options, name)
            if port is None:
                continue
            try:
                sock = stack.enter_context(listener(options.host, port))
            except OSError as error:
                raise ConfigError(
                    f"port {port} of {options.host} can't be served: {error.strerror}", hint="choose another one"
                ) from error
            found[name] = sock.getsockname()[1]
        return replace(options, **found)

    def _watch(self, options: Options) -> int:
        announced = False
        while not self._leaving.is_set():
            for worker in self._workers:
                code = self._look(worker, options)
                if code == WRONG_SETTINGS and not announced:
                    return code
            if not announced and all(worker.ready.is_set() for worker in self._workers):
                announced = True
                self._on_ready(options)
            self._leaving.wait(_LOOK_S)
        return 0

    def _look(self, worker: _Worker, options: Options) -> int | None:
        """Start a worker where none runs and it is time to; the exit code of one that has just ended."""
        now = time.monotonic()
        if worker.process is None:
            if now >= worker.again_at:
                self._start(worker, options)
            return None
        code = worker.process.poll()
        if code is None:
            return None
        _keep_numbers(options, worker.process.pid)
        steady = now - worker.started > _STEADY_S
        worker.pause_s = _FIRST_PAUSE_S if steady else min(worker.pause_s * 2, _LONGEST_PAUSE_S)
        worker.again_at = now + worker.pause_s
        log.error("worker %d ended with code %d; another one starts", worker.process.pid, code)
        worker.process = None
        worker.ready.clear()
        return code

    def _start(self, worker: _Worker, options: Options) -> None:
        command = [sys.executable, "-m", "millrace.serving.worker", replace(options, index=worker.index).to_json()]
        worker.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        worker.started = time.monotonic()
        threading.Thread(target=_await_ready, args=(worker.process, worker.ready), daemon=True).start()

    def _leave(self, _number: int, _frame: FrameType | None) -> None:
        self._leaving.set()

    def _end_all(self, options: Options) -> None:
        running = [worker.process for worker in self._workers if worker.process is not None]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + options.lame_duck_s + options.drain_s + _KILL_AFTER_S
        for process in running:
            try:
                process.wait(max(deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                log.error("worker %d did not leave in time and was killed", process.pid)
                process.kill()
                process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()


def _await_ready(process: subprocess.Popen[str], ready: threading.Event) -> None:
    assert process.stdout is not None
    if process.stdout.readline():
        ready.set()


def _keep_numbers(options: Options, pid: int) -> None:
    """Counters go on after the worker that counted: its numbers, without gauges, are added to those of the others."""
    folder = Path(options.run_dir)
    own, kept = folder / f"worker-{pid}.json", folder / "ended.json"
    if own.exists():
        dumps = [json.loads(path.read_bytes()) for path in (own, kept) if path.exists()]
        draft = folder / "ended.new"
        draft.write_text(json.dumps({**added(dumps), "gauges": []}))
        draft.rename(kept)
        own.unlink()
