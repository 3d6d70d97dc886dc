from hypothesis import settings

# How fast the machine is decides nothing here.
settings.register_profile("plugins", deadline=None)
settings.load_profile("plugins")
