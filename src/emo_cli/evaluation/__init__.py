"""How good a talking portrait is, in numbers: lips, head, eyes, picture, and what published networks say of it."""
