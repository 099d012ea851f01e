"""The labelling page: points of parts are clicked on the pictures of a folder in a browser, and saved at once.

Pictures are asked for by their number in the list that the page was given, never by a path. Every one is read by tgim's
own reader and shown upright, as a small JPEG, so that a place on the page is a place in the picture that models see.
"""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from tgim.data.labels import Conflict, Labels
from tgim.errors import UserError
from tgim.images.decode import decode_small
from tgim.server.local import OWN_NAMES, Guard
from tgim.system import lines
from tgim.text.lexicon.parts import BIRD_PARTS

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

PAGES = Path(__file__).parent / "pages"
FILES = {
    "/": ("label.html", "text/html"),
    "/label.js": ("label.js", "text/javascript"),
    "/label_saving.js": ("label_saving.js", "text/javascript"),
    "/label_pointers.js": ("label_pointers.js", "text/javascript"),
    "/label.css": ("label.css", "text/css"),
}
SHOWN = 1600  # pixels, the longer side of a picture on the page
QUALITY = 88  # of its JPEG
MAX_BYTES = 2**20  # of a request: points alone
AT_ONCE = 2  # pictures that are decoded at the same time
SUGGESTED = tuple(part for part in BIRD_PARTS if part != "throat")  # of parts, where none are known


def preview(path: Path, *, side: int = SHOWN) -> bytes:
    """A picture as an upright JPEG file of at most `side` pixels a side, transparency over white.

    Raises:
        ImageError: it cannot be read.
    """

    def shrunk(size: tuple[int, int]) -> tuple[int, int] | None:
        scale = side / max(size)
        return (max(1, round(size[0] * scale)), max(1, round(size[1] * scale))) if scale < 1 else None

    small = decode_small(os.fspath(path), wanted=shrunk)
    picture, size = small.picture, shrunk(small.full)
    if size is not None:
        picture = picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    if small.turn is not None:
        picture = picture.transpose(small.turn)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def build(labels: Labels, *, hosts: Sequence[str] = OWN_NAMES) -> Guard:
    """Make the application for a folder.

    Args:
        labels: its pictures and points.
        hosts: as of `tgim.server.local.Guard`.
    """
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.exceptions import HTTPException
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route

    decoding = threading.BoundedSemaphore(AT_ONCE)

    def refused(status: int, reason: str) -> Response:
        return JSONResponse({"error": reason}, status)

    def endpoint(answer: Callable[[Request, Any], Response]) -> Callable[[Request], Awaitable[Response]]:
        """An endpoint that runs `answer`, with the JSON value of the body, in a thread; what is wrong is one line."""

        async def run(request: Request) -> Response:
            try:
                given = None
                if request.method == "PUT":
                    given = lines.parse((await request.body()).decode())
                    if not isinstance(given, dict):
                        raise UserError("the request is no JSON object; load the page again")
                return await run_in_threadpool(answer, request, given)
            except IndexError:
                return refused(404, "there is no such picture; load the page again")
            except Conflict as error:
                return refused(409, str(error))
            except ValueError as error:  # UserError is one
                return refused(422, str(error))

        return run

    def file(request: Request, _: Any) -> Response:
        name, kind = FILES[request.url.path]
        return Response((PAGES / name).read_bytes(), media_type=f"{kind}; charset=utf-8")

    def folder(request: Request, _: Any) -> Response:
        told = {"folder": lines.whole(labels.root.resolve().name), "parts": labels.parts(), "suggested": SUGGESTED}
        return JSONResponse({**told, "names": labels.names, "marks": labels.marks()})

    def keep(request: Request, given: Any) -> Response:
        names = given.get("parts")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise UserError("parts is not a list of names")
        return JSONResponse({"parts": labels.keep_parts(names)})

    def picture(request: Request, _: Any) -> Response:
        number = request.path_params["number"]
        points, version, fault = labels.points(number)
        told = f"its points cannot be used ({fault}); a click replaces them" if fault else ""
        return JSONResponse({"name": labels.names[number], "points": points, "version": version, "fault": told})

    def save(request: Request, given: Any) -> Response:
        number = request.path_params["number"]
        labels.path(number)
        points, version = given.get("points"), given.get("version")
        if given.get("name") != labels.names[number]:
            raise Conflict("the folder holds other pictures than before; load the page again")
        if not isinstance(points, dict) or not isinstance(version, str):
            raise UserError("points and version are expected; load the page again")
        return JSONResponse({"version": labels.write(number, points, version=version)})

    def shown(request: Request, _: Any) -> Response:
        path = labels.path(request.path_params["number"])
        with decoding:
            return Response(preview(path), media_type="image/jpeg")

    async def failed(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        return refused(status, "there is nothing at this address" if status == 404 else "this cannot be done here")

    one = "/api/pictures/{number:int}"
    routes = [Route(path, endpoint(file)) for path in FILES]
    routes += [
        Route("/api/folder", endpoint(folder)),
        Route("/api/parts", endpoint(keep), methods=["PUT"]),
        Route(one, endpoint(picture)),
        Route(one, endpoint(save), methods=["PUT"]),
        Route(f"{one}/preview", endpoint(shown)),
    ]
    return Guard(Starlette(routes=routes, exception_handlers={HTTPException: failed}), hosts=hosts, max_bytes=MAX_BYTES)
