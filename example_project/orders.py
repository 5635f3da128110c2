"""A dashboard of orders, which a thread of each process receives while somebody looks on."""

from __future__ import annotations

import random
import threading
import time
from typing import Any

from channels.db import database_sync_to_async
from django.db import DatabaseError, close_old_connections, transaction

from example_project.consumers import PhoenixConsumer, Reply
from example_project.models import SHOP, Order
from recovery_app import groups
from recovery_app.exceptions import StorageUnavailable
from recovery_app.values import Takeover

GROUP = "orders"
SHOWN = 12
"""How many orders a page lists."""
MINUTE_MS = 60_000
STAYS_OPEN_SECONDS = 180
"""How long orders come after the last sign of a page, so that one that is away misses some."""
CUSTOMERS = (
    "Finch & Co",
    "Marlow",
    "Okafor",
    "Lindqvist",
    "Studio Nord",
    "Haruki",
    "Bell",
    "Costa",
)
GOODS = {
    "Oak desk": 489_00,
    "Desk lamp": 79_00,
    "Chair, felt": 219_00,
    "Shelf": 134_50,
    "Ink, blue": 12_80,
    "Paper, A4": 8_90,
}


class OrdersConsumer(PhoenixConsumer):
    """The dashboard of one page: each order is added to its figures once."""

    recovery_topics = ("orders",)
    recovery_fields = ("first", "last", "count", "cents", "orders", "minute")

    first: dict[str, int]
    """The number of the newest order of each shop when the page was opened."""
    last: dict[str, int]
    count: int
    cents: int
    orders: list[dict[str, Any]]
    minute: list[int]
    """The times of the last minute's orders, in milliseconds."""

    async def mount(self, topic: str, params: Reply) -> Reply:
        """Join the group, then load the latest orders, which aren't counted."""
        await self.join_group(GROUP)
        self.orders = await load()
        newest = self.orders[0]["id"] if self.orders else 0
        self.first, self.last = {SHOP: newest}, {SHOP: newest}
        self.count = self.cents = 0
        self.minute = []
        return self.open()

    async def after_recover(self, takeover: Takeover) -> Reply:
        """Show the figures of the recovered state: the orders behind it come by themselves."""
        return self.open()

    def open(self) -> Reply:
        """See that orders come, and show the figures."""
        shop.open()
        return {**self.figures(), "orders": self.orders, "now": _now_ms()}

    async def handle_event(self, event: str, payload: Any) -> Reply:
        """Keep the shop open, which a page that is looked at asks for."""
        shop.open()
        return self.open() if event == "show" else {}

    async def order_received(self, message: dict[str, Any]) -> None:
        """Add an order to the figures, and tell the page."""
        order, shop = message["order"], message["order"]["shop"]
        # Of another node's shop, the page has loaded nothing.
        self.first.setdefault(shop, order["id"] - 1)
        if order["id"] <= self.last.get(shop, 0):
            # It was loaded when the page joined.
            return
        self.last[shop] = order["id"]
        self.count += 1
        self.cents += order["cents"]
        self.orders = [order, *self.orders][:SHOWN]
        self.minute = [at for at in [*self.minute, order["at"]] if at > order["at"] - MINUTE_MS]
        await self.push("order", {"order": order, **self.figures()})

    async def missed_messages(self, group: str) -> None:
        """Load afresh: the page was away for longer than the group keeps its messages."""
        missed = await load(after=self.last.get(SHOP, 0))
        self.orders = await load()
        self.count += len(missed)
        self.cents += sum(order["cents"] for order in missed)
        self.last |= {SHOP: missed[0]["id"]} if missed else {}
        await self.push("figures", {"orders": self.orders, **self.figures()})

    def figures(self) -> Reply:
        """Return the figures."""
        recent = sum(at > _now_ms() - MINUTE_MS for at in self.minute)
        numbers = [(self.first[shop] + 1, last) for shop, last in self.last.items()]
        return {
            "numbers": [each for each in numbers if each[1] >= each[0]],
            "count": self.count,
            "cents": self.cents,
            "rate": recent,
        }


class Shop:
    """A thread that receives orders at random times, for as long as somebody asks for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._closes_at = 0.0
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        """Have orders come for some more minutes."""
        with self._lock:
            self._closes_at = time.monotonic() + STAYS_OPEN_SECONDS
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="orders", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        wait = threading.Event()
        while self._is_open():
            wait.wait(random.uniform(0.3, 1.6))
            try:
                receive()
            except (DatabaseError, StorageUnavailable):
                # Neither the order nor the message is there; the next one may go well.
                wait.wait(1)
            finally:
                close_old_connections()

    def _is_open(self) -> bool:
        with self._lock:
            is_open = time.monotonic() < self._closes_at
            if not is_open:
                self._thread = None
            return is_open


shop = Shop()


def receive() -> Order:
    """Store a new order and publish it, both or neither."""
    item = random.choice(list(GOODS))
    customer = random.choice(CUSTOMERS)
    with transaction.atomic():
        order = Order.objects.create(customer=customer, item=item, cents=GOODS[item])
        groups.publish(GROUP, {"type": "order.received", "order": order.present()})
    return order


@database_sync_to_async
def load(after: int | None = None) -> list[dict[str, Any]]:
    """Return the latest orders, or all after one; the newest first."""
    found = Order.objects.order_by("-id")
    found = found[:SHOWN] if after is None else found.filter(id__gt=after)
    return [order.present() for order in found]


def _now_ms() -> int:
    return round(time.time() * 1000)
