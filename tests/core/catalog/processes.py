"""Real processes that act on one catalog at the same moment, and ones that are killed in the middle of it."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection as Pipe
from typing import Any

import sqlalchemy
from sqlalchemy import Engine, event

_FORKS = multiprocessing.get_context("fork")
_PATIENCE_S = 60


def at_once(actions: Sequence[Callable[[], Any]]) -> list[Any]:
    """Run each action in a process of its own, all released at one moment; their results, or the exceptions raised."""
    barrier = _FORKS.Barrier(len(actions))
    pipes = []
    children = []
    for action in actions:
        ours, theirs = _FORKS.Pipe(duplex=False)
        child = _FORKS.Process(target=_act, args=(action, barrier, theirs), daemon=True)
        child.start()
        theirs.close()
        pipes.append(ours)
        children.append(child)
    try:
        return [pipe.recv() if pipe.poll(_PATIENCE_S) else TimeoutError("a process never answered") for pipe in pipes]
    finally:
        for child in children:
            child.join(_PATIENCE_S)


def _act(action: Callable[[], Any], barrier: Any, pipe: Pipe) -> None:
    barrier.wait(_PATIENCE_S)
    try:
        pipe.send(action())
    except Exception as error:
        pipe.send(RuntimeError(f"{type(error).__name__}: {error}"))
    pipe.close()


def killed_before_statement(number: int, action: Callable[[], Any]) -> bool:
    """Run the action in a process that kills itself (SIGKILL) when it is about to send its `number`th statement.

    COMMIT counts as a statement, and its end as one more. False when the action ended before that.
    """
    child = _FORKS.Process(target=_act_and_die, args=(action, number), daemon=True)
    child.start()
    child.join(_PATIENCE_S)
    if child.exitcode == -signal.SIGKILL:
        return True
    assert child.exitcode == 0, f"the process ended with {child.exitcode}"
    return False


def _act_and_die(action: Callable[[], Any], number: int) -> None:
    sent = 0

    def count(*_: Any, **__: Any) -> None:
        nonlocal sent
        if sent == number:
            os.kill(os.getpid(), signal.SIGKILL)
        sent += 1

    event.listen(Engine, "before_cursor_execute", count)
    event.listen(Engine, "commit", count)
    # A commit's event comes before the commit; the connection goes back to its pool right after it.
    event.listen(sqlalchemy.pool.Pool, "checkin", count)
    action()
