"""Own how a state becomes bytes and comes back: JSON (by orjson) and MessagePack.

Both give back str, bool, None, int of any size, finite float, list, dict with string keys,
datetime, date, time, timedelta, Decimal, UUID and bytes as the same types, and tuples as lists.
Anything else, subclasses of these included (enum members, SafeString, OrderedDict), is an
``UnserializableState``, and so is what is nested more than 254 deep. Bytes that don't hold a
state are a ``SnapshotCorrupt``, whatever they are.

How plain states pay nothing for the rich types: no Python code looks at their values.

* A C encoder writes them. Each such encoder silently takes something that would come back as
  something else (orjson takes an enum's value, writes a UUID as text and NaN as null; msgpack
  takes keys of any type), so a second C encoder with other blind spots reads the state too.
* Only if one of the two objects does the walk in ``walk`` run. It is what decides: it encodes
  rich values, and raises with the path of what can't be stored.
* The bytes tell whether they hold rich values: in JSON by their first byte, in MessagePack by
  extension types. So plain bytes are read by one C call and nothing else.

No value of a state can look like an encoded one: in JSON, strings that would are escaped.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from recovery_app.serializers.base import Serializer, serializer_name
from recovery_app.serializers.json_format import JSONSerializer
from recovery_app.serializers.msgpack_format import MsgPackSerializer

BUILTIN: Mapping[str, Serializer] = MappingProxyType(
    {
        JSONSerializer.name: JSONSerializer(),
        MsgPackSerializer.name: MsgPackSerializer(),
    }
)
"""Each built-in serializer by the name that snapshots carry, whatever the setting is now."""

__all__ = ["BUILTIN", "JSONSerializer", "MsgPackSerializer", "Serializer", "serializer_name"]
