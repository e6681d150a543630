"""What cannot be done, in OpenAI's shape and in one line, whatever went wrong.

    {"error": {"message": "...", "type": "...", "param": "temperature", "code": null}}

Any part of the server may raise an `ApiError`. `install` makes FastAPI answer in this
shape to everything else, too: a path that is not there, a body that is no JSON, a fault
of our own.
"""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

KINDS = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
"""The `type` of an error by its status; others are `invalid_request_error`."""


class Error(BaseModel):
    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    error: Error


class ApiError(HTTPException):
    """A request that is refused: the status, and why, in one line."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """`param`: the field at fault; `code`: a word that a program can ask for."""
        super().__init__(status, message, headers)
        self.param, self.code = param, code

    def body(self) -> ErrorBody:
        other = "server_error" if self.status_code >= 500 else "invalid_request_error"
        kind = KINDS.get(self.status_code, other)
        return ErrorBody(
            error=Error(
                message=self.detail, type=kind, param=self.param, code=self.code
            )
        )

    def response(self) -> JSONResponse:
        return JSONResponse(
            self.body().model_dump(), self.status_code, headers=self.headers
        )


def unexpected() -> ApiError:
    """A fault of our own: the terminal of the server says which."""
    return ApiError(500, "the server failed; its terminal says how")


def install(app: FastAPI) -> None:
    """Let the app answer in this shape to all that goes wrong."""
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _no_json)
    app.add_exception_handler(Exception, _failed)


async def _refused(request: Request, error: HTTPException) -> JSONResponse:
    if isinstance(error, ApiError):
        return error.response()
    asked = f"{request.method} {request.url.path}"
    message = {
        400: f"the body cannot be read: {_reason(error.__cause__)}",
        404: f"there is no {asked} here; /openapi.json lists what there is",
        405: f"{asked} is not possible, only {(error.headers or {}).get('Allow')}",
    }.get(error.status_code, error.detail)
    return ApiError(error.status_code, message, headers=error.headers).response()


def _reason(error: BaseException | None) -> str:
    """Why Python's JSON reader gave up, if it was no error of syntax."""
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start} is no UTF-8; send JSON in UTF-8"
    if isinstance(error, RecursionError):
        return "lists or objects are nested too deeply"
    return "expected JSON in UTF-8, with no number of thousands of digits"


async def _no_json(_request: Request, error: RequestValidationError) -> JSONResponse:
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        reason, place = first["ctx"]["error"], first["loc"][-1]
        message = f"the body is no JSON: {reason}, at character {place}"
    else:
        message = (
            "the body is no JSON object: send one, and with it the header "
            "Content-Type: application/json"
        )
    return ApiError(400, message).response()


async def _failed(_request: Request, _error: Exception) -> JSONResponse:
    response = unexpected().response()
    # The server closes the connection of a request that failed. A client that is not
    # told may send its next request into it.
    response.headers["Connection"] = "close"
    return response
