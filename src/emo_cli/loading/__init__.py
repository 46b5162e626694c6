"""A model onto its device: what it needs there, how much of it at once, offloaded, compiled."""
