"""What a request may hold, and what is answered: OpenAI's interface, field by field.

The request classes refuse what cannot be done, in one line (`course.serve.wording`):
wrong types, numbers out of range, and everything that OpenAI's models can do and a GPT
of this course cannot, such as tools or pictures. Fields that make no difference here,
such as `user`, are taken and left alone.

Source: OpenAI's API reference, "Completions", "Chat completions" and "Models".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from course.serve.errors import ApiError
from course.serve.wording import in_words

MESSAGES = 100
"""Messages in a request, at most."""

STOPS, STOP_LENGTH = 4, 100
"""Stop strings in a request, and the characters of each, at most."""

MOST_TOKENS = 1_000_000
"""No model of this course has a longer context."""


def _unicode(text: str) -> str:
    """Refuse half a surrogate pair: JSON can hold one, UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"character {error.start} is {text[error.start]!r}, half a surrogate pair "
            "and no character"
        ) from None
    return text


def _whole(least: int, most: int | None = None) -> Any:
    """The type of a whole number. For JSON, 3.0 is one."""

    def exact(value: Any) -> Any:
        whole = isinstance(value, float) and value.is_integer()
        return int(value) if whole else value

    return Annotated[int, Field(ge=least, le=most), BeforeValidator(exact)]


Text = Annotated[str, AfterValidator(_unicode)]
Stop = Annotated[Text, Field(min_length=1, max_length=STOP_LENGTH)]
Id = _whole(0)


def _only(*values: Any) -> Any:
    """The type of a field that makes no difference at these values, and has no others.

    The first is its value where it is left out.
    """

    def check(value: Any) -> Any:
        # True is 1 for Python, but not in JSON.
        same = (v for v in values if isinstance(v, bool) == isinstance(value, bool))
        if value in same:
            return value
        raise PydanticCustomError("only", "no such value")

    return Annotated[Any, AfterValidator(check), WithJsonSchema({"enum": [*values]})]


def _apart(param: str, reason: str) -> ApiError:
    return ApiError(400, f"{param} {reason}", param=param)


# ---- requests -----------------------------------------------------------------------


