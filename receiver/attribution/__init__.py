"""Layer 2, the semantic filter: maps processes to pipelines, runs and tasks.

A process subtree holds an identity; the recognisers derive it from kernel facts.
"""
