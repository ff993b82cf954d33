"""Signals out: encoding, queue, and the transports. This package sees signals only, never the core."""
