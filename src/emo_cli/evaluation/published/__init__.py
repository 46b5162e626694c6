"""The networks that papers measure with, for weight files that the user fetched: what they see, and nothing else."""
