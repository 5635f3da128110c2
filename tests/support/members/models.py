"""The users: known by an e-mail address and a UUID."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models


class Member(AbstractBaseUser):
    """A member of the staff, with all permissions or with those to see and delete snapshots."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    email = models.EmailField(unique=True)
    sees_members = models.BooleanField(default=False)
    last_login = None
    objects = BaseUserManager["Member"]()

    USERNAME_FIELD = "email"
    is_active = is_staff = True

    class Meta:
        app_label = "members"

    def __str__(self) -> str:
        return "the name of a member"

    def has_perm(self, permission: str, _obj: Any = None) -> bool:
        return self.sees_members or permission.startswith("recovery_app.")

    def has_module_perms(self, _label: str) -> bool:
        return True
