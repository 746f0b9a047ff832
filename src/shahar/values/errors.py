"""Every error of the house, drawn once, and by whose fault it is.

    ShaharError
    ├── CallerFault                    the one who asks can mend it
    │   ├── Invalid                    a field breaks a rule (BadRequestData)
    │   ├── Malformed                  the request cannot be read at all (InvalidRequest)
    │   ├── Unauthenticated            no or an unknown credential
    │   ├── Forbidden                  known, but may not
    │   ├── NotFound                   no such entity, attribute, record (ResourceNotFound)
    │   │   └── NoTenant               the tenant was never made (NonexistentTenant)
    │   ├── Exists                     it is there already (AlreadyExists)
    │   ├── Conflict                   the state does not allow it (Conflict)
    │   ├── WrongMethod                the address exists, the method does not
    │   ├── NotAcceptable              no representation that the caller accepts
    │   ├── WrongMediaType             a body of a kind that is not read here
    │   ├── NotSupported               not for what it is asked of (OperationNotSupported)
    │   ├── TooLarge                   body, depth, count or address beyond the bound
    │   ├── TooFast                    more requests than the rate allows
    │   ├── TooComplex                 a query that did not end within its time
    │   └── TooMany                    an answer larger than the bound
    ├── PeerFault                      somebody whom we asked
    │   ├── ContextUnavailable         an @context could not be read (LdContextNotAvailable)
    │   └── PeerFailed                 an endpoint, a broker, a source did not do its part
    │       ├── PeerSilent             it did not answer within its time
    │       └── PeerLooped             it would have asked us in turn
    └── OurFault                       ours
        ├── NotCarried                 the standard has it, we do not yet (OperationNotSupported)
        ├── Unavailable                for now: the disk is full, the store is closing
        └── Broken                     a promise of ours does not hold

The problem types are those of ETSI GS CIM 009 clause 5.5.2 where it has one. Status codes are known to `web/problem.py`
alone.
"""

from __future__ import annotations

ETSI = "https://uri.etsi.org/ngsi-ld/errors/"
OURS = "https://shahar.dev/problems/"


class ShaharError(Exception):
    """An error that knows its problem type, a title, and a sentence for the one who must act."""

    type: str = OURS + "Broken"
    title: str = "Error"
    told: bool = False
    """Whether it stands in the log already."""

    def __init__(self, detail: str = "", *, field: str | None = None, rule: str | None = None) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.field = field
        self.rule = rule


class CallerFault(ShaharError):
    """The one who asks can mend it."""


class Invalid(CallerFault):
    """A field breaks a rule; `field` names it and `rule` says what holds."""

    type, title = ETSI + "BadRequestData", "Bad request data"


class Malformed(CallerFault):
    """The request cannot be read at all: not JSON, not UTF-8, a broken address."""

    type, title = ETSI + "InvalidRequest", "Invalid request"


class Unauthenticated(CallerFault):
    """No credential, or one that is unknown or has ended."""

    type, title = OURS + "Unauthenticated", "Authentication required"


class Forbidden(CallerFault):
    """The actor is known but has no right to this act."""

    type, title = OURS + "Forbidden", "Not allowed"


class NotFound(CallerFault):
    """No such entity, attribute or record."""

    type, title = ETSI + "ResourceNotFound", "Resource not found"


class NoTenant(NotFound):
    """The tenant was never made."""

    type, title = ETSI + "NonexistentTenant", "Nonexistent tenant"


class Exists(CallerFault):
    """It is there already."""

    type, title = ETSI + "AlreadyExists", "Already exists"


class Conflict(CallerFault):
    """The present state does not allow the act."""

    type, title = ETSI + "Conflict", "Conflict"


class WrongMethod(CallerFault):
    """The address exists, this method on it does not."""

    type, title = OURS + "MethodNotAllowed", "Method not allowed"


class NotAcceptable(CallerFault):
    """No representation that the caller would accept."""

    type, title = OURS + "NotAcceptable", "Not acceptable representation"


class WrongMediaType(CallerFault):
    """A body of a media type that is not read here."""

    type, title = OURS + "UnsupportedMediaType", "Unsupported media type"


class NotSupported(CallerFault):
    """The operation is not for what it is asked of."""

    type, title = ETSI + "OperationNotSupported", "Operation not supported"


class TooLarge(CallerFault):
    """A body, a depth, a count or an address beyond its bound; `rule` names the bound."""

    type, title = OURS + "TooLarge", "Request too large"


class TooFast(CallerFault):
    """More requests than the rate allows; `retry_after_s` says when to come again."""

    type, title = OURS + "TooManyRequests", "Too many requests"

    def __init__(self, detail: str = "", *, retry_after_s: int = 1) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class TooComplex(CallerFault):
    """A query that did not end within its time."""

    type, title = ETSI + "TooComplexQuery", "Too complex query"


class TooMany(CallerFault):
    """An answer larger than the bound on answers."""

    type, title = ETSI + "TooManyResults", "Too many results"


class PeerFault(ShaharError):
    """Somebody whom we asked did not do their part."""


class ContextUnavailable(PeerFault):
    """An @context that the request needs could not be read."""

    type, title = ETSI + "LdContextNotAvailable", "JSON-LD @context not available"


class PeerFailed(PeerFault):
    """An endpoint, a broker or a source refused, was silent, or answered nonsense."""

    type, title = OURS + "PeerFailed", "A peer failed"


class PeerSilent(PeerFailed):
    """Somebody whom we asked did not answer within the time."""

    type, title = OURS + "PeerSilent", "A peer did not answer"


class PeerLooped(PeerFailed):
    """What was asked came back to whom it came from."""

    type, title = OURS + "LoopDetected", "Loop detected"


class OurFault(ShaharError):
    """The platform itself."""

    type, title = ETSI + "InternalError", "Internal error"


class NotCarried(OurFault):
    """The standard has it and this version does not carry it yet."""

    type, title = ETSI + "OperationNotSupported", "Operation not supported"


class Unavailable(OurFault):
    """For now only: the disk is full, the store is closing, a part is starting."""

    type, title = OURS + "Unavailable", "Temporarily unavailable"


class Broken(OurFault):
    """A promise of ours does not hold."""
