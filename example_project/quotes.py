"""Quotes: their data, the changes made by events, and their presentation.

A quote keeps texts as they were typed, even invalid ones, so that no input is lost.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, TypeAlias

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.utils import timezone

Quote: TypeAlias = dict[str, Any]
Item: TypeAlias = dict[str, str]
Payload: TypeAlias = Mapping[str, Any]

VAT_RATES = {"0": "No VAT", "7": "Reduced, 7 %", "19": "Standard, 19 %"}
CURRENCIES = {"EUR": "€", "GBP": "£", "USD": "$", "CHF": "CHF"}
# The fields of a new quote.
FIELDS = {
    "customer": "",
    "email": "",
    "delivery": "",
    "currency": "EUR",
    "vat": "19",
    "discount": "",
    "notes": "",
}
ITEM_FIELDS = ("description", "quantity", "price")
MAX_CHARACTERS = {"notes": 2000}
MAX_CHARACTERS_ELSEWHERE = 120
MAX_ITEMS = 50

CENT = Decimal("0.01")
_AMOUNT = re.compile(r"[0-9]{1,7}([.,][0-9]{1,2})?")
_ID = re.compile(r"[a-z0-9]{6,32}")


def new() -> Quote:
    """Return a new quote with a random number and one empty line."""
    number = f"Q-{1000 + secrets.randbelow(9000)}"
    return {"number": number, "changes": 0, "fields": dict(FIELDS), "items": [_new_item()]}


def apply(quote: Quote, event: str, payload: Payload) -> None:
    """Apply an event to a quote; ignore invalid events."""
    change = _CHANGES.get(event)
    if change is None:
        return
    before = repr(quote)
    change(quote, payload)
    if repr(quote) != before:
        quote["changes"] += 1


def present(quote: Quote) -> dict[str, Any]:
    """Return what the page shows: the quote with its errors and totals."""
    items = [_present_item(item) for item in quote["items"]]
    return {**quote, "items": items, "errors": _errors(quote["fields"]), "totals": _totals(quote)}


# Events


def _set_field(quote: Quote, payload: Payload) -> None:
    field, value = payload.get("field"), payload.get("value")
    if not (isinstance(field, str) and isinstance(value, str) and field in FIELDS):
        return
    if _is_choice(field, value):
        quote["fields"][field] = value[: MAX_CHARACTERS.get(field, MAX_CHARACTERS_ELSEWHERE)]


def _add_item(quote: Quote, payload: Payload) -> None:
    item_id = payload.get("id")
    is_valid = isinstance(item_id, str) and _ID.fullmatch(item_id)
    if is_valid and len(quote["items"]) < MAX_ITEMS and _find(quote, item_id) is None:
        quote["items"].append(_new_item(item_id))


def _set_item(quote: Quote, payload: Payload) -> None:
    item, field, value = _find(quote, payload.get("id")), payload.get("field"), payload.get("value")
    if item is not None and field in ITEM_FIELDS and isinstance(value, str):
        item[field] = value[:MAX_CHARACTERS_ELSEWHERE]


def _remove_item(quote: Quote, payload: Payload) -> None:
    quote["items"] = [item for item in quote["items"] if item["id"] != payload.get("id")]


def _sort_items(quote: Quote, payload: Payload) -> None:
    ids = payload.get("ids")
    if isinstance(ids, list):
        positions = {each: index for index, each in enumerate(ids) if isinstance(each, str)}
        # Lines that the page doesn't know yet come last.
        quote["items"].sort(key=lambda item: positions.get(item["id"], len(positions)))


def _fill_in(quote: Quote, _payload: Payload) -> None:
    day = (timezone.localdate() + timedelta(days=14)).isoformat()
    quote["fields"] = {**FIELDS, **_EXAMPLE_FIELDS, "delivery": day}
    quote["items"] = [
        {"id": f"example{index}", **dict(zip(ITEM_FIELDS, texts, strict=True))}
        for index, texts in enumerate(_EXAMPLE_ITEMS)
    ]


def _start_over(quote: Quote, _payload: Payload) -> None:
    quote.update(fields=dict(FIELDS), items=[_new_item()])


def _put_back(quote: Quote, payload: Payload) -> None:
    """Apply texts that the page has kept: fields by their names, and lines by their ids."""
    fields, items = payload.get("fields"), payload.get("items")
    for field, value in fields.items() if isinstance(fields, dict) else ():
        _set_field(quote, {"field": field, "value": value})
    given = [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
    if given:
        quote["items"] = [item for item in quote["items"] if any(map(item.get, ITEM_FIELDS))]
    for item in given:
        _add_item(quote, item)
        for field in ITEM_FIELDS:
            _set_item(quote, {"id": item.get("id"), "field": field, "value": item.get(field)})


_CHANGES: Mapping[str, Callable[[Quote, Payload], None]] = {
    "set_field": _set_field,
    "add_item": _add_item,
    "set_item": _set_item,
    "remove_item": _remove_item,
    "sort_items": _sort_items,
    "fill_in": _fill_in,
    "start_over": _start_over,
    "put_back": _put_back,
}

_EXAMPLE_FIELDS = {
    "customer": "Alder & Finch Architects",
    "email": "office@alderfinch.example",
    "discount": "5",
    "notes": "Delivery to the second floor; please call half an hour before.",
}
_EXAMPLE_ITEMS = [
    ("Oak desk, 160 × 80 cm", "4", "489.00"),
    ("Task chair, grey felt", "4", "312.50"),
    ("Desk lamp", "6", "74.90"),
    ("Assembly on site", "1", "240.00"),
]


def _new_item(item_id: str | None = None) -> Item:
    return {"id": item_id or secrets.token_hex(8), **dict.fromkeys(ITEM_FIELDS, "")}


def _find(quote: Quote, item_id: object) -> Item | None:
    return next((item for item in quote["items"] if item["id"] == item_id), None)


def _is_choice(field: str, value: str) -> bool:
    choices = {"vat": VAT_RATES, "currency": CURRENCIES}.get(field)
    return choices is None or value in choices


# Errors


def _errors(fields: Mapping[str, str]) -> dict[str, str]:
    found = {
        "email": _email_error(fields["email"]),
        "delivery": _delivery_error(fields["delivery"]),
        "discount": _discount_error(fields["discount"]),
    }
    return {field: error for field, error in found.items() if error}


def _email_error(text: str) -> str:
    try:
        validate_email(text or "nobody@example.com")
    except ValidationError:
        return "Enter a valid e-mail address."
    return ""


def _delivery_error(text: str) -> str:
    try:
        day = date.fromisoformat(text) if text else None
    except ValueError:
        return "Enter a valid date."
    return "This date is in the past." if day and day < timezone.localdate() else ""


def _discount_error(text: str) -> str:
    discount = _amount(text)
    return "" if discount is not None and discount <= 100 else "Enter a number from 0 to 100."


def _present_item(item: Item) -> dict[str, Any]:
    errors = {
        field: "Enter a number." for field in ("quantity", "price") if _amount(item[field]) is None
    }
    total = _line_total(item)
    return {**item, "errors": errors, "total": None if total is None else _format(total)}


# Totals


def _amount(text: str) -> Decimal | None:
    """Parse a number as typed; return 0 if the text is empty and ``None`` if it is invalid."""
    text = text.replace(" ", "")
    if not text:
        return Decimal(0)
    return Decimal(text.replace(",", ".")) if _AMOUNT.fullmatch(text) else None


def _line_total(item: Item) -> Decimal | None:
    quantity, price = _amount(item["quantity"]), _amount(item["price"])
    return None if quantity is None or price is None else _round(quantity * price)


def _totals(quote: Quote) -> dict[str, Any]:
    fields = quote["fields"]
    lines = [_line_total(item) for item in quote["items"]]
    subtotal = sum(filter(None, lines), Decimal(0))
    percent = min(_amount(fields["discount"]) or Decimal(0), Decimal(100))
    discount = _round(subtotal * percent / 100)
    vat = _round((subtotal - discount) * Decimal(fields["vat"]) / 100)
    return {
        "currency": CURRENCIES[fields["currency"]],
        "subtotal": _format(subtotal),
        "discount": _format(-discount),
        "vat": _format(vat),
        "total": _format(subtotal - discount + vat),
        "uncounted": lines.count(None),
    }


def _round(amount: Decimal) -> Decimal:
    return amount.quantize(CENT, ROUND_HALF_UP)


def _format(amount: Decimal) -> str:
    return f"{amount:,.2f}".replace("-", "\N{MINUS SIGN}") if amount else "0.00"
