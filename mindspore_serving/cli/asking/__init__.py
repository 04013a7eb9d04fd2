"""How verbs ask a server that runs, ours or another one. Begin with `wire`, what a protocol is.

`address` says where a server is, `session` sends bytes there, and `description` learns what it serves, with
`described_types`. A module for each protocol writes requests and reads replies: `native`, `open_inference`,
`predict_v1`. `values` and `made_up` have what is sent. Nothing here prints.
"""
