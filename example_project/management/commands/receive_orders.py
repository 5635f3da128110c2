"""Receive orders from another process than the server's."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from example_project.orders import receive


class Command(BaseCommand):
    """``manage.py receive_orders 20``: each open dashboard gets each of them once."""

    help = "Receive orders, which each open dashboard gets."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("number", type=int, nargs="?", default=1)

    def handle(self, *args: Any, **options: Any) -> None:
        for _ in range(options["number"]):
            self.stdout.write(str(receive()))
