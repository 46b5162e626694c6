"""Real videos of people talking as training clips: finding, measuring, cutting, and what is kept of each."""
