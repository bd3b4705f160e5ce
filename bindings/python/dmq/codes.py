"""The class of each error code; codes.pyi says for type checkers which there are."""

from .errors import BY_NAME

globals().update(BY_NAME)
__all__ = list(BY_NAME)
