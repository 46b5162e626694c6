"""Three ways to make a long video out of short ones: one file each, one function each."""
