"""Model to output. Importing this package registers the views of every family."""

from klosdbg.views.base import Style, columns, data, text

__all__ = ["Style", "columns", "data", "text"]
