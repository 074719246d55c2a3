"""CaMoE: a capital-driven mixture of experts, and the framework that measures whether capital helps."""

__version__ = "0.1.0"
