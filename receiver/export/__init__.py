"""Export: encoding, queue and transports of the signals. This package never imports the core."""
