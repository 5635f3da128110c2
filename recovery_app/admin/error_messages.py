"""Own what the page says of a storage that fails: a sentence, and never a traceback."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from django.utils.translation import gettext as _

from recovery_app.exceptions import StorageError, StorageUnavailable

logger = logging.getLogger("recovery_app")


@contextmanager
def told_to(troubles: list[str]) -> Iterator[None]:
    """Put what a storage raises into words, of which the page shows all."""
    try:
        yield
    except StorageUnavailable as error:
        troubles.append(
            _("The storage can’t be reached, so nothing is known of what it holds. %s") % error
        )
    except StorageError as error:
        troubles.append(_("The storage has failed. %s") % error)
    except ValueError:
        troubles.append(_("There is no such page or search. Start again from the first page."))
    except Exception as error:
        # A storage of the application's own may raise anything.
        logger.exception(
            "The storage failed in a way that it shouldn't.", extra={"event": "page_failed"}
        )
        troubles.append(_("The storage has failed (%s); the log has more.") % type(error).__name__)
