"""What the chat and the dashboard keep: lines and orders."""

from __future__ import annotations

import hashlib
import socket
from typing import Any, ClassVar

from django.conf import settings
from django.db import models

_PLACE = f"{socket.gethostname()}:{settings.DATABASES['default']['NAME']}"
SHOP = hashlib.sha256(_PLACE.encode()).hexdigest()[:8]
"""The name of this node's database, as each node numbers its own orders."""


class Line(models.Model):
    """A line of a chat. The page has chosen ``uid``, so that a line that comes twice is one."""

    objects: ClassVar[models.Manager[Line]] = models.Manager()

    id = models.BigAutoField(primary_key=True)
    uid = models.CharField(max_length=40, unique=True)
    room = models.CharField(max_length=60, db_index=True)
    author = models.CharField(max_length=40)
    text = models.CharField(max_length=500)
    written_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        app_label = "example_project"

    def __str__(self) -> str:
        return f"{self.author}: {self.text}"

    def present(self) -> dict[str, Any]:
        """Return what a page shows of it; the time in milliseconds."""
        return {
            "id": self.pk,
            "uid": self.uid,
            "author": self.author,
            "text": self.text,
            "at": round(self.written_at.timestamp() * 1000),
        }


class Order(models.Model):
    """An order that the shop of the dashboard has received."""

    objects: ClassVar[models.Manager[Order]] = models.Manager()

    id = models.BigAutoField(primary_key=True)
    customer = models.CharField(max_length=40)
    item = models.CharField(max_length=40)
    cents = models.PositiveIntegerField()
    received_at = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        app_label = "example_project"

    def __str__(self) -> str:
        return f"{self.pk}: {self.item}"

    def present(self) -> dict[str, Any]:
        """Return what a page shows of it; the time in milliseconds."""
        return {
            "id": self.pk,
            "shop": SHOP,
            "customer": self.customer,
            "item": self.item,
            "cents": self.cents,
            "at": round(self.received_at.timestamp() * 1000),
        }
