"""From an admitted request to a batch at a copy, and back: admission, queues, policy, batches, copies.

No transport, no protobuf, no process: what is below is a function that sends a batch. Begin with `dispatcher`, which
admits requests, and `running_servables`, which finds who answers them; then `queue_policy`, which is the heart.
"""
