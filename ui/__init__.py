"""Furniture that pages share."""
