"""pyctr: a daemonless container manager for the terminal, with its own runtime core."""

__version__ = "0.1.0"
