"""Own how a state becomes bytes and comes back: JSON (by orjson) and MessagePack.

Both give back str, bool, None, int of any size, finite float, list, dict with string keys,
datetime, date, time, timedelta, Decimal, UUID and bytes as the same types, and tuples as lists.
Anything else, subclasses of these included (enum members, SafeString, OrderedDict), is an
``UnserializableState``, and so is what is nested more than 254 deep. Bytes that don't hold a
state are a ``SnapshotCorrupt``, whatever they are.

How plain states pay nothing for the rich types: no Python code looks at their values.

* ``exact`` writes each state with two C encoders, of which each refuses what the other would
  silently change. Rich values are encoded by hooks that only they reach.
* ``walk`` goes through a state value by value, where the two object or can't be sure: for
  UUIDs in JSON, huge integers, rich values beside tuples or beside text that looks like them.
  It raises with the path of what can't be stored.
* The bytes tell whether they hold rich values: in JSON by their first byte, in MessagePack by
  extension types. So plain bytes are read by one C call.

No value of a state can look like an encoded one: in JSON, strings that would are escaped.
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
"""Each built-in serializer by the name that snapshots carry, whatever the setting is now."""

__all__ = ["BUILTIN", "JSONSerializer", "MsgPackSerializer", "Serializer", "serializer_name"]
