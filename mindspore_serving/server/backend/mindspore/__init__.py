"""MindSpore as a backend. Begin with `backend`."""
