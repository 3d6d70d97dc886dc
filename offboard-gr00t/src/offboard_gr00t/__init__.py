"""The plugin ``gr00t``: NVIDIA GR00T policies, served by a child process in GR00T's own environment.

It offers nothing yet; ``offboard plugins`` lists it.
"""
