"""One publisher of the kit: a process with the application's settings.

``python -m recovery_app.chaos.publisher MODULE`` imports the module of an ASGI application, as a
server does. Then it publishes the message on each line of its input, ``["group", {…}]``, and
answers each with a line: ``ok``, or the name of the exception.
"""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module

from recovery_app.exceptions import StorageError
from recovery_app.groups import publish


def main(module: str) -> None:
    """Import the module, and publish what comes."""
    # What the module prints must not be taken for an answer.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    import_module(module)
    for line in sys.stdin:
        group, message = json.loads(line)
        try:
            publish(group, message)
        except StorageError as error:
            answers.write(f"{type(error).__name__}\n")
        else:
            answers.write("ok\n")


if __name__ == "__main__":
    main(sys.argv[1])
