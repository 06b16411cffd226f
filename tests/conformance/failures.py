"""A store that dies, stalls, is away or refuses us: readers keep what they had, errors help, secrets stay secret."""

from __future__ import annotations

import asyncio
import logging
import pickle
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing
from typing import Any, ClassVar
from urllib.parse import quote

import pytest

from millrace.errors import MillraceError, TargetError, TransientError
from tests.conformance.store import PEOPLE, StoreCase, held, load, people
from tests.conformance.views import Row, View
from tests.connectors.loads import run_loader
from tests.servers.process import free_port

SECRET = "pass/word:with@marks"
_BATCHES = [people(2000, "x" * 500, start=2000 * n) for n in range(10)]


class Failures(StoreCase):
    """What a run and a reader get to see when the store fails."""

    #: The option in a connection's URL that says how long to wait.
    timeout_option: ClassVar[str] = "timeout"

    @classmethod
    def serve_locked(cls) -> AbstractContextManager[Any]:
        """A server that asks for the password SECRET."""
        raise NotImplementedError

    def locked_url(self, server: Any, password: str) -> str:
        """The URL of that server with a password."""
        return str(server.url).replace(quote(SECRET, safe=""), quote(password, safe=""))

    def test_a_server_that_dies_in_a_load_leaves_the_old_version_and_the_next_try_ends_well(self) -> None:
        self.publish("v1", people(100, "old"))
        of, target = self.version("v2", people(1)), self.target()
        target.prepare(of)
        loader = target.loader(of)
        loader.open()

        async def outlive(view: View) -> None:
            loader.load(people(5000, "half-written"))
            self.server.kill()
            with closing(loader), pytest.raises(TransientError):
                _ = loader.load(people(5000, "half-written")), loader.finish()
            with pytest.raises(TransientError):
                await view.rows([1], PEOPLE)
            self.server.restart()  # in the main thread: the server ends with the thread that has started it
            assert [row and row["note"] for row in await _as_soon_as_it_answers(view, [1, 99])] == ["old", "old"]

        self.watch(outlive)
        target.close()
        assert load(target, of, people(30, "new")).rows == held(target, of, people(100)) == 30
        target.publish(of)
        assert self.notes(0, 30) == ["new", None]

    def test_a_server_that_pauses_is_waited_for(self) -> None:
        target, of = self.target(), self.version("v1", people(1))
        target.prepare(of)
        loader = target.loader(of)
        self.server.pause()
        with ThreadPoolExecutor(1) as pool:
            try:
                loading = pool.submit(run_loader, loader, *_BATCHES)
                with pytest.raises(TimeoutError):
                    loading.result(timeout=0.5)
            finally:
                self.server.resume()
            assert loading.result().rows == 20_000
        target.seal(of)
        assert held(target, of, *_BATCHES) == 20_000

    def test_a_server_that_stops_answering_is_given_up_and_worth_another_try(self) -> None:
        of = self.version("v1", people(1))
        self.target().prepare(of)
        target = self.target(self.connection(**{self.timeout_option: "3s"}))
        loader = target.loader(of)
        self.server.pause()
        try:
            with pytest.raises(TransientError, match="answer"):
                run_loader(loader, *_BATCHES)
            with pytest.raises(TransientError, match="answer"):
                target.current(self.asset)
        finally:
            self.server.resume()

    def test_a_server_that_is_away_is_told_with_its_address_and_worth_another_try(self) -> None:
        port = free_port()
        away = self.connection(self.url().replace(str(self.server.port), str(port), 1))
        with pytest.raises(TransientError, match=f"127.0.0.1:{port}"):
            self.target(away).check(PEOPLE)
        with pytest.raises(TransientError, match=f"127.0.0.1:{port}"):
            self.target(away).current(self.asset)

    def test_a_wrong_password_is_refused_and_neither_it_nor_the_right_one_is_shown(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.DEBUG), self.serve_locked() as server:
            wrong = self.target(self.connection(self.locked_url(server, "not/the:right@one")))
            with pytest.raises(TargetError) as caught:
                wrong.check(PEOPLE)
            shown = [str(caught.value), repr(caught.value), caught.value.message, caught.value.hint, caplog.text]
        for secret in (SECRET, "not/the:right@one"):
            for text in shown:
                assert secret not in text
                assert quote(secret, safe="") not in text

    def test_secrets_are_never_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.DEBUG):
            with self.serve_locked() as server:
                connection = self.connection(self.locked_url(server, SECRET))
                target, of = self.target(connection), self.version("v1", people(1))
                target.check(of.columns)
                load(target, of, people(10))
                loader = target.loader(of)
                target.publish(of)
                shown = [repr(connection), str(connection), repr(target), repr(vars(target)), repr(loader)]
                shown += [repr(vars(pickle.loads(pickle.dumps(loader))))]
                target.close()
            with pytest.raises(MillraceError) as caught:
                target.current(self.asset)
        for text in [*shown, str(caught.value), repr(caught.value), caplog.text]:
            assert SECRET not in text
            assert quote(SECRET, safe="") not in text


async def _as_soon_as_it_answers(view: View, ids: Sequence[int]) -> list[Row | None]:
    while True:
        try:
            return await view.rows(ids, PEOPLE)
        except TransientError:
            await asyncio.sleep(0.2)
