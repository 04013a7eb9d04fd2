"""Paddle models on Paddle Inference."""
