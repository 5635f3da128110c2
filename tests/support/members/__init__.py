"""An app with users who have neither a username nor a last login."""
