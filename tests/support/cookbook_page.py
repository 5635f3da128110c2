"""The ASGI application of the example, with the page of ``docs/cookbook.md`` at ``/counter``."""

from __future__ import annotations

import re
from typing import Any

from example_project.asgi import application as example
from tests.support.pages import read_page

STANDS_FOR = {
    "{% load recovery %}": '<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">',
    "{% recovery_script %}": '<script src="/static/recovery_app/recovery.js"></script>',
    "/ws/counter": "/ws/websocket",
    '"counter"': '"quote"',
}
"""What the example has in place of a project's template and route."""
(PAGE,) = re.findall(r"^```html\n(.*?)^```$", read_page("cookbook"), re.MULTILINE | re.DOTALL)
for _text, _here in STANDS_FOR.items():
    assert _text in PAGE, _text
    PAGE = PAGE.replace(_text, _here)


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Answer for the page, and leave the rest to the example."""
    if scope["type"] == "http" and scope["path"] == "/counter":
        headers = [(b"content-type", b"text/html")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": PAGE.encode()})
    else:
        await example(scope, receive, send)
