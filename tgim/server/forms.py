"""Forms that clients send: `multipart/form-data`, kept in memory, checked against a model of their fields."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from python_multipart.exceptions import FormParserError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from tgim.errors import UserError, nearest
from tgim.system.say import one_line

MAX_TEXT = 2000  # characters of a caption
MOST = 64  # pictures, or texts, of a request


class Fields(BaseModel):
    """Base of all forms. Pictures are `bytes`; an optional field that is empty counts as not given."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class EditForm(Fields):
    """An edit."""

    image: bytes = Field(description="The picture: JPEG, PNG, WebP, TIFF, BMP, GIF, and HEIC and AVIF where installed.")
    text: str = Field(min_length=1, max_length=MAX_TEXT, description="Caption of the result, or a phrase.")
    model: str = Field("", description="One of those that /models lists; the first that edits unless given.")
    mask: bytes | None = Field(None, description="White may change, black stays; any size.")
    strength: float = Field(1.0, ge=0, le=1, description="0 leaves the picture, 1 edits fully.")
    box: str = Field("", description="Edit this region alone: X,Y,W,H in pixels from the upper left.")
    part: str = Field("", description="Let this part of the subject change alone, such as head; see /parts.")
    focus: bool = Field(True, description="Look closer at a small subject.")
    size: Literal["photo", "model"] = Field("photo", description="Of the result: the photograph's, or raw output.")
    seed: int | None = Field(None, ge=0, lt=2**63, description="Of models that sample noise.")
    format: str = Field("", description="jpeg, png, webp, tiff, bmp or gif; the picture's own unless given.")
    quality: int | None = Field(None, ge=1, le=100, description="Of JPEG and WebP files.")
    metadata: bool = Field(False, description="Keep the EXIF block (camera, date, place).")


class PartsForm(Fields):
    """Parts of a picture's subject."""

    image: bytes = Field(description="The picture.")
    model: str = Field("", description="One of those that /models lists and that knows parts.")
    box: str = Field("", description="The subject is here: X,Y,W,H in pixels from the upper left.")
    show: Literal["figures", "overlay", "mask"] = Field("figures", description="JSON, or a PNG of all or of one part.")
    part: str = Field("", description="Of a mask.")


class ShowForm(Fields):
    """A picture to show in a browser."""

    image: bytes = Field(description="The picture.")
    side: int = Field(2048, ge=16, le=16384, description="Of the longer side at the most, pixels.")


class MatchForm(Fields):
    """Pictures and captions to score against each other."""

    image: list[bytes] = Field(min_length=1, max_length=MOST, description="Pictures.")
    text: list[str] = Field(min_length=1, max_length=MOST, description="Captions.")
    model: str = Field("", description="One of those that /models lists and that matches.")


class GenerateForm(Fields):
    """Pictures to generate."""

    text: str = Field(min_length=1, max_length=MAX_TEXT, description="Caption of the pictures.")
    model: str = Field("", description="One of those that /models lists and that generates.")
    n: int = Field(1, ge=1, le=16, description="Pictures, side by side.")
    seed: int = Field(0, ge=0, lt=2**63, description="Of noise and variation.")
    vary: Literal["noise", "caption", "both"] = Field("noise", description="What differs between the pictures.")


Form = TypeVar("Form", bound=Fields)


class FormError(UserError):
    """A request that is no form, with the HTTP status that says so."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


async def read(request: Request, form: type[Form], *, max_bytes: int, seconds: float) -> Form:
    """Read and check the form of a request; no upload is written to disk.

    Args:
        request: whose body has not been read.
        form: what is expected.
        max_bytes: that the body may have; a guard has refused more.
        seconds: that reading may take.

    Raises:
        FormError: it is no such form (415, 400), or sending it took too long (408).
        UserError: a field is missing, unknown, or has a wrong value.
    """
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != "multipart/form-data":
        raise FormError("the request has no form; send multipart/form-data, as curl -F does", status=415)
    parser = MultiPartParser(
        request.headers, request.stream(), max_files=2 * MOST, max_fields=2 * MOST, max_part_size=8 * MAX_TEXT
    )
    parser.spool_max_size = max_bytes + 1  # beyond which an upload would become a file
    try:
        sent = await asyncio.wait_for(parser.parse(), seconds)
    except asyncio.TimeoutError:
        raise FormError(f"sending the request took longer than {seconds:g} s; send a smaller one", status=408) from None
    except (MultiPartException, FormParserError) as error:
        why = getattr(error, "message", str(error))
        raise FormError(f"the form cannot be read ({one_line(why)}); send it as curl -F does", status=400) from None
    try:
        values: dict[str, list[Any]] = {}
        for name, value in sent.multi_items():
            values.setdefault(name, []).append(await value.read() if isinstance(value, UploadFile) else value)
        return checked(values, form)
    finally:
        await sent.close()


def checked(values: Mapping[str, list[Any]], form: type[Form]) -> Form:
    """Check values of fields, each a list of what was sent by that name.

    Raises:
        UserError: as `read`.
    """
    given: dict[str, Any] = {}
    for name, sent in values.items():
        if name not in form.model_fields:
            known = list(form.model_fields)
            raise UserError(
                f"field {one_line(name)!r} is unknown{nearest(name, known)} (there are: {', '.join(known)})"
            )
        field = form.model_fields[name]
        several, picture = "list" in str(field.annotation), "bytes" in str(field.annotation)
        if any(isinstance(value, bytes) != picture for value in sent):
            raise UserError(f"field {name} {'is text, expected a file' if picture else 'is a file, expected text'}")
        if len(sent) > 1 and not several:
            raise UserError(f"field {name} is sent {len(sent)} times and takes one value; send it once")
        if several:
            given[name] = sent
        elif sent[0] != "" or field.is_required():
            given[name] = sent[0]
    try:
        return form.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        if first["type"] == "missing":
            raise UserError(f"field {name} is missing; {form.model_fields[name].description}") from None
        value = given[name] if not isinstance(given[name], list) else f"{len(given[name])} values"
        said = one_line(value if isinstance(value, str) else f"{len(value)} bytes")
        why = first["msg"][0].lower() + first["msg"][1:]
        raise UserError(f"field {name} is {said[:80]!r}: {why}") from None


def described(form: type[Form]) -> dict[str, Any]:
    """The form as the `requestBody` of an OpenAPI operation."""
    schema = form.model_json_schema()
    for name, field in form.model_fields.items():
        shown = schema["properties"][name]
        if "bytes" in str(field.annotation):
            binary = {"type": "string", "format": "binary"}
            kept = {key: shown[key] for key in ("description", "minItems", "maxItems") if key in shown}
            shown = {"type": "array", "items": binary, **kept} if "list" in str(field.annotation) else binary | kept
        elif "anyOf" in shown:  # or null, which a form cannot say
            kind = next(each for each in shown["anyOf"] if each.get("type") != "null")
            shown = {"description": shown["description"], **kind}
        shown.pop("title", None)
        schema["properties"][name] = shown
    return {"required": True, "content": {"multipart/form-data": {"schema": schema}}}
