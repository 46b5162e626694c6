"""Training on real video: EMO's three stages."""
