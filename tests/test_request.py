"""Options of `route`: each stands once, in `RouteRequest`, and the public functions show all of them."""

from __future__ import annotations

import inspect
from dataclasses import fields

import pytest

import xroute
from xroute.request import RouteRequest, StreamRequest, keywords_of


@keywords_of(StreamRequest)
def asked(runoff, network, store, request):
    return request


def test_public_functions_show_each_option_with_its_default():
    shown = inspect.signature(xroute.route).parameters
    options = {f.name: f.default for f in fields(RouteRequest)}
    assert list(shown) == ["runoff", "network", *options]
    assert {n: p.default for n, p in shown.items() if p.kind is p.KEYWORD_ONLY} == options
    assert "request" not in inspect.signature(asked).parameters
    assert options.items() <= {n: p.default for n, p in inspect.signature(asked).parameters.items()}.items()


def test_what_is_given_arrives_under_its_name():
    every = {f.name: object() for f in fields(StreamRequest) if f.name != "partitions"}
    request = asked(None, None, store=None, **every)
    assert type(request) is StreamRequest
    assert {name: getattr(request, name) for name in every} == every
    assert asked(None, None, None) == StreamRequest()


@pytest.mark.parametrize("name", ["schem", "request", "function"])
def test_what_is_no_option_is_refused_as_python_does(name):
    with pytest.raises(TypeError, match=rf"^route\(\) got an unexpected keyword argument '{name}'$"):
        xroute.route(None, None, **{name: 1})


def test_options_are_no_positional_arguments():
    with pytest.raises(TypeError, match=r"^route\(\) takes 2 positional arguments but 3 were given$"):
        xroute.route(None, None, "muskingum")
    with pytest.raises(TypeError, match="network"):
        xroute.route(None)


@pytest.mark.parametrize("partitions", [0, -1, 1.5, True, "2"])
def test_partitions_are_counted(partitions):
    with pytest.raises(xroute.ParameterError, match="partitions is a positive whole number or None"):
        RouteRequest(partitions=partitions)
