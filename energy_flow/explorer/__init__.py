"""A local page on which people send inputs through a trained model, watch its flows, and put their hand in.

It needs the extra `serve`: FastAPI and uvicorn.
"""

from .subject import Model, Subject

__all__ = ["Model", "Subject"]
