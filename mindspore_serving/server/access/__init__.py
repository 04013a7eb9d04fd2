"""Authentication, and TLS: API keys, names of certificates, the files that hold them, and rights.

For front ends, clusters and distributed servables alike. What is asked of a server is no business of this room: a
route says which right it needs (`right`). Begin with `guard`.
"""
