"""What ``positronic-to-lerobot`` takes is taken by ``offboard convert``, as Positronic's documents write it."""

import pytest
from offboard_client.plugins import UsageError
from offboard_core.cli import from_positronic

PHAIL = "@positronic.cfg.ds.phail.phail"
EE = "@positronic.vendors.openpi.codecs.ee"


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (
            f"convert --dataset.dataset={PHAIL} --dataset.codec={EE} --output_dir=/data/x",
            f"{PHAIL} --output_dir=/data/x --codec={EE}",
        ),
        (f"append --dataset.dataset {PHAIL} --dataset.codec {EE}", f"{PHAIL} --codec={EE}"),
        (
            f"convert --dataset.dataset=.local --dataset.dataset.path=~/x --dataset.codec={EE} --fps=15 --task=go",
            f"~/x --fps=15 --task=go --codec={EE}",
        ),
        (f"--dataset.dataset.path=~/x --dataset.codec={EE}", f"~/x --codec={EE}"),
        (
            f"--dataset.dataset={PHAIL} --dataset.dataset.path=~/x",
            "~/x",
        ),  # its own folder, in place of the published one
        ("--dataset.dataset=.local_all --dataset.dataset.path=--x", "--x"),
        (
            "~/x --dataset.codec=@positronic.vendors.gr00t.codecs.ee_quat",
            "~/x --codec=@positronic.vendors.gr00t.codecs.ee_quat",
        ),
        ("convert --dataset.dataset.path=x --video=True --task=None --fps=None", "x"),
        # What is ours stays as it is.
        ("eval --codec lerobot.ee --output-dir sets/x", "eval --codec lerobot.ee --output-dir sets/x"),
        ("convert --codec lerobot.ee", "convert --codec lerobot.ee"),
        ("convert sets/x --codec lerobot.ee", "sets/x --codec lerobot.ee"),
        ("eval --task=None --codec.map image.front=side", "eval --task=None --codec.map image.front=side"),
        ("", ""),
    ],
)
def test_it_is_read_as_ours(theirs, ours):
    assert from_positronic(theirs.split()) == ours.split()


@pytest.mark.parametrize(
    ("theirs", "says"),
    [
        ("--dataset.dataset=.local", r"says no folder: say it with --dataset.dataset.path=DIR"),
        ("--dataset.dataset=.phail", "is neither .local nor a name that begins with @positronic"),
        ("--dataset.dataset=~/x", "is neither .local nor a name"),
        (f"eval --dataset.dataset={PHAIL}", "the data set is given twice: leave eval away"),
        (f"--dataset.dataset={PHAIL} --dataset.dataset={PHAIL}", "--dataset.dataset is given twice"),
        ("--dataset.dataset --dataset.codec=x", "--dataset.dataset needs a value"),
        ("--dataset.codec", "--dataset.codec needs a value"),
        ("--dataset.transforms=[]", "there is no option '--dataset.transforms' of Positronic's here"),
        ("--dataset.dataset.path=x --video=False", "pictures are written as the codec's form"),
    ],
)
def test_what_there_is_not_is_said(theirs, says):
    with pytest.raises(UsageError, match=says):
        from_positronic(theirs.split())
