"""What a sound tells: the parts of hearing, one file each; speech.py puts them together."""
