"""The collection benchmark: environment steps a second from slow environments, one after the other or side by side."""
