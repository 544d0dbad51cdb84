"""Exceptions of Marquee.

    MarqueeError
    ├── SettingsError            a setting or file is wrong
    ├── TransientError           a retry may succeed
    │   ├── BaseDataUnavailable
    │   ├── CustomersUnavailable
    │   ├── DatabaseUnavailable
    │   │   └── DatabaseBusy     all connections of this process are in use
    │   ├── DeliveryFailed
    │   ├── DocumentsUnavailable     MongoDB is unreachable or too slow
    │   ├── GroupInUse           a bridge uses the consumer group whose offsets are to be reset
    │   ├── KafkaUnavailable
    │   ├── MovieServiceUnavailable  the movie service is unreachable or overloaded
    │   ├── NothingToRecommend   there is neither a release nor a popular movie
    │   ├── ObjectStoreUnavailable
    │   ├── RecommendationsUnavailable   `recommend` did not answer the app with a list
    │   ├── RequestFailed
    │   ├── PushUnverifiable     the certificates for a push's token are unavailable
    │   └── WorkingDirectoryUnwritable   the disk of a retraining's files is full
    └── TerminalError            a retry fails again
        ├── CallRefused          the caller of an HTTP API may not do this, or not so often
        ├── InvalidBatch         the request is not a CloudEvent of Marquee
        ├── InvalidEvents        the body is not a list of events
        ├── InvalidUserId
        ├── InvalidRequest       a parameter of a request is unknown or invalid
        ├── UnknownMovie         the release does not know the movie
        ├── PushRefused          the push has no valid token
        ├── DocumentsRefused     MongoDB rejected a command or a document
        ├── DatabaseRefused          the database rejected the statement
        │   ├── DataRefused          a value does not fit its column
        │   └── PrivacyKeyWrong      users are marked, and the key of their digests is missing or another one
        ├── TopicRecreated       a topic without an id holds other records than those written
        ├── MigrationError
        ├── ObjectStoreError     credentials, permissions, bucket or URL are wrong
        │   ├── ObjectNotFound
        │   └── PreconditionFailed
        ├── ForgetIncomplete     a request to be forgotten cannot be finished now
        ├── ReceiptRefused       a receipt was changed, or signed by another key
        ├── ArtifactRefused      hash, shape, format or smoke test failed
        ├── PanelRefused         a dashboard's file or a panel's query is invalid
        ├── PipelineFailed       `dvc repro` failed
        ├── ReleaseError
        └── TrainingDataError
            └── TooFewRatings    more ratings are needed; of a new database, nothing to learn from yet

Errors of other libraries are translated where they enter, with ``raise ... from``. The type of an error, never its
text, tells a caller whether a retry may succeed.
"""

from collections.abc import Mapping


class MarqueeError(Exception):
    """Base class of all errors that Marquee reports."""


class SettingsError(MarqueeError):
    """Invalid settings; the message lists every problem, one a line."""


class TransientError(MarqueeError):
    """An error after which the same call may succeed later."""


class TerminalError(MarqueeError):
    """An error after which the same call fails again."""


class BaseDataUnavailable(TransientError):
    """The base data cannot be downloaded now."""


class CustomersUnavailable(TransientError):
    """The customer service is unreachable or overloaded."""


class DatabaseUnavailable(TransientError):
    """The database is unreachable or cannot write now."""


class DatabaseBusy(DatabaseUnavailable):
    """Other threads of this process use all its connections; the database itself may be healthy."""


class DeliveryFailed(TransientError):
    """The receiver did not accept an envelope."""


class DeliveryUnauthorized(DeliveryFailed):
    """The receiver does not accept the sender's credentials; the same envelope is accepted once they are right."""


class DocumentsUnavailable(TransientError):
    """MongoDB is unreachable, or did not answer within the deadline."""


class MovieServiceUnavailable(TransientError):
    """The movie service is unreachable or overloaded."""


class RecommendationsUnavailable(TransientError):
    """``recommend`` did not answer with a list."""


class GroupInUse(TransientError):
    """A bridge uses the consumer group; its next commit would overwrite the reset offsets."""


class KafkaUnavailable(TransientError):
    """Kafka is unreachable or has no such topic."""


class NothingToRecommend(TransientError):
    """There is neither a release nor a popular movie."""


class ObjectStoreUnavailable(TransientError):
    """The object store is unreachable or overloaded."""


class RequestFailed(TransientError):
    """An HTTP request got no response."""


class PushUnverifiable(TransientError):
    """The certificates that verify a push's token are unavailable."""


class WorkingDirectoryUnwritable(TransientError):
    """The files of a retraining cannot be written: the disk is full."""


class PushRefused(TerminalError):
    """A push without a valid token."""


class InvalidBatch(TerminalError):
    """A request that is not a CloudEvent of a known type; ``body`` is its content, unchanged."""

    def __init__(self, message: str, body: bytes = b"") -> None:
        super().__init__(message)
        self.body = body


class CallRefused(TerminalError):
    """A call that is answered with ``status``: 401, 403 or 429, with ``headers``."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str]) -> None:
        super().__init__(message)
        self.status, self.headers = status, headers


class InvalidEvents(TerminalError):
    """A body that is neither an event nor a list of events."""


class InvalidUserId(TerminalError):
    """A malformed user id."""


class InvalidRequest(TerminalError):
    """An unknown or invalid parameter of a request; the message says what is valid."""


class DocumentsRefused(TerminalError):
    """MongoDB rejected a command or a document: a privilege is missing, or a validator does not accept it."""


class UnknownMovie(TerminalError):
    """A movie that the release does not know."""


class DatabaseRefused(TerminalError):
    """The database rejected a statement: a table or a privilege is missing."""


class DataRefused(DatabaseRefused):
    """A value that a column cannot hold."""


class PrivacyKeyWrong(DatabaseRefused):
    """Users are marked in the database, and the key of their digests is missing or another one."""


class TopicRecreated(TerminalError):
    """A topic of a broker without topic ids, whose records are not those that were committed."""


class MigrationError(TerminalError):
    """The migrations of the database differ from those of the library."""


class ObjectStoreError(TerminalError):
    """The object store rejected the request: credentials, permissions, bucket or URL."""


class ObjectNotFound(ObjectStoreError):
    """An object that does not exist."""


class PreconditionFailed(ObjectStoreError):
    """A conditional write whose condition does not hold."""


class ArtifactRefused(TerminalError):
    """An artifact that must not serve; the message gives the reason."""


class PanelRefused(TerminalError):
    """An invalid dashboard file or panel query; the message gives the reason."""


class ForgetIncomplete(TerminalError):
    """A request to be forgotten that cannot be finished until a person has acted."""


class ReceiptRefused(TerminalError):
    """A receipt that was changed, or that another key has signed."""


class PipelineFailed(TerminalError):
    """DVC failed; its own output is on standard error."""


class ReleaseError(TerminalError):
    """An unreadable release document, or an invalid change to it."""


class TrainingDataError(TerminalError):
    """Ratings that cannot be trained on; the message describes them."""


class TooFewRatings(TrainingDataError):
    """Ratings that are too few, or too alike, to learn from."""
