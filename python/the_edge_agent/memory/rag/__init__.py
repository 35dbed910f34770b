"""Embedding providers, vector stores and text chunks for retrieval-augmented generation."""