class Part(BaseModel):
    """Of a request. Types are strict: "5" is no number, and 1 is not true."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class StreamOptions(Part):
    include_usage: bool | None = Field(
        None, description="true or false: whether the last event counts the tokens"
    )
    include_obfuscation: bool | None = Field(None, description="true or false")


class Asked(Part):
    """What both kinds of requests have in common."""

    model: Text = Field(description="the id of a model that /v1/models lists")
    max_tokens: _whole(1, MOST_TOKENS) | None = Field(
        None,
        description=f"a whole number from 1 to {MOST_TOKENS}: how many tokens are "
        "written at most; no more than fit the context, and so many by default",
    )
    temperature: float | None = Field(
        1.0,
        ge=0,
        le=2,
        description="a number from 0 to 2: 0 is always the likeliest token",
    )
    top_p: float | None = Field(
        1.0,
        ge=0,
        le=1,
        description="a number from 0 to 1: only the likeliest tokens that have this "
        "probability together",
    )
    top_k: _whole(1, 2**31) | None = Field(
        None,
        description="a whole number from 1 on: only so many likeliest tokens (not in "
        "OpenAI's interface)",
    )
    seed: _whole(0, 2**63 - 1) | None = Field(
        None,
        description="a whole number from 0 to 2^63 - 1: the same seed, the same text",
    )
    stop: Stop | Annotated[list[Stop], Field(max_length=STOPS)] | None = Field(
        None,
        description=f"a string, or a list of up to {STOPS}, each of 1 to {STOP_LENGTH} "
        "characters: the text ends before the first that comes",
    )
    stream: bool | None = Field(
        False, description="true or false: whether the text comes in pieces, as events"
    )
    stream_options: StreamOptions | None = Field(
        None, description="an object with include_usage, and only with stream: true"
    )
    user: Text | None = Field(None, description="a string; makes no difference")
    n: _only(1, None) = Field(1, description="1: one answer to each request")
    frequency_penalty: _only(0, None) = Field(
        0, description="0: this server knows no penalties"
    )
    presence_penalty: _only(0, None) = Field(
        0, description="0: this server knows no penalties"
    )
    logit_bias: _only(None, {}) = Field(
        None, description="null: this server changes no logits"
    )

    @model_validator(mode="wrap")
    @classmethod
    def _refuse_in_words(cls, given: Any, validate: Callable[[Any], Asked]) -> Asked:
        try:
            asked = validate(given)
        except ValidationError as problem:
            message, param = in_words(cls, problem.errors(include_url=False))
            raise ApiError(400, message, param=param) from None
        asked.check()
        return asked

    def check(self) -> None:
        """Refuse fields that do not go together.

        Raises:
            ApiError: if there are such.
        """
        if self.stream_options is not None and not self.stream:
            raise _apart("stream_options", "goes with stream: true alone")

    @property
    def stops(self) -> list[str]:
        return [self.stop] if isinstance(self.stop, str) else self.stop or []

    @property
    def with_usage(self) -> bool:
        """Whether a stream ends with the number of tokens."""
        return bool(self.stream_options and self.stream_options.include_usage)


class CompletionRequest(Asked):
    """A text to go on with."""

    prompt: (
        Text
        | Annotated[list[Id], Field(min_length=1)]
        | Annotated[list[Text], Field(min_length=1, max_length=1)]
        | Annotated[
            list[Annotated[list[Id], Field(min_length=1)]],
            Field(min_length=1, max_length=1),
        ]
    ) = Field(
        description="a text, or a list of token ids; or a list that holds one such "
        "prompt, and no more",
    )
    logprobs: _whole(0, 5) | None = Field(
        None,
        description="a whole number from 0 to 5: the probability of each token, and of "
        "so many likeliest ones",
    )
    best_of: _only(1, None) = Field(1, description="1: this server does not choose")
    echo: _only(False, None) = Field(
        False, description="false: the prompt is not repeated"
    )
    suffix: _only(None) = Field(
        None, description="null: a GPT knows no text that comes later"
    )


class ContentPart(Part):
    type: Literal["text"] = Field(description='"text": this model reads nothing else')
    text: Text = Field(description="a string")


class Message(Part):
    role: Literal["user", "assistant"] = Field(
        description='"user" or "assistant": this model was tuned on no other role'
    )
    content: Text | list[ContentPart] = Field(
        description='a string, or a list of {"type": "text", "text": "..."}'
    )
    name: Text | None = Field(None, description="a string; makes no difference")
    # What a client sends back when it repeats an answer with all its fields.
    refusal: _only(None) = Field(None, description="null")
    annotations: _only(None, []) = Field(None, description="null")
    audio: _only(None) = Field(None, description="null")
    function_call: _only(None) = Field(None, description="null: there are no tools")
    tool_calls: _only(None, []) = Field(None, description="null: there are no tools")

    @property
    def text(self) -> str:
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content)


class ChatRequest(Asked):
    """A dialogue to answer in."""

    messages: Annotated[list[Message], Field(min_length=1, max_length=MESSAGES)] = (
        Field(
            description=f"a list of 1 to {MESSAGES} messages: the user begins, the two "
            "take turns, and the last is the user's",
        )
    )
    max_completion_tokens: _whole(1, MOST_TOKENS) | None = Field(
        None,
        description=f"a whole number from 1 to {MOST_TOKENS}: the newer name of "
        "max_tokens",
    )
    logprobs: bool | None = Field(
        False, description="true or false: the probability of each token"
    )
    top_logprobs: _whole(0, 20) | None = Field(
        None,
        description="a whole number from 0 to 20: the probabilities of so many "
        "likeliest tokens, too; only with logprobs: true",
    )
    truncation: Literal["auto", "disabled"] | None = Field(
        "disabled",
        description='"auto" or "disabled": whether questions and answers are left out '
        "when the dialogue is too long, the oldest first; the first exchange stays "
        "(not in OpenAI's interface)",
    )
    tools: _only(None, []) = Field(None, description="null: there are no tools")
    tool_choice: _only("none", "auto", None) = Field(
        "none", description='"none": there are no tools'
    )
    functions: _only(None, []) = Field(None, description="null: there are no tools")
    function_call: _only("none", "auto", None) = Field(
        "none", description='"none": there are no tools'
    )
    parallel_tool_calls: bool | None = Field(
        None, description="true or false; makes no difference"
    )
    response_format: _only({"type": "text"}, None) = Field(
        {"type": "text"}, description='{"type": "text"}: this model writes no JSON'
    )
    modalities: _only(["text"], None) = Field(
        ["text"], description='["text"]: this model writes nothing else'
    )
    audio: _only(None) = Field(None, description="null: this model does not speak")
    prediction: _only(None) = Field(None, description="null")
    moderation: _only(None) = Field(None, description="null")
    web_search_options: _only(None) = Field(
        None, description="null: this server asks no network"
    )
    reasoning_effort: _only("none", None) = Field(
        "none", description='"none": this model answers at once'
    )
    verbosity: _only("medium", None) = Field(
        "medium", description='"medium": this model knows no other'
    )
    service_tier: _only("auto", "default", None) = Field(
        "auto", description='"auto": all are served alike'
    )
    store: _only(False, None) = Field(False, description="false: nothing is kept")
    metadata: dict[Text, Text] | None = Field(
        None, description="an object of strings; makes no difference"
    )
    prompt_cache_key: Text | None = Field(
        None, description="a string; makes no difference"
    )
    safety_identifier: Text | None = Field(
        None, description="a string; makes no difference"
    )

    def check(self) -> None:
        super().check()
        if self.max_tokens is not None and self.max_completion_tokens is not None:
            raise _apart("max_tokens", "is max_completion_tokens, too: give one")
        if self.top_logprobs is not None and not self.logprobs:
            raise _apart("top_logprobs", "goes with logprobs: true alone")


# ---- answers ------------------------------------------------------------------------

_absent = Field(default=None, exclude_if=lambda value: value is None)
"""A field that is left out where it says nothing."""


class Model(BaseModel):
    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "five-sundays"
    max_model_len: int = Field(description="the context, in tokens")
    chat: bool = Field(description="whether /v1/chat/completions takes it")


class ModelList(BaseModel):
    object: Literal["list"] = "list"
    data: list[Model]


class Usage(BaseModel):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


Finish = Literal["stop", "length"]


class Logprobs(BaseModel):
    """One entry for each token; a token that is no UTF-8 is named by its bytes."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]] | None
    text_offset: list[int]


class Choice(BaseModel):
    index: Literal[0] = 0
    text: str
    logprobs: Logprobs | None
    finish_reason: Finish | None


class Completion(BaseModel):
    """The whole answer, or one event of a stream."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage | None = _absent


class TopLogprob(BaseModel):
    token: str
    logprob: float
    bytes: list[int]


class TokenLogprob(TopLogprob):
    top_logprobs: list[TopLogprob]


class ChatLogprobs(BaseModel):
    content: list[TokenLogprob]
    refusal: None = None


class Answer(BaseModel):
    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class ChatChoice(BaseModel):
    index: Literal[0] = 0
    message: Answer
    logprobs: ChatLogprobs | None
    finish_reason: Finish


class ChatCompletion(BaseModel):
    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage
    messages_left_out: int = Field(
        0, description="so many were left out of the dialogue, with truncation: auto"
    )


class Delta(BaseModel):
    role: Literal["assistant"] | None = _absent
    content: str | None = _absent


class ChunkChoice(BaseModel):
    index: Literal[0] = 0
    delta: Delta
    logprobs: ChatLogprobs | None
    finish_reason: Finish | None


class ChatChunk(BaseModel):
    """One event of a stream."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: Usage | None = _absent
    messages_left_out: int | None = _absent
