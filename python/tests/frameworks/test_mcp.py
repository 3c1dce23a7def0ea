"""An MCP server over streamable HTTP, with the client of its own SDK."""

import asyncio

import pytest
from mcp import Client
from mcp.server.mcpserver import Context, MCPServer

from binary import soon

pytestmark = pytest.mark.asyncio


def made(cancelled):
    """A server with tools that answer, tell their progress, and never end."""
    server = MCPServer("lab")

    @server.tool()
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    @server.tool()
    async def think(steps: int, ctx: Context) -> str:
        """Tell each step."""
        for step in range(steps):
            await ctx.report_progress(step + 1, steps)
        return "thought"

    @server.tool()
    async def wait() -> str:
        """Wait for ever."""
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    @server.resource("note://{name}")
    def note(name: str) -> str:
        """A note."""
        return f"the note {name}"

    return server.streamable_http_app()


async def test_tools_resources_and_progress(serve):
    served = await serve(made(asyncio.Event()))
    async with Client(f"{served.gateway.url}/mcp") as client:
        tools = await soon(client.list_tools())
        assert sorted(tool.name for tool in tools.tools) == ["add", "think", "wait"]
        answer = await soon(client.call_tool("add", {"a": 2, "b": 40}))
        assert answer.content[0].text == "42"
        steps = []

        async def progress(done, total, _message):
            steps.append((done, total))

        answer = await soon(client.call_tool("think", {"steps": 3}, progress_callback=progress))
        assert (answer.content[0].text, steps) == ("thought", [(1, 3), (2, 3), (3, 3)])
        contents = await soon(client.read_resource("note://today"))
        assert contents.contents[0].text == "the note today"


async def test_clients_at_once(serve):
    served = await serve(made(asyncio.Event()))

    async def one(number):
        async with Client(f"{served.gateway.url}/mcp") as client:
            answer = await client.call_tool("add", {"a": number, "b": number})
            return answer.content[0].text

    assert await soon(asyncio.gather(*map(one, range(8)))) == [str(2 * number) for number in range(8)]


async def test_a_call_that_is_given_up_stops_the_tool(serve):
    cancelled = asyncio.Event()
    served = await serve(made(cancelled))
    async with Client(f"{served.gateway.url}/mcp") as client:
        calling = asyncio.ensure_future(client.call_tool("wait"))
        for _ in range(5):
            await soon(client.call_tool("add", {"a": 1, "b": 1}))
        assert not calling.done()
        calling.cancel()
        await soon(cancelled.wait())
