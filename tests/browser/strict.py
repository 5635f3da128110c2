"""The ASGI application of the example with a strict content security policy."""

from __future__ import annotations

from typing import Any

from example_project.asgi import application as example

POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self'; "
    b"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Add the policy to each response."""

    async def send_with_policy(message: Any) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], (b"content-security-policy", POLICY)]
        await send(message)

    await example(scope, receive, send_with_policy)
