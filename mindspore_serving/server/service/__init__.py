"""What front ends see of the server."""
