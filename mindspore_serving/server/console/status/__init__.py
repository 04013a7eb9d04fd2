"""`GET /status`: what the server does now, and what was counted in the last seconds and minutes.

`history` keeps what was counted a while ago, `windows` makes figures of the difference to now, `document` says what the
page looks like, `current` fills it, and `advice` says in sentences what stands out. Begin with `page`.

Nothing here is on the way of a request, and nothing shows what clients have sent (ADR 66).
"""
