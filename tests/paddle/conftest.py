"""Models for the tests with Paddle Inference."""

from __future__ import annotations

from tests.support.paddle_models import uci_housing

__all__ = ["uci_housing"]
