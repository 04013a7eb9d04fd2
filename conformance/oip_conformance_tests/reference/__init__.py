"""A small server that keeps every rule, and, on request, breaks one."""
