"""Work of a server: a bounded number of requests at a time, done by a few threads, alike ones together.

A request first gets a place (`Jobs.place`), before its body is read; where there is none, it is told when to come again
(`Busy`). Then its work waits in line (`Jobs.do`). A free thread takes what has waited longest, and with it what waits
and has an equal `key`, so that one pass of a network serves several requests.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

POLL = 0.5  # seconds after which it is asked again whether the client is still there
MEMORY = 0.8  # share of the running mean of a job's seconds that is kept at the next one


class Busy(Exception):
    """There is no place for another request; `seconds` after which there may be one."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"the server is busy; come again in {seconds} s")
        self.seconds = seconds


class TimedOut(Exception):
    """A request that took longer than it may; `running` where its work had begun, which goes on and is thrown away."""

    def __init__(self, seconds: float, *, running: bool) -> None:
        super().__init__(f"the request took longer than {seconds:g} s; send a smaller picture, or come again later")
        self.running = running


class Gone(Exception):
    """A client that has left before its answer."""


@dataclass(eq=False)
class _Job:
    work: Callable[[Sequence[Any]], Sequence[Any]]
    item: Any
    key: Hashable | None
    result: Future[Any] = field(default_factory=Future)


class Jobs:
    """Places of requests, and threads that do their work.

    Args:
        workers: threads.
        waiting: places beside those of the requests that the threads work on.
        together: jobs of an equal key that are done together, at the most.
        start: called once in each thread before its first job.
        done: called after each pass with its jobs' number and its seconds.
    """

    def __init__(
        self, *, workers: int = 1, waiting: int = 16, together: int = 8,
        start: Callable[[], object] | None = None, done: Callable[[int, float], object] | None = None,
    ) -> None:  # fmt: skip
        self.workers, self.places, self.together = workers, workers + waiting, together
        self.taken = self.running = 0  # requests that have a place; jobs that are being done
        self.mean = 0.5  # seconds of a pass, a running mean
        self._line: deque[_Job] = deque()
        self._change = threading.Condition()
        self._closed = False
        self._start, self._done = start, done
        self._threads = [threading.Thread(target=self._serve, name=f"tgim-{i}", daemon=True) for i in range(workers)]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """Jobs that wait in line."""
        return len(self._line)

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place for a request; used in the thread of the event loop alone.

        Raises:
            Busy: there is none.
        """
        if self.taken >= self.places:
            raise Busy(max(1, min(60, math.ceil(self.mean * self.taken / self.workers))))
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1

    async def do(
        self,
        work: Callable[[Sequence[Any]], Sequence[Any]],
        item: Any,
        *,
        key: Hashable | None = None,
        seconds: float = 60.0,
        gone: Callable[[], Any] | None = None,
    ) -> Any:
        """Have work done by one of the threads, and wait for it.

        Args:
            work: gets the items of jobs that are done together, and gives a result, or an exception, for each.
            item: of this job.
            key: jobs of an equal key may be done together, by the work of the first; None for a job by itself.
            seconds: to wait for at the most.
            gone: coroutine function that says whether the client has left.

        Returns:
            The item's result.

        Raises:
            TimedOut: it took longer.
            Gone: the client has left.
            Exception: the one that `work` gave or raised.
        """
        job = _Job(work, item, key)
        with self._change:
            if self._closed:
                raise Busy(60)
            self._line.append(job)
            self._change.notify()
        until = time.monotonic() + seconds
        waiting = asyncio.wrap_future(job.result)
        while not waiting.done():
            left = until - time.monotonic()
            if left <= 0:
                running = not self._give_up(job)
                waiting.cancel()
                raise TimedOut(seconds, running=running)
            await asyncio.wait({waiting}, timeout=min(POLL, left))
            if not waiting.done() and gone is not None and await gone():
                self._give_up(job)
                waiting.cancel()
                raise Gone
        return waiting.result()

    def close(self, *, seconds: float = 5.0) -> None:
        """End the threads after what they are doing, and wait for them; what waits is given up."""
        with self._change:
            self._closed = True
            for job in self._line:
                job.result.cancel()
            self._line.clear()
            self._change.notify_all()
        for thread in self._threads:
            thread.join(seconds)

    def _give_up(self, job: _Job) -> bool:
        """Cancel a job and take it out of line; False where it has begun."""
        with self._change:
            if job in self._line:
                self._line.remove(job)
            return job.result.cancel()

    def _take(self) -> list[_Job]:
        """Take the first job in line and those like it; an empty list at the end."""
        with self._change:
            while not self._line and not self._closed:
                self._change.wait()
            if not self._line:
                return []
            first = self._line.popleft()
            jobs = [first]
            if first.key is not None:
                others = [job for job in self._line if job.key == first.key][: self.together - 1]
                for job in others:
                    self._line.remove(job)
                jobs += others
            jobs = [job for job in jobs if job.result.set_running_or_notify_cancel()]
            self.running += len(jobs)
            return jobs or self._take()

    def _serve(self) -> None:
        if self._start is not None:
            self._start()
        while jobs := self._take():
            began = time.perf_counter()
            try:
                results = list(jobs[0].work([job.item for job in jobs]))
            except BaseException as error:
                results = [error] * len(jobs)
            for job, result in zip(jobs, results, strict=True):
                if isinstance(result, BaseException):
                    job.result.set_exception(result)
                else:
                    job.result.set_result(result)
            seconds, count = time.perf_counter() - began, len(jobs)
            with self._change:
                self.running -= count
                self.mean = MEMORY * self.mean + (1 - MEMORY) * seconds
            del jobs, results
            if self._done is not None:
                self._done(count, seconds)
