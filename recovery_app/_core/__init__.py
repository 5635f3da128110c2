"""The manager and its rules: no Channels, no settings, no Prometheus."""
