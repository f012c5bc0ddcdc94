"""The routes of the explorer: a page, its two files, and what it asks for."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse, Response

from ..data import PairSet
from ..viz.page import static_text
from .guard import Guard
from .requests import RunRequest
from .session import Session
from .subject import Subject

TYPES = {"viewer.js": "text/javascript", "viewer.css": "text/css"}
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Energy Flow explorer</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/static/viewer.css">
</head>
<body>
<noscript>This page draws with JavaScript, which is switched off.</noscript>
<script src="/static/viewer.js"></script>
</body>
</html>
"""
MOST_LISTED = 200  # rows in one list
LONGEST_NAME = 120  # characters of a row in a list
logger = logging.getLogger(__name__)


def create_app(subject: Subject, token: str | None = None) -> FastAPI:
    """The application.

    Args:
        subject: models and data.
        token: what every request must carry; None lets only requests to the loopback's names in.
    """
    app = FastAPI(title="Energy Flow explorer", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Guard, token=token)
    _answer_errors(app)
    session = Session(subject)

    @app.get("/")
    def page() -> HTMLResponse:
        return HTMLResponse(PAGE)

    @app.get("/static/{name}")
    def static(name: str) -> Response:
        if name not in TYPES:
            raise HTTPException(404, "no such file")
        return Response(static_text(name), media_type=TYPES[name])

    @app.get("/api/subject")
    def describe() -> dict[str, Any]:
        return subject.describe()

    @app.get("/api/rows")
    def rows(search: str = "", start: int = 0) -> list[dict[str, Any]]:
        return list_rows(subject, search[:LONGEST_NAME], start)

    @app.get("/api/rows/{number}")
    def row(number: int) -> dict[str, Any]:
        part, place = subject.row(number)
        return {
            "numbers": part.inputs[place : place + 1][0].tolist(),
            "face": part.face or subject.face,
            "name": _name(part, place),
        }

    @app.post("/api/run")
    def run(wanted: RunRequest) -> dict[str, Any]:
        return session.run(wanted)

    return app


def list_rows(subject: Subject, search: str, start: int) -> list[dict[str, Any]]:
    """Test rows from a number on whose name holds some words, at most 200."""
    found: list[dict[str, Any]] = []
    number = 0
    for part in subject.parts:
        for place in range(len(part)):
            name = _name(part, place) or f"row {number}"
            if number >= start and search.lower() in name.lower():
                found.append({"row": number, "name": name})
            if len(found) == MOST_LISTED:
                return found
            number += 1
    return found


def _name(part: PairSet, place: int) -> str:
    if part.input_texts:
        return part.input_texts[place][:LONGEST_NAME]
    return "" if part.face is None else f"{part.face[0]} x {part.face[1]}, row {place}"


def _answer_errors(app: FastAPI) -> None:
    """Every error is a short JSON object."""

    def say(status: int, words: str) -> JSONResponse:
        return JSONResponse({"error": words}, status)

    @app.exception_handler(RequestValidationError)
    def malformed(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"] if part != "body")
        return say(422, f"{place or 'request'}: {first['msg']}"[:300])

    @app.exception_handler(ValueError)
    def unfit(request: Request, error: ValueError) -> JSONResponse:
        return say(422, str(error)[:500])

    @app.exception_handler(FloatingPointError)
    def not_finite(request: Request, error: FloatingPointError) -> JSONResponse:
        return say(422, f"{error}; give smaller numbers"[:500])

    @app.exception_handler(ImportError)
    def missing(request: Request, error: ImportError) -> JSONResponse:
        return say(501, str(error)[:500])

    @app.exception_handler(HTTPException)
    def refused(request: Request, error: HTTPException) -> JSONResponse:
        return say(error.status_code, str(error.detail))

    @app.exception_handler(Exception)
    def broken(request: Request, error: Exception) -> JSONResponse:
        logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return say(500, "the server failed; its terminal says why")
