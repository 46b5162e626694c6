"""The `emo` command: parse, call the library, print."""
