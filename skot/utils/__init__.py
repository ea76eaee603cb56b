"""Helpers shared by every part of the package."""

from skot.utils.validation import split_domains, stack_domains

__all__ = ["split_domains", "stack_domains"]
