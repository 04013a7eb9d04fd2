"""The worker process: loads one servable on one device and runs its stages."""
