"""Deployment files for operators (units, image, guide), used as operators use them."""
