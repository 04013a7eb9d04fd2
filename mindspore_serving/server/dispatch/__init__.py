"""From an admitted request to a batch at a copy, and back: admission, queues, policy, batches, copies.

No transport, no protobuf, no process: what is below is a function that sends a batch. Begin with `dispatcher`, then
`queue_policy`, which is the heart.
"""
