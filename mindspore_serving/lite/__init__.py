"""MindSpore Lite on Pythons that its package is not made for: `python -m mindspore_serving.lite` builds and converts.

The package `mindspore_lite` on PyPI is for Python 3.7. The library in it is C++ and does not care: `build.py` fetches
the package and compiles a C interface to the library (`shim.cc`), `library.py` calls that, `installation.py` says where
it is.
"""
