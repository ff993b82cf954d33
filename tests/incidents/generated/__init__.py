"""Incidents composed from a seed: workload, fault, context, noise and length;
each with a healthy twin.

`compose` draws a composition, `play` runs it, `judge` scores it.
`tests.incidents.generate` is the command.
"""
