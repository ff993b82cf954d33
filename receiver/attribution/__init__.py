"""Layer 2, the semantic filter: whose was it? The process tree, and identities held by its subtrees."""
