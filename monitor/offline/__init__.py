"""What runs beside the daemon, on files."""
