"""LeRobot's asynchronous inference, in front of any model: what its ``robot_client`` sends, and how it is answered.

Its messages are pickles. None is ever unpickled here: :mod:`.unpickling` reads them as data, and :mod:`.tensors` writes
them, both without Python's ``pickle``, LeRobot or torch.
"""
