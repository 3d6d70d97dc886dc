"""The plugin ``openpi``: Physical Intelligence's policies, served by a child process in openpi's own environment.

It offers nothing yet; ``offboard plugins`` lists it.
"""
