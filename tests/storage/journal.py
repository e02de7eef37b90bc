"""A table of the test's own that tells which writes were committed, beside what was published of them."""

from collections.abc import Callable, Sequence

from sqlalchemy import Engine, text

from homeserver.storage.store import Store
from homeserver.streams.publications import AccountDataItem, Publication
from tests.builders.house import TestHouse

USER = "@a:test.example"


class Journal:
    """Every write has a name of its own. A doubled write shows as two rows, since nothing here is unique."""

    def __init__(self, house: TestHouse, engine: Engine) -> None:
        self._engine = engine
        self._positions = house.streams.positions
        # (name, position), as they were published.
        self.published: list[tuple[str, int]] = []
        self.disorders: list[str] = []
        with engine.connect() as connection:
            connection.execute(text("CREATE TABLE journal (name text, position bigint)"))
        house.streams.publisher.listen(self._heard)

    def work(self, name: str, *, positions: int = 1, after: Sequence[str] = ()) -> Callable[[Store], str]:
        """A write of `positions` rows, each published. `after`: SQL that it runs when all of it is written."""

        def work(store: Store) -> str:
            for _ in range(positions):
                position = store.take_position()
                store.transaction.defer_text("INSERT INTO journal VALUES (%s, %s)", name, position)
                store.publish(position, ["u" + USER], AccountDataItem(USER, None, name, None))
            for sql in after:
                store.transaction.text(sql)
            return name

        return work

    def rows(self) -> list[tuple[str, int]]:
        """(name, position) of what is committed, by position."""
        with self._engine.connect() as connection:
            rows = connection.execute(text("SELECT name, position FROM journal ORDER BY position"))
            return [(name, position) for name, position in rows]

    def check(self) -> None:
        """What was published is exactly what was committed, in order."""
        assert self.disorders == []
        assert self.published == self.rows()

    def _heard(self, publication: Publication) -> None:
        last = self.published[-1][1] if self.published else 0
        watermark = self._positions.current()
        if not last < publication.position <= watermark:
            self.disorders.append(f"{publication.position} came after {last}, at the watermark {watermark}")
        assert isinstance(publication.item, AccountDataItem)
        self.published.append((publication.item.type, publication.position))


def list_rows(store: Store) -> list[tuple[str, int]]:
    """The journal as a snapshot shows it."""
    return [(name, position) for name, position in store.transaction.text("SELECT name, position FROM journal")]


def wait_for_a_lock(engine: Engine, or_else: Callable[[], bool] = lambda: False) -> None:
    """Returns when somebody waits for a lock that another holds, or `or_else` becomes true. Blocking."""
    with engine.connect() as connection:
        for _ in range(20_000):
            waits = connection.execute(text("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")).scalar_one()
            if waits or or_else():
                return
    raise AssertionError("nobody waits")
