"""Client of the HTTP APIs, for callers: synchronous and asynchronous, with httpx as its only dependency."""

from marquee.client.answers import AnsweredList as AnsweredList
from marquee.client.answers import AnsweredMovie as AnsweredMovie
from marquee.client.answers import AnsweredReceipt as AnsweredReceipt
from marquee.client.answers import AnsweredSimilar as AnsweredSimilar
from marquee.client.async_client import AsyncMarqueeClient as AsyncMarqueeClient
from marquee.client.calls import ApiRefused as ApiRefused
from marquee.client.calls import ApiUnavailable as ApiUnavailable
from marquee.client.calls import RetryPolicy as RetryPolicy
from marquee.client.outgoing_events import make_click as make_click
from marquee.client.outgoing_events import make_rating as make_rating
from marquee.client.outgoing_events import make_shown as make_shown
from marquee.client.outgoing_events import make_watch as make_watch
from marquee.client.sync_client import MarqueeClient as MarqueeClient
