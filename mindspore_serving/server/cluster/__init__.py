"""Workers on other machines: the port of the master, and the workers' way to it."""
