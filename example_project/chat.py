"""A chat room: a durable group, so that a page that was away misses no line."""

from __future__ import annotations

import re
import time
from typing import Any

from channels.db import database_sync_to_async
from django.db import transaction

from example_project.consumers import PhoenixConsumer, Reply
from example_project.models import Line
from recovery_app import groups
from recovery_app.exceptions import JoinRefused
from recovery_app.values import Takeover

MAX_LINES = 100
"""How many lines a page shows."""
_ROOM = re.compile(r"room:[A-Za-z0-9_-]{1,40}")


class ChatConsumer(PhoenixConsumer):
    """The room of one page: the last lines, which are part of its state."""

    recovery_topics = ("room:*",)
    recovery_fields = ("room", "lines")

    room: str
    lines: list[dict[str, Any]]

    async def authorize_join(self, topic: str, params: Reply) -> None:
        """Let everybody in who names a room."""
        if not _ROOM.fullmatch(topic):
            raise JoinRefused("no such room")

    async def mount(self, topic: str, params: Reply) -> Reply:
        """Join the room's group, then load what was written before."""
        self.room = topic
        await self.join_group(topic)
        self.lines = await load(topic)
        return await self.open()

    async def after_recover(self, takeover: Takeover) -> Reply:
        """Show the lines of the recovered state: those that were missed come by themselves."""
        return await self.open()

    async def open(self) -> Reply:
        """Listen to who is writing, which nobody needs to hear later, and show the room."""
        await self.channel_layer.group_add(self.layer_group, self.channel_name)
        return {"lines": self.lines, "now": round(time.time() * 1000)}

    @property
    def layer_group(self) -> str:
        """The group of Channels, which forgets what it has sent."""
        return self.room.replace(":", ".")

    async def handle_event(self, event: str, payload: Any) -> Reply:
        """Write a line, or tell the others that somebody is about to."""
        found = payload if isinstance(payload, dict) else {}
        author, text = _text(found, "author", 40), _text(found, "text", 500)
        if event == "say" and text:
            await say(self.room, _text(found, "uid", 40), author or "Somebody", text)
        elif event == "writing" and author:
            message = {"type": "chat.writing", "author": author, "uid": _text(found, "uid", 40)}
            await self.channel_layer.group_send(self.layer_group, message)
        return {"lines": self.lines} if event == "show" else {}

    async def chat_line(self, message: dict[str, Any]) -> None:
        """Take a line from the durable group, and tell the page."""
        line = message["line"]
        # What was published between the join and the load is in both.
        if all(line["uid"] != each["uid"] for each in self.lines):
            self.lines = [*self.lines, line][-MAX_LINES:]
            await self.push("line", line)

    async def chat_writing(self, message: dict[str, Any]) -> None:
        """Tell the page who is writing: without a number, as nobody needs it later."""
        told = {"author": message["author"], "uid": message["uid"]}
        await self.send_json([None, None, self.room, "writing", told])

    async def missed_messages(self, group: str) -> None:
        """Load afresh: the page was away for longer than the group keeps its messages."""
        self.lines = await load(self.room)
        await self.push("lines", {"lines": self.lines})


@database_sync_to_async
def say(room: str, uid: str, author: str, text: str) -> None:
    """Store a line and publish it, both or neither, and once however often it is asked for."""
    with transaction.atomic():
        defaults = {"room": room, "author": author, "text": text}
        line, is_new = Line.objects.get_or_create(uid=uid, defaults=defaults)
        if is_new:
            groups.publish(room, {"type": "chat.line", "line": line.present()})


@database_sync_to_async
def load(room: str) -> list[dict[str, Any]]:
    """Return the last lines of a room."""
    newest = Line.objects.filter(room=room).order_by("-id")[:MAX_LINES]
    return [line.present() for line in reversed(newest)]


def _text(payload: Reply, key: str, length: int) -> str:
    value = payload.get(key)
    return value.strip()[:length] if isinstance(value, str) else ""
