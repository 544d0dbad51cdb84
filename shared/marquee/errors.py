"""The errors Marquee raises.

    MarqueeError
    ├── SettingsError            the environment does not describe a system that can run
    ├── TransientError           trying again may mend it
    │   ├── BaseDataUnavailable
    │   ├── CustomersUnavailable
    │   ├── DatabaseUnavailable
    │   ├── DeliveryFailed
    │   ├── GroupInUse           a bridge reads in the group whose offsets are to be set
    │   ├── KafkaUnavailable
    │   ├── NothingToRecommend   no release and no popular movies: too early, or all is away
    │   ├── ObjectStoreUnavailable
    │   ├── RequestFailed
    │   └── PushUnverifiable         who pushes cannot be checked now
    └── TerminalError            trying again cannot mend it
        ├── InvalidBatch         what arrived is not one of our CloudEvents
        ├── InvalidUserId
        ├── PushRefused          a push without a good token
        ├── DatabaseRefused          the database understood and will not do it
        │   └── DataRefused          because a value does not fit
        ├── MigrationError
        ├── ObjectStoreError     credentials, permissions, bucket or URL are wrong
        │   ├── ObjectNotFound
        │   └── PreconditionFailed
        ├── ArtifactRefused      hash, shape, format or smoke test is wrong
        ├── PanelRefused         a panel's query, or a dashboard's file, that cannot be what it should
        ├── PipelineFailed       `dvc repro` did not come to its end
        ├── ReleaseError
        └── TrainingDataError

Errors of other libraries are translated where they enter, with ``raise ... from``.
Whether a caller should try again is told by the type, never by the text.
"""


class MarqueeError(Exception):
    """Anything that Marquee itself reports."""


class SettingsError(MarqueeError):
    """The settings are wrong; the message lists every problem, one a line."""


class TransientError(MarqueeError):
    """The same call may succeed later."""


class TerminalError(MarqueeError):
    """The same call will fail again."""


class BaseDataUnavailable(TransientError):
    """The base data cannot be fetched now."""


class CustomersUnavailable(TransientError):
    """The customer service cannot be reached, or asked us to come back later."""


class DatabaseUnavailable(TransientError):
    """The database cannot be reached, or cannot take a write now."""


class DeliveryFailed(TransientError):
    """The receiver did not accept an event."""


class GroupInUse(TransientError):
    """A bridge is reading in the group: its next commit would undo what is set by hand."""


class KafkaUnavailable(TransientError):
    """Kafka cannot be reached, or does not know the topic."""


class NothingToRecommend(TransientError):
    """There is neither a release nor any movie that could be called popular."""


class ObjectStoreUnavailable(TransientError):
    """The object store cannot be reached, or asked us to come back later."""


class RequestFailed(TransientError):
    """An HTTP request got no response."""


class PushUnverifiable(TransientError):
    """The certificates by which a push's token is checked cannot be had now."""


class PushRefused(TerminalError):
    """A push without a token, or with one that is not good for us."""


class InvalidBatch(TerminalError):
    """What arrived is not an event of a kind that we know; ``body`` is what it was, as it came."""

    def __init__(self, message: str, body: bytes = b"") -> None:
        super().__init__(message)
        self.body = body


class InvalidUserId(TerminalError):
    """A user id that no customer of the service can have."""


class DatabaseRefused(TerminalError):
    """The database understood a statement and refuses it: a table or a right is missing."""


class DataRefused(DatabaseRefused):
    """A value that the database cannot hold."""


class MigrationError(TerminalError):
    """The database's migrations and ours do not agree."""


class ObjectStoreError(TerminalError):
    """The object store refuses: credentials, permissions, bucket or URL."""


class ObjectNotFound(ObjectStoreError):
    """There is no object of that name."""


class PreconditionFailed(ObjectStoreError):
    """The object is not in the state that the write asked for."""


class ArtifactRefused(TerminalError):
    """An artifact that must not serve; the message says why."""


class PanelRefused(TerminalError):
    """A dashboard's file or a panel's query that cannot be run as it is written; the message says why."""


class PipelineFailed(TerminalError):
    """DVC could not bring the pipeline up to date; its own words are on standard error."""


class ReleaseError(TerminalError):
    """A release document that cannot be read, or a change to it that makes no sense."""


class TrainingDataError(TerminalError):
    """Ratings from which nothing can be learnt; the message says what was found."""
