"""Methods by name, as text and as objects; options, labels, and what is refused."""

import dataclasses
import re

import pytest

from capjax.explainers import METHODS, CaptionGuided, GradCAM, IntegratedGradients, Method, Rollout
from capjax.explainers.choosing import Chosen, choose, described, labels


def labelled(*arguments):
    return {label: one.method for one in choose(*arguments) for label in one.labels.values()}


def test_names_text_and_objects_are_the_same_methods():
    assert labelled("gradcam") == labelled(["gradcam"]) == {"gradcam": GradCAM()}
    assert labelled(["ig@steps=5"]) == {"ig@steps=5": IntegratedGradients(5)}
    assert labelled(["ig"], ["ig.steps=5"]) == {"ig": IntegratedGradients(5)}
    assert labelled([IntegratedGradients(5)]) == {"ig": IntegratedGradients(5)}
    assert labelled(["rollout@fusion=max@discard=0.5"]) == {
        "rollout@fusion=max@discard=0.5": Rollout(fusion="max", discard=0.5)
    }
    # The order in which options are given is no difference.
    assert list(labelled(["rollout@discard=0.5@fusion=max"])) == ["rollout@fusion=max@discard=0.5"]


def test_two_settings_of_one_method_have_labels_of_their_own():
    two = [IntegratedGradients(steps=5), "gradcam", IntegratedGradients(steps=9)]
    assert list(labelled(two)) == ["ig@steps=5", "gradcam", "ig@steps=9"]
    assert list(labelled(["ig", "ig@steps=9"])) == ["ig", "ig@steps=9"]
    assert list(labelled([IntegratedGradients(), IntegratedGradients(9)])) == ["ig", "ig@steps=9"]
    assert list(labelled(["gradcam", GradCAM(), "gradcam"])) == ["gradcam"]


def test_one_pass_gives_both_answers_of_caption_guided():
    both = ["caption_guided", "caption_guided_kl"]
    for wanted in (both, both[::-1], both[1:], [CaptionGuided(kl=True)]):
        (one,) = choose(["attention", *wanted])[1:]
        assert one.method == CaptionGuided(kl=True) and list(one.labels.values()) == both
        assert one.settings == {}  # it adds an answer, and changes none


def test_settings_are_plain_and_by_label():
    found = labels(choose(["ig@steps=5", "gradcam", "rollout"]))
    assert found == {
        "ig@steps=5": {"steps": 5, "measure": "log_prob"},
        "gradcam": {"stage": "", "measure": "log_prob"},
        "rollout": {"fusion": "mean", "discard": 0.0, "residual": 0.5},
    }


def test_a_measure_is_given_for_all_or_for_one_and_is_part_of_what_is_compared():
    def measures(*arguments):
        return {label: own.get("measure") for label, own in labels(choose(*arguments)).items()}

    assert measures(["ig", "attention"], (), "logit") == {"ig": "logit", "attention": None}
    both = measures(["caption_guided", "caption_guided_kl"])
    assert both == {"caption_guided": "log_prob", "caption_guided_kl": None}  # a divergence
    assert measures(["ig"], ["ig.measure=prob", "ig.steps=3"]) == {"ig": "prob"}
    both = ["ig@measure=prob@steps=3", "ig@steps=3", "ig"]
    assert measures(both) == {
        "ig@steps=3@measure=prob": "prob",
        "ig@steps=3": "log_prob",
        "ig": "log_prob",
    }
    # Its own measure is no difference from itself, but from what all others are asked.
    assert measures(["ig@measure=log_prob"]) == {"ig": "log_prob"}
    assert measures(["ig", "ig@measure=log_prob"], (), "prob") == {
        "ig@measure=prob": "prob",
        "ig": "log_prob",
    }


@dataclasses.dataclass(frozen=True)
class Named(Method):
    """A method that needs an option."""

    size: int
    smooth: bool = False
    inner: Method = GradCAM()

    NAME = "named"

    def __call__(self, net, variables, request):
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Other(Named):
    """Another one of the same name."""


def test_methods_that_nobody_knows_are_told_apart_too():
    assert list(labelled([Named(1), Named(2, smooth=True)])) == [
        "named@size=1@smooth=false@inner=gradcam",
        "named@size=2@smooth=true@inner=gradcam",
    ]
    with pytest.raises(ValueError, match="two methods answer by the name named.*NAME of its own"):
        choose([Named(1), Other(1)])


@pytest.mark.parametrize(
    ("wanted", "options", "text"),
    [
        ([], (), "no method given; choose from: attention, "),
        ("grad", (), "unknown method 'grad'; choose from: attention, "),
        (["ig@stepz=3"], (), "ig has no option 'stepz=3'.*defaults: steps=8"),
        (["attention@steps=3"], (), "attention has no option.*defaults: none"),
        (["ig@steps"], (), "ig has no option 'steps'; give it as OPTION=VALUE"),
        (["ig@steps=many"], (), "got ig.steps=many; expected a value of type int"),
        (["ig@steps=0"], (), "got steps=0; expected 1 or more"),
        (["rollout@fusion=sum"], (), "got rollout.fusion=sum; choose one of: mean, max, min"),
        (["caption_guided@kl=1"], (), "expected true or false"),
        (["ig@measure=odds"], (), "got the measure 'odds'; choose one of: log_prob, logit, prob"),
        (["attention@measure=prob"], (), "attention explains no scalar.*leave measure=prob out"),
        (["gradcam"], ["ig.steps=4"], "option is set for 'ig', which is not among the methods"),
        (["ig"], ["steps=4"], "got the option 'steps=4'; expected METHOD.OPTION=VALUE"),
        ([GradCAM], (), "expected a name such as 'gradcam', or a method such as"),
        ([3], (), "got the method 3; expected a name"),
    ],
)
def test_what_is_wrong_is_named(wanted, options, text):
    with pytest.raises(ValueError, match=text):
        choose(wanted, options)


def test_the_list_of_methods_names_options_cost_and_source():
    text = described()
    for name, method in METHODS.items():
        assert f"\n{name}\n" in f"\n{text}\n"
        for part in (
            *(method.COST, method.SOURCE, f"measure {Chosen(method).measure_of(name) or 'none'}"),
            f"contrasts {'yes' if method.CONTRASTS else 'no'}",
        ):
            assert part in " ".join(text.split())
        for field in dataclasses.fields(method):
            # Every option has a line in the docstring, and the list shows it.
            value = getattr(method, field.name)
            value = value.NAME if isinstance(value, Method) else value
            said = re.search(rf"{field.name}={value}[^ :]*: (.*)", text, re.I)
            assert said and len(said[1]) > 5, field.name
