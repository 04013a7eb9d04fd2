"""The channel between the main process and its workers: messages, frames and shared memory."""
