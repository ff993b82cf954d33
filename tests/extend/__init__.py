"""What CONTRIBUTING.md promises: an extension of each kind, in one file of its own, works."""
