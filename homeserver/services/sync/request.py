"""What a sync is asked for."""

from dataclasses import dataclass

from homeserver.domain.filters import SyncFilter
from homeserver.domain.presence import ONLINE
from homeserver.services.tokens import SyncToken


@dataclass(frozen=True, slots=True)
class SyncRequest:
    """`since` is None for a first sync. `timeout` is in seconds. `state_after_key` is how the answer calls the state if
    `use_state_after`. `set_presence` is what the user is while it lasts; "offline" changes nothing."""

    user_id: str
    device_id: str
    since: SyncToken | None
    timeout: float
    filter: SyncFilter
    full_state: bool = False
    use_state_after: bool = False
    state_after_key: str = "state_after"
    set_presence: str = ONLINE

    def since_then(self, since: SyncToken) -> "SyncRequest":
        """The same, from there on."""
        return SyncRequest(
            self.user_id,
            self.device_id,
            since,
            self.timeout,
            self.filter,
            self.full_state,
            self.use_state_after,
            self.state_after_key,
            self.set_presence,
        )

    @property
    def lazy_members(self) -> bool:
        return bool(self.filter.room.state.lazy_load_members)

    @property
    def by_thread(self) -> bool:
        """Whether the unread counts of threads are told apart from those of the main timeline."""
        return self.filter.room.timeline.unread_thread_notifications

    @property
    def live_key(self) -> tuple[str, str, SyncFilter, bool]:
        """Requests with the same key continue each other."""
        return (self.user_id, self.device_id, self.filter, self.use_state_after)
