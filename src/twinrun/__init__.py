"""twinrun: run trusted code and its replacement side by side, and learn what differs."""
