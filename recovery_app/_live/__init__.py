"""One page's connection: its topics, joins, events and numbers, without Channels."""
