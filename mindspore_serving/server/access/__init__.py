"""Who is let in, and over which TLS: API keys, names of certificates, and the files that hold them.

For front ends, clusters and distributed servables alike. What is asked of a server is no business of this room. Begin
with `guard`.
"""
