"""Query parameters: a name that a route does not know is refused, so that no misspelt filter is quietly ignored."""

from fastapi import Request
from fastapi.routing import APIRoute

from search.errors import Fault, InvalidValue


def refuse_unknown(request: Request) -> None:
    """Let the request pass if its route takes every query parameter given. Raise InvalidValue naming the others."""
    route = request.scope.get("route")
    if not request.query_params or not isinstance(route, APIRoute):
        return
    valid = [parameter.alias for parameter in route.dependant.query_params]
    strange = sorted(set(request.query_params) - set(valid))
    if strange:
        known = f"valid are {', '.join(valid)}" if valid else "there are none here"
        raise InvalidValue([Fault(f"query.{name}"[:128], f"no such parameter; {known}") for name in strange])
