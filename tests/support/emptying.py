"""Empty the databases after each test with transactions, faster than Django's ``flush`` does.

That removes the content types and permissions too, only to make them anew, for each test.
"""

from __future__ import annotations

from functools import cache

from django.apps import apps
from django.db import Error, connections, transaction
from django.test import TransactionTestCase

_flush = TransactionTestCase._fixture_teardown  # type: ignore[attr-defined]


def empty_quickly() -> None:
    """Have each `TransactionTestCase` empty its databases by `empty`."""
    TransactionTestCase._fixture_teardown = _empty_or_flush  # type: ignore[attr-defined]


def empty(alias: str) -> None:
    """Delete what tests may have written to a database."""
    connection = connections[alias]
    quote = connection.ops.quote_name
    with (
        connection.constraint_checks_disabled(),
        transaction.atomic(using=alias),
        connection.cursor() as cursor,
    ):
        for table in _tables():
            cursor.execute(f"DELETE FROM {quote(table)}")


def _empty_or_flush(case: TransactionTestCase) -> None:
    try:
        for alias in case._databases_names(include_mirrors=False):  # type: ignore[attr-defined]
            empty(alias)
    except Error:
        # The test has removed a table, say.
        _flush(case)


@cache
def _tables() -> tuple[str, ...]:
    kept = {"auth_permission", "django_content_type"}
    models = apps.get_models(include_auto_created=True)
    tables = {model._meta.db_table for model in models if model._meta.managed}
    return tuple(sorted(tables - kept))
