"""The cause classes, in one table for each subject."""
