"""The application behind `tgim serve`: edits, parts, matches and generated pictures over HTTP, and their page.

A POST takes a form (`tgim.server.forms`) and answers with a picture, facts in its headers, or with JSON. Errors are
JSON, too: `{"error": "one line"}`. No address that a client sends is ever opened, no upload becomes a file, and models
are those that the server was started with.
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from typing import Any, Literal

from fastapi import FastAPI, Query, Request
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException

from tgim._version import __version__
from tgim.errors import UserError
from tgim.server import forms, local, work
from tgim.server.catalog import Catalog
from tgim.server.jobs import Busy, Gone, Jobs, TimedOut
from tgim.server.meters import Measured, Meters

MAX_PIXELS = 40_000_000  # of a picture that is sent
PAGES = {  # path: file, media type
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/drawing.js": ("drawing.js", "text/javascript; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/docs": ("docs.html", "text/html; charset=utf-8"),
    "/docs.js": ("docs.js", "text/javascript; charset=utf-8"),
}
SWAGGER = {
    "/swagger-ui-bundle.js": ("swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
    "/swagger-ui.css": ("swagger-ui.css", "text/css; charset=utf-8"),
}


@dataclass(frozen=True)
class Limits:
    """Limits of a server."""

    max_bytes: int = local.MAX_BYTES  # of the body of a request
    max_pixels: int = MAX_PIXELS  # of a picture
    waiting: int = 16  # requests beside those that are worked on
    seconds: float = 60.0  # that a request may take to be sent, and to be answered
    workers: int = 1  # requests that are worked on at a time
    threads: int = 1  # of each


class Error(BaseModel):
    """Reason why a request was not answered."""

    error: str


class Match(BaseModel):
    """Scores of pictures against captions."""

    model: str
    texts: list[str]
    scores: list[list[float]]  # a row for each picture
    notes: list[str]


class Parts(BaseModel):
    """Parts of a picture's subject: boxes are x, y, width, height in pixels; `map` is a PNG of indices of `names`."""

    model: str
    size: list[int]
    names: list[str]
    subject: list[int]
    score: float
    others: list[list[int]]
    shares: dict[str, float]
    map: str


class ServedModel(BaseModel):
    """A model that is served."""

    model_config = ConfigDict(extra="allow")
    name: str
    role: str
    title: str
    licence: str
    edits: bool
    searches: bool
    loaded: bool


class Health(BaseModel):
    """State of the server."""

    status: Literal["ok", "stopping"]
    version: str
    loaded: list[str]
    waiting: int
    running: int


ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": Error, "description": "The form cannot be read."},
    403: {"model": Error, "description": "Another host, or a page of another site."},
    408: {"model": Error, "description": "Sending took too long."},
    413: {"model": Error, "description": "The request is too large."},
    415: {"model": Error, "description": "The request is no form."},
    422: {"model": Error, "description": "A field, or the picture, cannot be used."},
    429: {"model": Error, "description": "The server is busy; Retry-After says when to come again."},
    504: {"model": Error, "description": "The work took too long."},
}


def picture_of(media: Sequence[str]) -> dict[int | str, dict[str, Any]]:
    """Describe an answer with a picture."""
    shown = {"schema": {"type": "string", "format": "binary"}}
    facts = {
        name: {"description": what, "schema": {"type": "string"}}
        for name, what in (
            ("X-Tgim-Model", "The model that did it."),
            ("X-Tgim-Caption", "The caption that was used, a JSON string."),
            ("X-Tgim-Size", "Width and height in pixels, WxH."),
            ("X-Tgim-Box", "The region that was edited, X,Y,W,H; missing for the whole picture."),
            ("X-Tgim-Notes", "Of the text or the file: what could not be taken, a JSON list."),
        )
    }
    return {200: {"description": "The picture.", "content": dict.fromkeys(media, shown), "headers": facts}}


