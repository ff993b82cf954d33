"""Kernel bytes as text: printable, without secrets, and in words."""
