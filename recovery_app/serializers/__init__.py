"""Serializers, which convert a state to bytes and back: JSON (by orjson) and MessagePack.

Both return str, bool, None, int of any size, finite float, list, dict with string keys,
datetime, date, time, timedelta, Decimal, UUID and bytes as the same types, and tuples as lists.
They raise ``UnserializableState`` for anything else, including subclasses of these types (enum
members, SafeString, OrderedDict) and states nested more than 254 deep, and ``SnapshotCorrupt``
for bytes that don't contain a state.

No Python code looks at the values of a plain state:

* The fast path (``fast_path``) encodes each state with two C encoders, each of which refuses
  what the other would change silently. Only hooks for extended types run Python code.
* The slow path (``slow_path``) visits each value where the encoders refuse or can't be sure: for
  UUIDs in JSON, huge integers, and extended types beside tuples or beside text that looks like
  them. It raises an error with the path of what can't be stored.
* The bytes tell whether they contain extended types, JSON by the first byte and MessagePack by
  extension types, so plain bytes are decoded by one call in C.

No value of a state can be mistaken for an encoded one: such strings are escaped in JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from recovery_app.serializers.base import Serializer, serializer_name
from recovery_app.serializers.json import JSONSerializer
from recovery_app.serializers.msgpack import MsgPackSerializer

BUILTIN: Mapping[str, Serializer] = MappingProxyType(
    {
        JSONSerializer.name: JSONSerializer(),
        MsgPackSerializer.name: MsgPackSerializer(),
    }
)
"""The built-in serializers by the name that snapshots store, whatever the setting is now."""

__all__ = ["BUILTIN", "JSONSerializer", "MsgPackSerializer", "Serializer", "serializer_name"]
