"""The subcommands. Each returns an exit status, and raises a KwitnessError when it fails."""
