"""Storage errors as messages for the operator."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from django.utils.translation import gettext as _

from recovery_app.exceptions import StorageError, StorageUnavailable

logger = logging.getLogger("recovery_app")


class InvalidInput(ValueError):
    """Input that can't be accepted; the text is a message for the operator."""


@contextmanager
def collect_errors(errors: list[str]) -> Iterator[None]:
    """Append a message to ``errors`` if the block fails, and suppress the exception."""
    try:
        yield
    except StorageUnavailable as error:
        errors.append(_("The storage can’t be reached, so its contents are unknown. %s") % error)
    except StorageError as error:
        errors.append(_("The storage failed. %s") % error)
    except InvalidInput as error:
        errors.append(str(error))
    except ValueError:
        errors.append(_("This page or search isn’t valid. Start again from the first page."))
    except Exception as error:
        # A custom storage may raise anything.
        logger.exception("The storage raised an unexpected error.", extra={"event": "page_failed"})
        errors.append(_("The storage failed (%s). See the log for details.") % type(error).__name__)
