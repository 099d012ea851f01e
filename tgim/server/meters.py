"""Counts and times of a server, in Prometheus' text format."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from tgim.server.jobs import Jobs

SECONDS = (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60)


class Meters:
    """Meters of one application, in a registry of their own."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = Counter("tgim_requests", "Requests answered.", ["path", "status"], registry=registry)
        self.seconds = Histogram(
            "tgim_request_seconds", "From a request to its answer.", ["path"], buckets=SECONDS, registry=registry
        )
        self.passes = Histogram("tgim_pass_seconds", "Of work done at a time.", buckets=SECONDS, registry=registry)
        self.together = Histogram(
            "tgim_pass_jobs", "Jobs done together.", buckets=(1, 2, 4, 8, 16), registry=registry
        )  # fmt: skip
        self._waiting = Gauge("tgim_waiting", "Jobs that wait in line.", registry=registry)
        self._running = Gauge("tgim_running", "Jobs that are being done.", registry=registry)
        self._taken = Gauge("tgim_places_taken", "Requests that have a place.", registry=registry)

    def watch(self, jobs: Jobs) -> None:
        """Show the state of `jobs`."""
        self._waiting.set_function(lambda: jobs.waiting)
        self._running.set_function(lambda: jobs.running)
        self._taken.set_function(lambda: jobs.taken)

    def worked(self, count: int, seconds: float) -> None:
        """Count a pass over so many jobs."""
        self.together.observe(count)
        self.passes.observe(seconds)

    def text(self) -> bytes:
        """The meters in Prometheus' text format."""
        return generate_latest(self.registry)


class Measured:
    """ASGI application around another one that counts its answers by route and status."""

    def __init__(self, app: ASGIApp, *, meters: Meters) -> None:
        self.app, self.meters = app, meters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request and count it; an unknown path counts as "other"."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, noting)
        finally:
            route = scope.get("route")
            path = route.path if route is not None else "other"
            self.meters.requests.labels(path, str(status)).inc()
            self.meters.seconds.labels(path).observe(time.perf_counter() - began)
