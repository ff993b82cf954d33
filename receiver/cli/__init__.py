"""What each subcommand does. Every one returns an exit status; trouble leaves as a KwitnessError."""
