"""Show `recovery_app` at work: a quote that is edited live and survives what happens to it.

`quotes` is the quote itself, `consumers` puts it on a WebSocket; the page is in ``static`` and
``templates``.
"""
