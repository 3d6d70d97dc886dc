import inspect
import typing

import offboard_core


def test_the_public_names_of_core_are_these():
    assert offboard_core.__all__ == sorted(offboard_core.__all__)
    assert set(offboard_core.__all__) == {
        # whoever has a policy
        "InferenceServer", "Placement", "Policy", "Session", "Chunk", "Observation", "NoParams", "declare", "Health",
        "Elsewhere", "InferContext", "Item", "Control",
        # vendors
        "CheckpointLoader", "Checkpoint", "ModelRegistry", "Progress", "ReportProgress", "Feature", "Field", "Codec",
        "CodecMeta", "CodecEntry", "DataSetEntry", "DataSetForm", "DataSetWriter", "DemoRecipe",
        "EnvironmentEntry", "FrontendEntry", "ListenerEntry", "LoaderEntry",
        "RegistryEntry", "Trainer", "TrainerEntry", "hookimpl",
        # whoever watches
        "ExchangeRecord", "Observer", "ObserverEntry",
        # errors that they raise
        "OffboardError", "BadObservation", "BadParameter", "ConfigurationError", "InferTimeout", "InvalidAction",
        "LoadFailed", "ModelLost", "ModelNotFound", "PolicyFailed",
    }  # fmt: skip


def test_every_public_name_exists_and_every_class_is_documented():
    for name in offboard_core.__all__:
        found = getattr(offboard_core, name)
        if inspect.isclass(found) and not typing.get_origin(found):  # Python 3.10 takes Callable[...] for a class
            assert inspect.getdoc(found), name


def test_an_unknown_name_is_an_attribute_error():
    assert not hasattr(offboard_core, "InferenceServe")
