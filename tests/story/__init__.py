"""The kinds of facts that tests.builders.Story tells."""
