"""The OpenAPI document: what FastAPI cannot know by itself is added.

The models that are served, and what the events of a stream hold: JSON of one of our
shapes in each, and "[DONE]" in the last.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from course.serve.errors import ErrorBody
from course.serve.schema import ChatChunk, ChatRequest, Completion, CompletionRequest

REF = "#/components/schemas/{model}"

STREAMS = {
    "/v1/completions": (CompletionRequest, Completion),
    "/v1/chat/completions": (ChatRequest, ChatChunk),
}
"""What is asked there, and what an event holds."""


def complete(app: FastAPI, models: list[str]) -> None:
    """Complete the document of an app that serves these models."""
    document = app.openapi()  # is kept, so what is changed here stays
    schemas = document["components"]["schemas"]
    for methods in document["paths"].values():
        for operation in methods.values():
            operation["responses"].pop("422", None)  # of FastAPI; ours are 400
    for path, (request, event) in STREAMS.items():
        schemas[request.__name__]["properties"]["model"]["enum"] = models
        _, shape = models_json_schema([(event, "serialization")], ref_template=REF)
        schemas |= shape["$defs"]
        answer = document["paths"][path]["post"]["responses"]["200"]
        answer["content"]["text/event-stream"] = {
            "itemSchema": _event(event.__name__, ErrorBody.__name__)
        }


def _event(*shapes: str) -> dict[str, Any]:
    """A server-sent event, as OpenAPI 3.2 describes it (section 4.14.4)."""
    inside = {"anyOf": [{"$ref": REF.format(model=shape)} for shape in shapes]}
    json = {"contentMediaType": "application/json", "contentSchema": inside}
    data = {"type": "string", "anyOf": [{"const": "[DONE]"}, json]}
    return {"type": "object", "required": ["data"], "properties": {"data": data}}
