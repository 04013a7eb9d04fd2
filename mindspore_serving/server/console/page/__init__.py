"""`/console`: a page for people, which shows the server live, sends requests, and shows logs of workers.

`browser/` has what a browser runs: HTML, CSS and JavaScript as they are served, without a build step. All data comes
from `/status`, and from `methods` and `log` below the page. Begin with `page`, which has the routes.
"""
