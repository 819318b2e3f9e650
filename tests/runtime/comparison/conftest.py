from tests.runtime.figures.conftest import browser

__all__ = ["browser"]
