"""What each command does, one file a group; imported only when the command runs."""
