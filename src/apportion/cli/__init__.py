"""The command line: thin verbs over records. Heavy libraries are imported by the verb that uses
them, so that help and reviews need no torch."""

from apportion.cli.app import app, main

__all__ = ["app", "main"]
