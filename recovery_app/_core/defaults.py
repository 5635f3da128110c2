"""The defaults of the manager's arguments, which are those of the settings; times in seconds."""

TTL = 300
TOKEN_MAX_AGE = 86_400
CLEANUP_INTERVAL = 60
MAX_STATE_BYTES = 1_048_576
MAX_FRAME_BYTES = 262_144
JOIN_RATE = "20/s"
JOURNAL_MAX_ENTRIES = 10_000
JOURNAL_MAX_AGE = 7 * 86_400
