"""Kinds of encoders, in an open registry."""

from . import function, onnx_model, sentence_model, static_model
from .backend import ENCODER_KINDS, Backend, EncoderKind

__all__ = ["ENCODER_KINDS", "Backend", "EncoderKind", "function", "onnx_model", "sentence_model", "static_model"]
