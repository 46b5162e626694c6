"""`python -m emo_cli`: the same as the `emo` command."""

from __future__ import annotations

from emo_cli.cli.app import main

if __name__ == "__main__":
    main()
