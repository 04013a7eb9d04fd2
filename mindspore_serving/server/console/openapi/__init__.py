"""The description of all that is answered over HTTP: `/openapi.json`, `/docs` that shows it, and a first page at `/`.

Each dialect and page describes its own paths (`transport/description.py`); none is known here. Begin with `document`,
which joins what they say; `page` has the routes.
"""
