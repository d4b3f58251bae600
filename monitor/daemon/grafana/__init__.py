"""What the daemon and the command line write into a Grafana."""
