"""Run it: `make wheel && pip install python/dist/*.whl fastapi && anp-proxy dev --app examples.python.fastapi_agent:app`

The package is not on PyPI yet; `make wheel` builds it.

An agent that streams its answer word by word. In another terminal:

    curl http://127.0.0.1:8080/
    curl -N 'http://127.0.0.1:8080/answer?question=why'

A caller that leaves ends the generation: the tunnel tells FastAPI at once.
"""

import asyncio
from collections.abc import AsyncIterator

from fastapi import FastAPI
from fastapi.responses import StreamingResponse

app = FastAPI(title="An agent")

ANSWER = "Because every token leaves when it is made, and none waits for the next."


@app.get("/")
async def greet() -> dict[str, str]:
    """Say what to ask."""
    return {"agent": "ready", "try": "/answer?question=why"}


@app.get("/answer")
async def answer(question: str) -> StreamingResponse:
    """Answer as server-sent events, one for each word."""
    return StreamingResponse(tokens(question), media_type="text/event-stream")


async def tokens(question: str) -> AsyncIterator[str]:
    """What a model would give; this one thinks for a tenth of a second a word."""
    for word in f"{question}? {ANSWER}".split():
        yield f"data: {word}\n\n"
        await asyncio.sleep(0.1)
    yield "data: [DONE]\n\n"
