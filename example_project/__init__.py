"""A demo of `recovery_app`: a live quote editor whose state survives reconnects and restarts.

`quotes` has the logic, `consumers` the WebSocket; the page is in ``static`` and ``templates``.
"""