def create_app(catalog: Catalog, limits: Limits = Limits()) -> FastAPI:
    """Make the application; `app.state.jobs` does its work, `app.state.stop()` says that it stops."""
    meters = Meters()
    jobs = Jobs(
        workers=limits.workers,
        waiting=limits.waiting,
        start=partial(_use_threads, limits.threads),
        done=meters.worked,
    )
    meters.watch(jobs)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        jobs.close()

    app = FastAPI(
        title="tgim",
        version=__version__,
        summary="Edits photographs by captions, on this machine.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.jobs, app.state.stopping = jobs, False
    app.state.stop = partial(setattr, app.state, "stopping", True)
    app.add_middleware(Measured, meters=meters)
    _answer_errors(app)
    _add_pages(app)

    async def do(
        request: Request, form: type[forms.Form], work_of: Callable[[forms.Form], tuple[Any, Any, Any]]
    ) -> Any:
        """Read a form and have its work done: (function of items, item, key)."""
        with jobs.place():
            sent = await forms.read(request, form, max_bytes=limits.max_bytes, seconds=limits.seconds)
            function, item, key = work_of(sent)
            return await jobs.do(function, item, key=key, seconds=limits.seconds, gone=request.is_disconnected)

    @app.post(
        "/edit",
        response_class=Response,
        responses={**picture_of(sorted(work.MEDIA.values())), **ERRORS},
        openapi_extra={"requestBody": forms.described(forms.EditForm)},
    )
    async def edit(request: Request) -> Response:
        """Edit a picture so that a caption becomes true of it."""

        def asked(sent: forms.EditForm) -> tuple[Any, Any, Any]:
            item = work.EditAsked(**sent.model_dump())
            return partial(work.edits, catalog, max_pixels=limits.max_pixels), item, item

        return _as_response(await do(request, forms.EditForm, asked))

    @app.post(
        "/parts",
        responses={
            200: {"model": Parts, "description": "Figures, or the picture.", "content": {"image/png": {}}},
            **ERRORS,
        },
        openapi_extra={"requestBody": forms.described(forms.PartsForm)},
    )
    async def parts(request: Request) -> Response:
        """Find the parts of a picture's subject."""

        def asked(sent: forms.PartsForm) -> tuple[Any, Any, Any]:
            item = work.PartsAsked(**sent.model_dump())
            return lambda items: [work.parts(catalog, items[0], max_pixels=limits.max_pixels)], item, None

        return _as_response(await do(request, forms.PartsForm, asked))

    @app.post("/match", response_model=Match, responses=ERRORS, openapi_extra={
        "requestBody": forms.described(forms.MatchForm)
    })  # fmt: skip
    async def match(request: Request) -> Response:
        """Score pictures against captions: the higher, the better they fit."""

        def asked(sent: forms.MatchForm) -> tuple[Any, Any, Any]:
            item = work.MatchAsked(tuple(sent.image), tuple(sent.text), sent.model)
            return partial(work.matches, catalog, max_pixels=limits.max_pixels), item, ("match", sent.model)

        return _as_response(await do(request, forms.MatchForm, asked))

    @app.post(
        "/generate",
        response_class=Response,
        responses={**picture_of(["image/png"]), **ERRORS},
        openapi_extra={"requestBody": forms.described(forms.GenerateForm)},
    )
    async def generate(request: Request) -> Response:
        """Generate pictures of a caption."""

        def asked(sent: forms.GenerateForm) -> tuple[Any, Any, Any]:
            item = work.GenerateAsked(**sent.model_dump())
            return partial(work.generated, catalog), item, ("generate", sent.model, sent.n, sent.seed, sent.vary)

        return _as_response(await do(request, forms.GenerateForm, asked))

    @app.post(
        "/show",
        response_class=Response,
        responses={200: {"description": "The picture.", "content": {"image/png": {}}}, **ERRORS},
        openapi_extra={"requestBody": forms.described(forms.ShowForm)},
    )
    async def show(request: Request) -> Response:
        """Show a picture as PNG, as it is read: upright, of a kind that browsers know."""

        def asked(sent: forms.ShowForm) -> tuple[Any, Any, Any]:
            return lambda items: [work.shown(*items[0], max_pixels=limits.max_pixels)], (sent.image, sent.side), None

        return _as_response(await do(request, forms.ShowForm, asked))

    @app.get("/sample", response_class=Response, responses={**picture_of(["image/png"]), **_some(403, 422, 429, 504)})
    async def sample(
        request: Request, kind: Literal["birds", "flowers"] = "birds", seed: int = Query(0, ge=0, lt=2**31)
    ) -> Response:
        """Render a synthetic bird or flower, to try edits on."""
        with jobs.place():
            found = await jobs.do(
                lambda items: [work.sample(*items[0])], (kind, seed), seconds=limits.seconds,
                gone=request.is_disconnected,
            )  # fmt: skip
        return _as_response(found)

    @app.get("/models", responses=_some(403))
    async def models() -> list[ServedModel]:
        """List the models that are served."""
        return [ServedModel(**each) for each in catalog.describe()]

    @app.get("/health", responses={**_some(403), 503: {"model": Health, "description": "The server is stopping."}})
    async def health(response: Response) -> Health:
        """Tell whether the server takes requests."""
        response.status_code = 503 if app.state.stopping else 200
        status: Literal["ok", "stopping"] = "stopping" if app.state.stopping else "ok"
        return Health(
            status=status, version=__version__, loaded=catalog.loaded, waiting=jobs.waiting, running=jobs.running
        )

    @app.get("/metrics", response_class=Response, responses={
        200: {"description": "Prometheus' text format.", "content": {"text/plain": {"schema": {"type": "string"}}}},
        **_some(403),
    })  # fmt: skip
    async def metrics() -> Response:
        """Counts and times, for Prometheus."""
        return Response(meters.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    app.openapi = partial(_schema, app)  # type: ignore[method-assign]
    return app


def _use_threads(count: int) -> None:
    """Let torch, where it is loaded, compute on so many threads in this thread."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(count)


def _some(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: ERRORS[status] for status in statuses}


def _as_response(found: Any) -> Response:
    if not isinstance(found, work.Picture):
        return JSONResponse(found)
    facts, headers = found.facts, {}
    if facts:
        headers = {
            "X-Tgim-Model": facts["model"],
            "X-Tgim-Caption": json.dumps(facts["caption"]),
            "X-Tgim-Size": "x".join(map(str, facts["size"])),
            "X-Tgim-Notes": json.dumps(facts["notes"]),
        }
        if facts.get("box"):
            headers["X-Tgim-Box"] = ",".join(map(str, facts["box"]))
        if facts.get("seconds"):
            steps = facts["seconds"].items()
            headers["Server-Timing"] = ", ".join(f"{name};dur={1000 * seconds:.1f}" for name, seconds in steps)
    return Response(found.content, media_type=found.media, headers=headers)


def _answer_errors(app: FastAPI) -> None:
    """Answer what goes wrong with one line as JSON."""

    def said(message: str, status: int, headers: dict[str, str] | None = None) -> Response:
        return JSONResponse({"error": message}, status, headers)

    @app.exception_handler(UserError)
    async def user_error(_: Request, error: UserError) -> Response:
        return said(str(error), error.status if isinstance(error, forms.FormError) else 422)

    @app.exception_handler(Busy)
    async def busy(_: Request, error: Busy) -> Response:
        return said(str(error), 429, {"Retry-After": str(error.seconds)})

    @app.exception_handler(TimedOut)
    async def timed_out(_: Request, error: TimedOut) -> Response:
        return said(str(error), 504)

    @app.exception_handler(Gone)
    async def gone(_: Request, error: Gone) -> Response:
        return Response(status_code=499)  # nobody reads it; as nginx counts it

    @app.exception_handler(ModuleNotFoundError)
    async def not_installed(_: Request, error: ModuleNotFoundError) -> Response:
        return said(f"the server lacks {error.name}, which this model needs; ask for another model", 422)

    @app.exception_handler(MemoryError)
    async def out_of_memory(_: Request, error: MemoryError) -> Response:
        return said("out of memory; send a smaller picture, or come again later", 504)

    @app.exception_handler(HTTPException)
    async def not_there(request: Request, error: HTTPException) -> Response:
        hint = "; see /docs" if error.status_code in (404, 405) else ""
        return said(f"{request.method} {request.url.path}: {error.detail}{hint}", error.status_code, error.headers)  # type: ignore[arg-type]

    from fastapi.exceptions import RequestValidationError

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return said(f"{first['loc'][-1]}: {first['msg']}", 422)

    @app.exception_handler(Exception)
    async def defect(_: Request, error: Exception) -> Response:
        return said("the server failed, which is a defect of tgim; its log says where", 500)


def _add_pages(app: FastAPI) -> None:
    own, swagger = files("tgim.server") / "pages", files("fastapi_swagger") / "resources"
    for folder, named in ((own, PAGES), (swagger, SWAGGER)):
        for path, (file, media) in named.items():
            content = (folder / file).read_bytes()
            app.get(path, include_in_schema=False)(partial(_page, content, media))


async def _page(content: bytes, media: str) -> Response:
    return Response(content, media_type=media)


def _schema(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        app.openapi_schema = get_openapi(
            title=app.title, version=app.version, summary=app.summary, description=__doc__ or "", routes=app.routes
        )
    return app.openapi_schema
