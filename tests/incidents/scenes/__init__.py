"""All scenes. Importing registers them."""

from tests.incidents.scenes import ends, files, healthy, kills, memory, network, unseen, waits, work

__all__ = ["ends", "files", "healthy", "kills", "memory", "network", "unseen", "waits", "work"]
